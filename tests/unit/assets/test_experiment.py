"""What an experiment is trained on, and how its prompts and guidance come about."""

import json
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import polars as pl
import pytest
import tiny_protocol
import tiny_world
from tiny_training import hold_out, write_dataset

import facs
import methods.registry
from assets import calls, drawing, fitting, measuring
from assets.experiment import class_images, guidance_curve, trained_model
from assets.results.results import (
    all_there,
    every_experiment_has_the_same_judge,
    every_experiment_is_complete,
    floors,
    judged_by,
    through_recipe,
)
from curation import corrections
from evaluation import guidance, metrics, protocol
from inference import questions
from inference.asking import Answers
from methods.fineface.settings import FineFaceTrain
from methods.sd import SDTrain
from pipelines import profiles
from settings.experiment import ClassImages
from store import CorruptFile, Store

ZEROS = dict.fromkeys(facs.COLUMNS, 0.0)
NONE = pl.DataFrame(schema=class_images.SCHEMA)


def test_only_kept_training_rows_are_trained_on_and_unsupported_aus_as_zero():
    rows = [
        {
            "sample_id": "b",
            "content_hash": "hb",
            "caption": "x",
            "split": "train",
            "keep": True,
            **ZEROS,
            "au9": None,
        },
        {
            "sample_id": "a",
            "content_hash": "ha",
            "caption": "y",
            "split": "train",
            "keep": True,
            **ZEROS,
            "au12": 4.0,
        },
        {"sample_id": "c", "content_hash": "hc", "caption": "z", "split": "test", "keep": True, **ZEROS},
        {"sample_id": "d", "content_hash": "hd", "caption": None, "split": None, "keep": False, **ZEROS},
    ]
    latents = pl.DataFrame({"sample_id": ["a", "b", "c"], "file": ["f", "f", "g"], "row": [1, 0, 0]})
    pictures = pl.DataFrame(rows).with_columns(file_kind=pl.lit("raw_x"), file=pl.lit("x.png"))
    found = trained_model.training_samples(pictures, latents, "train")
    assert found.columns == ["sample_id", "content_hash", "caption", *facs.COLUMNS, "file", "row"]
    assert found.select("sample_id", "au9", "au12", "file", "row").rows() == [
        ("a", 0.0, 4.0, "f", 1),
        ("b", 0.0, 0.0, "f", 0),
    ]


def test_the_loss_curve_is_what_was_written_so_far(tmp_path):
    assert fitting.losses(tmp_path).is_empty()
    (tmp_path / "output").mkdir()
    lines = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.4}]
    lines.append({"step": 2, "loss": 0.3, "held_out_loss": 0.7})
    text = "\n".join(map(json.dumps, lines)) + '\n{"step": 3, "lo'
    (tmp_path / "output" / "progress.jsonl").write_text(text)
    assert fitting.losses(tmp_path).rows() == [(1, 0.5, None), (2, 0.3, 0.7)]


def test_every_setting_of_a_profile_reaches_the_training(tmp_path, world):
    """The job holds the very settings of the profile."""
    profile = profiles.load(str(world.profile), tmp_path)
    settings = profile.experiments["fineface"].train
    job = trained_model._job(profile, settings)
    assert job.train is settings and settings.steps == 12
    assert len(job.sample_prompts) == 2 and len(job.base_content) == 32


def test_experiments_that_differ_in_sampling_share_one_training(tmp_path, world):
    """The second finds the first one's model under the same key: no step is trained for it."""
    dataset = hold_out(write_dataset(tmp_path / "data"))
    splits = [("train", "samples.parquet"), ("validation", "held_out.parquet")]
    tables = [pl.read_parquet(dataset / name).with_columns(split=pl.lit(split)) for split, name in splits]
    table = pl.concat([tables[0].head(30), tables[1]]).with_columns(keep=True, content_hash="sample_id")
    latents = table.select("sample_id", "file", "row", fingerprint=pl.lit("vae"))
    store = Store(tmp_path / "home")
    named = {
        name: store.files("latents").put((dataset / name).read_bytes(), ".safetensors")
        for name in latents["file"].unique()
    }
    latents = latents.with_columns(pl.col("file").replace_strict(named))
    train = {
        "method": "fineface",
        "rank": 2,
        "steps": 2,
        "batch_size": 4,
        "validate_every": 1,
        "sample_every": 0,
    }
    said = {
        "a": {"train": train},
        "b": {"train": train | {"checkpoint_every": 1}, "sample": {"guidance": 3, "au_scale": 0.5}},
        "c": {"train": train | {"seed": 1}},
    }
    path = tiny_world.write_profile(tmp_path / "p.yaml", world.models, world.raw, experiments=said)
    path.write_text(path.read_text().replace("competitor: sd", "competitor: null"))
    profile = profiles.load(str(path), tmp_path)
    latents = latents.with_columns(size=profile.base.size)
    log = SimpleNamespace(info=lambda text: None)
    found = {
        name: trained_model._trained(
            SimpleNamespace(log=log),
            store,
            profile,
            experiment.train,
            table.drop("file", "row"),
            latents,
            NONE,
        )
        for name, experiment in profile.experiments.items()
    }
    rows, metadata = ({name: pair[place] for name, pair in found.items()} for place in (0, 1))
    assert rows["a"] == rows["b"] and rows["a"]["samples"] == 30
    assert [metadata[name]["steps_trained"] for name in "abc"] == [2, 0, 2]
    assert rows["c"]["key"] != rows["a"]["key"] and rows["c"]["model_hash"] != rows["a"]["model_hash"]
    curve = fitting.losses(store.home / "files" / "adapters" / rows["a"]["key"])
    assert curve["held_out_loss"].null_count() == 0 and curve.height == 2
    context, asked = SimpleNamespace(log=log), protocol.build("miniature", (), 1).head(1)
    drawn = [
        drawing.draw(context, store, profile, {"experiment": name, **rows[name]}, asked, 3.0) for name in "ab"
    ]
    assert drawn[0].asked == drawn[1].asked == 1, "another scale is another picture"
    row = {"experiment": "b", **rows["b"]}
    assert guidance_curve.candidates(context, store, profile, row)[0]["guidance"].to_list() == [3.0]


def test_latents_of_another_size_are_refused_and_another_model(tmp_path, world):
    profile = profiles.load(str(world.profile), tmp_path)
    settings = profile.experiments["fineface"].train
    latents = pl.DataFrame(
        {"sample_id": ["a"], "file": ["f"], "row": [0], "fingerprint": ["vae"], "size": [profile.base.size]}
    )
    pictures = pl.DataFrame(
        [{"sample_id": "a", "content_hash": "h", "caption": "x", "split": "train", "keep": True, **ZEROS}]
    )
    other = latents.with_columns(size=pl.col("size") * 2)
    with pytest.raises(dg.Failure, match=f"base.size is {profile.base.size}: run --select latents"):
        trained_model._trained(CONTEXT, Store(tmp_path / "home"), profile, settings, pictures, other, NONE)
    job = trained_model._job(profile, settings)
    samples = trained_model.training_samples(pictures, latents, "train")
    moved = samples.with_columns(file=pl.lit("g"))
    keys = [
        trained_model._key(job, *data)
        for data in [(samples, latents, NONE), (moved, latents, NONE), (samples, other, NONE)]
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_shard_that_rotted_is_not_trained_on_and_one_that_was_made_anew_is_named(tmp_path):
    store, path = Store(tmp_path / "home"), tmp_path / "home" / "samples.parquet"
    files = store.files("latents")
    for content in (b"one", b"another"):
        name = files.put(content, ".safetensors")
        trained_model._write_samples(pl.DataFrame({"sample_id": ["a"], "file": [name]}), store, path)
        assert pl.read_parquet(path)["file"].item().endswith(name)
    files.path(name).write_bytes(b"anotheR")
    with pytest.raises(CorruptFile, match=r"1 shards are lost or damaged.*--select latents\+"):
        trained_model._write_samples(pl.DataFrame({"sample_id": ["a"], "file": [name]}), store, path)
    trained_model._write_samples(pl.DataFrame({"sample_id": [], "file": []}), store, path)
    assert not path.exists(), "held-out samples that are no more"


def test_a_report_is_not_made_without_its_pictures(tmp_path):
    store = Store(tmp_path / "home")
    table = pl.DataFrame({"file": [store.files("generated").put(b"a face", ".png"), None]})
    all_there(store, table)
    store.files("generated").remove(table["file"][0])
    with pytest.raises(CorruptFile, match=r"1 generated pictures are lost.*generated_samples\+"):
        all_there(store, table)


CONTEXT = SimpleNamespace(log=SimpleNamespace(info=lambda text: None))
UNTOUCHED = {"experiment": "sd", "folder": None, "model_hash": None}


@pytest.fixture
def profile(tmp_path, world):
    return profiles.load(str(world.profile), tmp_path)


def test_without_an_adapter_aus_become_words():
    samples = protocol.build("miniature", (), 1).filter(
        pl.col("prompted").is_in(["12", "6+12"]), prompt_index=0
    )
    prompts = drawing.requests(samples, methods.registry.wording(SDTrain()))
    text = dict(zip(samples["sample_id"], prompts["prompt"], strict=True))
    assert text["individual/00/au12/3"].endswith("in a park, lip corner puller 3")
    assert prompts["aus"].null_count() == samples.height
    neutral = protocol.no_au_samples(samples)
    said = drawing.requests(neutral, methods.registry.wording(SDTrain()))["prompt"]
    assert said.to_list() == neutral["prompt"].to_list()


def test_with_an_adapter_prompts_stay_and_vectors_go_along():
    samples = protocol.build("miniature", (), 1).head(3)
    requests = drawing.requests(samples, methods.registry.wording(FineFaceTrain()))
    assert requests["prompt"].to_list() == samples["prompt"].to_list()
    assert requests["aus"].to_list() == [list(row) for row in samples.select(facs.COLUMNS).iter_rows()]


def test_a_picture_is_drawn_once_and_found_again(profile, tmp_path):
    samples, store = protocol.build("miniature", (), 1).head(2), Store(tmp_path)

    def draw(guidance):
        return drawing.draw(CONTEXT, store, profile, UNTOUCHED, samples, guidance)

    first, second, other = draw(2.0), draw(2.0), draw(3.0)
    assert (first.asked, first.reused) == (2, 0) and (second.asked, second.reused) == (0, 2)
    assert second.frame.equals(first.frame)
    assert other.asked == 2 and other.frame["file"].to_list() != first.frame["file"].to_list()
    files = store.files("generated")
    assert all(files.has(name) for name in first.frame["file"])


def test_a_generated_picture_that_was_lost_or_flipped_is_drawn_again(profile, tmp_path):
    samples, store = protocol.build("miniature", (), 1).head(2), Store(tmp_path)
    first = drawing.draw(CONTEXT, store, profile, UNTOUCHED, samples, 2.0).frame
    files = store.files("generated")
    gone, flipped = (files.path(name) for name in first["file"])
    gone.unlink()
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"x")
    again = drawing.draw(CONTEXT, store, profile, UNTOUCHED, samples, 2.0)
    assert again.asked == 2 and again.frame.equals(first)
    assert all(files.read(name) for name in first["file"])


def test_scores_and_guidance_are_the_judges(profile, tmp_path, monkeypatch):
    """`measure` is what both call: it asks the judge, not the labeller, and says so in every row."""
    asked = []

    def annotate(context, store, estimator, images, profile):
        asked.append(estimator)
        read = {**dict.fromkeys(facs.COLUMNS, 1.0), "au9": None, "faces": 1, "reason_code": None}
        who = {"model": "judge", "fingerprint": "j"}
        return images.with_columns(pl.lit(value).alias(name) for name, value in (read | who).items()), 1, 0

    monkeypatch.setattr(measuring, "annotate", annotate)
    samples = (
        protocol.build("miniature", (), 1)
        .head(2)
        .with_columns(file_kind=pl.lit("generated"), file=pl.lit("0" * 32 + ".png"))
    )
    for judge, wanted in (("labeller", profile.au_estimator), ("second", profile.second_au_estimator)):
        evaluation = profile.evaluation.model_copy(update={"judge": judge})
        judging = profile.model_copy(update={"evaluation": evaluation})
        table, _, _ = measuring.measure(None, Store(tmp_path), judging, judging.judge, samples)
        assert asked.pop() == wanted and table["fingerprint"].to_list() == ["j", "j"]
    assert metrics.left_out(table) == ["AU9"]
    own, others = pl.DataFrame({"fingerprint": ["j"]}), pl.DataFrame({"fingerprint": ["l"]})
    assert judged_by(table, own).startswith("The labeller is also the judge")
    assert judged_by(table, others).startswith(
        "A second estimator judges, not the labeller. It does not read AU9"
    )


def test_readings_go_through_the_recipe_only_where_the_labeller_judges(profile):
    samples = protocol.build("miniature", (), 1).head(2)
    read = samples.with_columns(
        *[pl.lit(2.0).alias(name) for name in metrics.MEASURED],
        experiment=pl.lit("fineface"),
        fingerprint=pl.lit("j"),
    )
    table = pl.DataFrame({name: [0.0, 4.0, 4.0] for name in facs.COLUMNS}).with_columns(au12=1.0)
    statistics = corrections.fit(table, "paper").statistics
    own, others = pl.DataFrame({"fingerprint": ["j"]}), pl.DataFrame({"fingerprint": ["l"]})
    found, said = through_recipe(read, own, statistics, profile)
    assert found["fineface"]["measured_au1"][0] == pytest.approx((2 / 4) ** 1.8 * 5)
    assert found["fineface"]["measured_au12"][0] == 2.0 and "“paper”" in said
    found, said = through_recipe(read, others, statistics, profile)
    assert found is None and "fitted to the labeller’s readings" in said
    older = statistics.with_columns(recipe=pl.lit("reference"))
    found, said = through_recipe(read, own, older, profile)
    assert found is None and "“reference”" in said and "au_statistics+" in said
    assert judged_by(read, own.clear()).startswith("No photograph was labelled")


def test_only_an_untrained_model_on_a_base_without_words_is_a_floor(profile):
    trained = pl.DataFrame({"experiment": ["fineface", "sd"], "folder": ["files/adapters/x", None]})
    assert floors(trained, profile) == []
    naive = profile.model_copy(update={"base": profile.base.model_copy(update={"knows_expressions": False})})
    assert floors(trained, naive) == ["sd"]
    assert floors(trained, profiles.load("miniature", Path("home"))) == ["sd"]


def test_results_of_two_judges_are_not_laid_side_by_side():
    """The judge was changed and only one experiment was measured again."""
    results = pl.DataFrame({"experiment": ["fineface", "sd"]})
    rows = {"experiment": ["fineface", "sd", "removed"], "model": ["a", "a", "b"]}
    rows["judge"] = ["labeller"] * 3
    same = pl.DataFrame({**rows, "fingerprint": ["1", "1", "2"]})
    other = pl.DataFrame({**rows, "fingerprint": ["3", "1", "2"]})
    beside = same.with_columns(judge=pl.lit("second"), fingerprint=pl.lit("4"))
    assert every_experiment_has_the_same_judge(results, pl.concat([same, beside]), same, same, same).passed
    assert every_experiment_has_the_same_judge(results, same, same, same, same).passed
    found = every_experiment_has_the_same_judge(results, other, same, same, same)
    assert not found.passed and found.metadata["labeller"].value == "a (1), a (3)"
    for odd in range(3):
        tables = [other if place == odd else same for place in range(3)]
        assert not every_experiment_has_the_same_judge(results, same, *tables).passed


def test_guidance_is_chosen_on_validation_prompts(profile, monkeypatch):
    """By the judge's readings of pictures with AUs; CLIP sees them and their partners."""
    error = {2.0: 3.0, 4.0: 1.0}
    seen = []

    def draw(context, store, profile, trained, samples, guidance):
        seen.extend(samples["kind"].unique())
        return Answers(samples.with_columns(guidance=pl.lit(guidance), file=pl.lit("x.png")), 3, 4)

    def measure(context, store, profile, judge, samples):
        off = error[samples["guidance"][0]]
        measured = [(pl.col(column) + off).alias(f"measured_{column}") for column in facs.COLUMNS]
        return samples.with_columns(measured), 1, 2

    def embed(context, store, profile, samples):
        return samples.with_columns(embedding=pl.concat_list(pl.lit(3.0), pl.lit(4.0))), 5, 6

    for name, replacement in (("draw", draw), ("measure", measure), ("embed", embed)):
        monkeypatch.setattr(guidance_curve, name, replacement)
    curve, made, reused = guidance_curve.candidates(CONTEXT, None, profile, UNTOUCHED)
    assert curve.select("guidance", "au_mse_prompted", "clip_i", "samples").rows() == [
        (2.0, 9.0, 1.0, 12),
        (4.0, 1.0, 1.0, 12),
    ]
    assert guidance.chosen(curve) == 4.0
    assert set(seen) == {"validation", "no_au"} and (made, reused) == (18, 24)


def test_a_single_candidate_asks_no_model(profile):
    evaluation = profile.evaluation.model_copy(update={"guidance_candidates": [7.5]})
    alone = profile.model_copy(update={"evaluation": evaluation})
    curve, made, reused = guidance_curve.candidates(CONTEXT, None, alone, UNTOUCHED)
    assert guidance.chosen(curve) == 7.5 and (made, reused) == (0, 0)


def test_the_base_draws_what_the_text_baseline_draws_without_aus(profile, tmp_path):
    """So its pictures are made once, whoever asks for them."""
    samples, store = protocol.build("miniature", (), 1).head(3), Store(tmp_path)
    neutral, base = protocol.no_au_samples(samples), protocol.base_samples(samples)
    first = drawing.draw(CONTEXT, store, profile, UNTOUCHED, neutral, 2.0)
    again = drawing.draw_base(CONTEXT, store, profile, profile.experiments["fineface"], base, 2.0)
    assert again.asked == 0 and again.frame["file"].to_list() == first.frame["file"].to_list()
    assert set(again.frame["kind"]) == {"base"} and not set(base["sample_id"]) & set(neutral["sample_id"])


def test_prompts_are_embedded_once_and_for_ever(profile, tmp_path):
    store = Store(tmp_path)
    prompts = pl.DataFrame({"prompt": ["a man", "a woman in the park", "a man"]})
    question = questions.text_embeddings(profile.evaluation.embedder)
    first, second = (
        calls.ask(CONTEXT, store, question, prompts, SimpleNamespace(chunk=16, engine=None)) for _ in range(2)
    )
    assert (first.asked, second.asked) == (2, 0) and second.frame.equals(first.frame)
    one, other, again = (np.array(row) for row in first.frame["embedding"].to_list())
    assert (one == again).all() and (one != other).any()
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)


def test_a_profile_may_use_the_first_prompts_only(tmp_path, world):
    profile = profiles.load(str(world.profile), tmp_path)
    captions = pl.DataFrame({"caption": tiny_protocol.CAPTIONS}).with_columns(
        keep=True, split=pl.lit("train"), source=pl.lit("folder")
    )
    assert drawing.protocol_samples(profile, captions.clear()).height == 110
    everything = profile.model_copy(
        update={"evaluation": profile.evaluation.model_copy(update={"prompts": None})}
    )
    samples = drawing.protocol_samples(everything, captions)
    assert samples.height == 1650 and samples.equals(tiny_protocol.build())


def test_experiments_of_other_prompts_are_not_laid_side_by_side(tmp_path, world):
    """The training set has changed, and only one experiment was drawn again."""
    profile = profiles.load(str(world.profile), tmp_path)
    training_set = pl.DataFrame({"source": ["folder"], "caption": ["x"], "keep": [True], "split": ["train"]})
    samples = drawing.protocol_samples(profile, training_set)
    results = pl.DataFrame({"experiment": ["a", "b"]})
    scores = pl.concat(
        samples.with_columns(experiment=pl.lit(name), judge=pl.lit(judge))
        for name in ("a", "b")
        for judge in profile.judges
    )
    assert every_experiment_is_complete(results, scores, training_set, profile).passed
    other = pl.when(pl.col("experiment") == "b").then(pl.lit("another prompt")).otherwise("prompt")
    found = every_experiment_is_complete(results, scores.with_columns(prompt=other), training_set, profile)
    assert not found.passed
    assert found.metadata["incomplete"].value == [f"b, {judge}" for judge in profile.judges]


def test_class_images_are_asked_for_by_captions_of_training_samples_alone():
    """Without repetition while there are enough, with a noise each, and the same again."""
    samples = pl.DataFrame(
        {
            "sample_id": ["a", "b", "c", "d", "e"],
            "caption": ["a man", "a woman", "a girl", "a boy", None],
            "split": ["train", "train", "train", "test", "train"],
            "keep": [True, True, True, True, False],
        }
    )
    asked = class_images.asked(samples, ClassImages(count=8, guidance=2, seed=1))
    assert asked["sample_id"].n_unique() == asked["seed"].n_unique() == 8
    for start in (0, 3):
        assert set(asked["prompt"][start : start + 3]) == {"a man", "a woman", "a girl"}
    assert asked["aus"].null_count() == 8 and set(asked["guidance"]) == {2.0}
    assert asked.equals(class_images.asked(samples.reverse(), ClassImages(count=8, guidance=2, seed=1)))
    assert not asked.equals(class_images.asked(samples, ClassImages(count=8, guidance=2)))
    with pytest.raises(ValueError, match="no sample of the split train"):
        class_images.asked(samples.filter(split="test"), ClassImages())


def test_class_images_are_part_of_what_is_trained(tmp_path, world):
    """Which pictures, not where their latents lie."""
    profile = profiles.load(str(world.profile), tmp_path)
    job = trained_model._job(profile, profile.experiments["fineface"].train)
    latents = pl.DataFrame({"sample_id": ["a"], "fingerprint": ["vae"], "size": [16]})
    samples = pl.DataFrame({"sample_id": ["a"], "file": ["f"], "row": [0]})
    drawn = pl.DataFrame(
        [dict.fromkeys(class_images.SCHEMA, None) | {"sample_id": "class/0", "picture": "p", "caption": "x"}],
        schema=class_images.SCHEMA,
    )

    def key(**columns):
        beside = trained_model._without_aus(drawn.with_columns(**columns))
        return trained_model._key(job, samples, latents, beside)

    assert key() == key(file=pl.lit("g"), row=7)
    assert len({key(), key(picture=pl.lit("q")), key(caption=pl.lit("y"))}) == 3
    assert key() != trained_model._key(job, samples, latents, NONE)
