"""Jobs: what a job file may say, and which settings make it another training."""

import json
import math
from dataclasses import replace

import pytest
from tiny_training import make_job

from training.job import JobError, TrainingJob


@pytest.fixture
def job(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "samples.parquet").write_bytes(b"some samples")
    return make_job(tmp_path / "base", tmp_path / "data", tmp_path / "out")


def read(tmp_path, **settings):
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"base": "b", "dataset": "d", "output": "o", "steps": 10} | settings))
    return TrainingJob.read(path)


def test_job_survives_its_file(job, tmp_path):
    job.write(tmp_path / "job.json")
    assert TrainingJob.read(tmp_path / "job.json") == job


def test_defaults_are_the_papers(tmp_path):
    job = read(tmp_path)
    assert (job.encoder, job.rank, job.alpha) == ("res_mlp64", 32, 8)
    assert (job.batch_size, job.learning_rate, job.schedule) == (16, 1e-4, "constant")
    assert (job.smoothing_variance, job.round_probability) == (0.2, 0.2)
    assert job.timestep_exponent == 1


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
        ({"stepps": 3}, "unknown settings stepps"),
        ({"steps": 0}, "steps must be in 1"),
        ({"steps": "10"}, "steps must be int, not '10'"),
        ({"steps": True}, "steps must be int"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be float"),
        ({"timestep_exponent": 0}, "timestep_exponent must be above 0"),
        ({"text_dropout": 1.5}, "text_dropout must be in 0–1"),
        ({"schedule": "linear"}, "schedule must be one of constant, cosine"),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16"),
        ({"batch_size": 5, "processes": 2}, "batch_size 5 cannot be divided by 2"),
        ({"validation_prompts": "one"}, "validation_prompts"),
        ({"revision": 3}, "revision"),
    ],
)
def test_impossible_settings_are_named(tmp_path, settings, message):
    with pytest.raises(JobError, match=message):
        read(tmp_path, **settings)


def test_unreadable_jobs_are_named(tmp_path):
    path = tmp_path / "job.json"
    with pytest.raises(JobError, match=r"job\.json: No such file"):
        TrainingJob.read(path)
    for text, message in (
        ("{", "not JSON"),
        ("[]", "holds no job"),
        ('{"base": "b"}', "lacks dataset, output"),
    ):
        path.write_text(text)
        with pytest.raises(JobError, match=message):
            TrainingJob.read(path)


def test_learning_rate_warms_up_and_stays(job):
    job = replace(job, steps=100, warmup_steps=4, learning_rate=0.8)
    assert [job.learning_rate_at(step) for step in (0, 1, 3, 4, 99)] == pytest.approx(
        [0.2, 0.4, 0.8, 0.8, 0.8]
    )


def test_learning_rate_falls_along_a_cosine(job):
    job = replace(job, steps=104, warmup_steps=4, learning_rate=2.0, schedule="cosine")
    rates = [job.learning_rate_at(step) for step in (4, 29, 54, 79)]
    assert rates == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5)])


def test_identity_is_of_what_decides_the_adapter(job, tmp_path):
    same = [
        {"output": "elsewhere"},
        {"processes": 2},
        {"log_every": 1},
        {"sample_every": 7},
        {"device": "auto"},
    ]
    other = [{"seed": 1}, {"steps": 7}, {"smoothing_variance": 0.0}, {"rank": 3}, {"base_fingerprint": "x"}]
    assert all(replace(job, **change).identity() == job.identity() for change in same)
    assert len({job.identity(), *(replace(job, **change).identity() for change in other)}) == 6
    before = job.identity()
    (tmp_path / "data" / "samples.parquet").write_bytes(b"other samples")
    assert job.identity() != before
