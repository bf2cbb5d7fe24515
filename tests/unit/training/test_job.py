"""Jobs: what a job file may say, and that one declaration decides its key and its checkpoints' owner."""

import json
import math
from dataclasses import replace as with_changes
from typing import Any, get_args

import polars as pl
import pytest
from pydantic import ValidationError
from tiny_training import changed, make_job

import methods.registry
from inference import au_encoders
from settings.base import Settings, operational
from settings.experiment import LoopSettings, declared
from training import job as jobs
from training.job import JobError, TrainingJob

TRAINED = {name: train for name, (train, _) in declared().items() if issubclass(train, LoopSettings)}


@pytest.fixture
def job(tmp_path):
    (tmp_path / "data").mkdir()
    return make_job(tmp_path / "base", tmp_path / "data", tmp_path / "out")


def read(tmp_path, train=None, **settings):
    path = tmp_path / "job.json"
    said = {"train": {"method": "fineface"} | (train or {}), "base": "b", "base_content": "0" * 32}
    path.write_text(json.dumps(said | {"dataset": "d", "output": "o"} | settings))
    return TrainingJob.read(path)


def test_job_survives_its_file(job, tmp_path):
    job.write(tmp_path / "job.json")
    assert TrainingJob.read(tmp_path / "job.json") == job


def test_defaults_are_the_papers(tmp_path):
    said = read(tmp_path).loop
    assert (said.encoder, said.rank, said.alpha) == ("res_mlp64", 32, 8)
    assert (said.steps, said.batch_size, said.learning_rate, said.schedule) == (20_000, 16, 1e-4, "constant")
    assert (said.smoothing.variance, said.smoothing.round_probability) == (0.2, 0.2)
    assert said.timestep_exponent == 1


def test_folders_are_taken_from_the_files_place(tmp_path):
    (tmp_path / "models").mkdir()
    job = read(tmp_path, base="models")
    assert job.dataset == str(tmp_path / "d")
    assert job.output == str(tmp_path / "o")
    assert job.base == str(tmp_path / "models")
    assert read(tmp_path, base="somebody/some-model").base == "somebody/some-model"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stepps": 3}, "unknown key 'train.stepps'; did you mean 'steps'"),
        ({"steps": 0}, "train.steps: Input should be greater than or equal to 1"),
        ({"steps": "many"}, "train.steps: Input should be a valid integer"),
        ({"learning_rate": 0}, "train.learning_rate: Input should be greater than 0"),
        ({"learning_rate": float("nan")}, "train.learning_rate: Input should be "),
        ({"timestep_exponent": 0}, "train.timestep_exponent"),
        ({"text_dropout": 1.5}, "train.text_dropout: Input should be less than or equal to 1"),
        (
            {"text_dropout": 0.6, "au_dropout": 0.5},
            "train.au_dropout: with text_dropout 0.6 it drops more than all samples",
        ),
        ({"schedule": "linear"}, "train.schedule: Input should be 'constant' or 'cosine'"),
        ({"precision": "float16"}, "train.precision: Input should be 'float32' or 'bfloat16'"),
        ({"batch_size": 5, "processes": 2}, "train.processes: batch_size 5 cannot be divided by 2"),
        ({"encoder": "res_mlp46"}, "no AU encoder 'res_mlp46'; did you mean 'res_mlp64'"),
        ({"smoothing": {"varience": 1}}, "unknown key 'train.smoothing.varience'; did you mean 'variance'"),
        ({"method": "finefaec"}, "train.method: no method 'finefaec'; did you mean 'fineface'"),
        ({"method": "sd"}, "train: method sd trains nothing"),
    ],
)
def test_impossible_settings_are_named(tmp_path, settings, message):
    with pytest.raises(JobError) as refused:
        read(tmp_path, settings)
    assert message in str(refused.value) and str(tmp_path / "job.json") in str(refused.value)


def test_all_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(JobError) as refused:
        read(tmp_path, {"rank": 0, "sede": 1}, divice="cpu", sample_prompts="one")
    said = str(refused.value)
    assert all(key in said for key in ("train.rank", "train.sede", "divice", "sample_prompts"))


def test_unreadable_jobs_are_named(tmp_path):
    path = tmp_path / "job.json"
    with pytest.raises(JobError, match=r"job\.json: No such file"):
        TrainingJob.read(path)
    for text, message in (
        ("{", "not JSON"),
        ("[]", "holds no job"),
        ('{"base": "b"}', "'dataset' is missing"),
        ('{"train": {}}', "'train.method' is missing"),
    ):
        path.write_text(text)
        with pytest.raises(JobError, match=message):
            TrainingJob.read(path)


def test_learning_rate_warms_up_and_stays(job):
    said = changed(job, steps=100, warmup_steps=4, learning_rate=0.8).loop
    assert [said.learning_rate_at(step) for step in (0, 1, 3, 4, 99)] == pytest.approx(
        [0.2, 0.4, 0.8, 0.8, 0.8]
    )


def test_learning_rate_falls_along_a_cosine(job):
    said = changed(job, steps=104, warmup_steps=4, learning_rate=2.0, schedule="cosine").loop
    rates = [said.learning_rate_at(step) for step in (4, 29, 54, 79)]
    assert rates == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5)])


def another(name: str, annotation: Any, value: Any) -> Any:
    """Another value that the field takes."""
    if name == "encoder":
        return next(other for other in au_encoders.ENCODERS if other != value)
    if name == "processes":
        return 2
    if name == "trackers":
        return ["mlflow"]
    if name == "launch":
        return "accelerate.yaml"
    if name == "size":
        return 2 * value
    choices = [choice for choice in get_args(annotation) if isinstance(choice, str)]
    if choices:
        return next(choice for choice in choices if choice != value)
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value / 2 + 0.011
        case str() | None:
            return "another"
        case tuple():
            return (*value, "another")
        case Settings():
            first, *_ = type(value).model_fields
            return value.model_dump() | {first: another(first, None, getattr(value, first))}
    raise AssertionError(f"no other value for {name}")


def leaves(model: type[Settings], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], bool]]:
    """The path of every field below `model`, and whether it, or what it lies in, is operational."""
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings) and name != "train":
            found += [(below, marked or operational(field)) for below, marked in leaves(kind, (*path, name))]
        elif name not in ("method", "train"):
            found.append(((*path, name), operational(field)))
    return found


def with_another(job: TrainingJob, path: tuple[str, ...]) -> TrainingJob:
    """`job` with another value at `path`."""
    said = job.model_dump()
    place, model = said, job
    for name in path[:-1]:
        place, model = place[name], getattr(model, name)
    field = type(model).model_fields[path[-1]]
    place[path[-1]] = another(path[-1], field.annotation, getattr(model, path[-1]))
    return TrainingJob.model_validate(said)


FIELDS = [("fineface", path, marked) for path, marked in leaves(TrainingJob)] + [
    (method, ("train", *path), marked) for method, train in TRAINED.items() for path, marked in leaves(train)
]
"""Paths in a job; those in the settings of a method begin with its name."""


def of_method(job: TrainingJob, path: tuple[str, ...]) -> tuple[TrainingJob, tuple[str, ...]]:
    """A job of the method that `path` is about, and where in it that is."""
    if path[0] not in TRAINED:
        return job, path
    said = job.model_dump() | {"train": {"method": path[0], "batch_size": 4}}
    return TrainingJob.model_validate(said), path[1:]


def fields(operational: bool) -> list[Any]:
    return [
        pytest.param(method, path, id=".".join((method, *path)))
        for method, path, marked in FIELDS
        if marked == operational
    ]


def job_of(method: str) -> TrainingJob:
    train = {"method": method, "batch_size": 4}
    return TrainingJob(train=train, base="b", base_content="0" * 32, dataset="d", output="o")


@pytest.mark.parametrize(("method", "path"), fields(operational=False))
def test_every_deciding_setting_changes_the_key(method, path):
    job = job_of(method)
    assert with_another(job, path).key("data") != job.key("data")


@pytest.mark.parametrize(("method", "path"), fields(operational=True))
def test_no_operational_setting_changes_the_key(method, path):
    job = job_of(method)
    other = with_another(job, path)
    assert other != job and other.key("data") == job.key("data")


def test_a_key_changes_on_purpose_only():
    """As recorded: a new setting whose default asks for what was trained before is marked LATER."""
    assert job_of("fineface").key("data") == "53a6f53bd25a5c953dee82da66c69704"


def test_what_is_operational_is_where_how_fast_and_how_visibly():
    assert {path[-1] for _, path, marked in FIELDS if marked} == {
        *("base", "revision", "dataset", "output", "device", "sample_prompts"),
        *("processes", "launch", "gradient_checkpointing"),
        *("log_every", "checkpoint_every", "validate_every", "sample_every", "trackers"),
    }


def test_checkpoints_belong_to_the_samples_that_are_read(job, tmp_path):
    """Not to where their latents lie: these may be encoded again."""
    path = tmp_path / "data" / "samples.parquet"
    table = pl.DataFrame({"sample_id": ["a"], "au1": [1.0], "file": ["f"], "row": [0]})

    def owner(**columns):
        table.with_columns(**columns).write_parquet(path)
        return job.checkpoint_identity()

    assert owner() == owner(file=pl.lit("g"), row=7) != owner(au1=2.0)
    assert job.key("data") != job.key("other data")


def test_the_code_that_trains_is_part_of_the_key(job, monkeypatch):
    """Loop and data, the method, and the encoder each have a version."""
    keys = {job.key("data")}
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "CODE_VERSION", "another")
        keys.add(job.key("data"))
    with monkeypatch.context() as patch:
        encoder = with_changes(au_encoders.get("res_mlp64"), version="another")
        patch.setitem(au_encoders.ENCODERS, "res_mlp64", encoder)
        keys.add(job.key("data"))
    with monkeypatch.context() as patch:
        patch.setattr(methods.registry.get("fineface").train, "code_version", "another")
        keys.add(job.key("data"))
    assert len(keys) == 4


def test_settings_cannot_be_changed_unseen(job):
    with pytest.raises(ValidationError, match="frozen"):
        job.train.rank = 3
