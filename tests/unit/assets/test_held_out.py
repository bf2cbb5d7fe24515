"""The second set of prompts: used by nobody else, opened once, and measured like the first."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
import tiny_protocol
from typer.testing import CliRunner

import facs
import stages
from assets.held_out import held_out_comparisons, openings
from evaluation import guidance, protocol
from evaluation import openings as rule
from methods.sd import SDTrain
from pipelines import profiles
from pipelines.command import app
from settings.experiment import Experiment
from store import Store

OTHERS = [f"a man number {n} by the sea" for n in range(60)]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_held_out_prompts_are_used_by_nobody_else():
    held_out = protocol.held_out_samples("miniature", tiny_protocol.CAPTIONS, OTHERS)
    assert held_out.schema == protocol.SCHEMA and held_out["prompt_index"].n_unique() == 50
    assert dict(held_out.group_by("kind").len().iter_rows()) == {"individual": 600, "combination": 500}
    for other in (tiny_protocol.build(), protocol.validation_samples("miniature")):
        for column in ("prompt", "seed", "sample_id", "partner_id"):
            assert not set(held_out[column]) & set(other[column]), column
    assert set(held_out["prompt"]) <= set(OTHERS), "first those that nothing was trained on"
    alone = held_out.filter(kind="individual").select(pl.max_horizontal(facs.COLUMNS))
    assert alone.to_series().value_counts()["count"].to_list() == [120] * 5
    vectors = held_out.filter(kind="combination").select(facs.COLUMNS)
    assert vectors.group_by(facs.COLUMNS).len()["len"].to_list() == [10] * 50


def test_too_few_captions_are_told():
    with pytest.raises(ValueError, match="50 held-out prompts are asked for, only 4 captions are used by"):
        protocol.held_out_samples("miniature", tiny_protocol.CAPTIONS)


def test_openings_are_declared_as_they_are_written():
    row = rule.opening("hash", 50, ["fineface", "sd"], "Ada", "the end", NOW)
    declared = stages.named("openings")
    assert declared.complaints(row) == {} and not declared.undeclared(row)
    with pytest.raises(ValueError, match="needs a reason"):
        rule.opening("hash", 50, ["sd"], "Ada", " ", NOW)


@pytest.fixture
def profile(tmp_path, world):
    """Two experiments that train nothing."""
    found = profiles.load(str(world.profile), tmp_path)
    words = {
        "sd": Experiment(train=SDTrain(method="sd")),
        "sentence": Experiment(train=SDTrain(method="sd", wording="sentence")),
    }
    return found.model_copy(update={"experiments": words})


TRAINING_SET = pl.DataFrame(
    {
        "keep": True,
        "caption": [*tiny_protocol.CAPTIONS, *OTHERS],
        "split": ["train"] * 12 + ["test"] * 60,
        "source": "folder",
    }
)


def test_captions_of_rendered_pictures_are_no_prompts(profile):
    drawn = held_out_comparisons.held_out_samples(profile, TRAINING_SET)
    rendered = TRAINING_SET.with_columns(
        caption=pl.format("rendered {}", "caption"), source=pl.lit("rendered")
    )
    assert held_out_comparisons.held_out_samples(profile, pl.concat([TRAINING_SET, rendered])).equals(drawn)


def test_they_are_measured_after_an_opening_and_never_without(tmp_path, profile):
    store = Store(tmp_path / "home")
    untrained = {"folder": None, "model_hash": None}
    trained = pl.DataFrame([{"experiment": name, **untrained} for name in profile.experiments])
    curves = pl.concat(
        [guidance.untried(3.0).with_columns(experiment=pl.lit(name)) for name in profile.experiments]
    )
    given = {"store": store, "profile": profile}
    tables = trained, curves, TRAINING_SET
    stage = held_out_comparisons.held_out_comparisons
    with pytest.raises(dg.Failure, match="fineface held-out --reason"):
        stage(dg.build_asset_context(), *tables, **given)
    version = protocol.version(held_out_comparisons.held_out_samples(profile, TRAINING_SET))
    store.append(rule.TABLE, rule.opening(version, 1, ["sd", "sentence"], "Ada", "the end", NOW))
    table = stage(dg.build_asset_context(), *tables, **given).value
    declared = stages.named("held_out_comparisons")
    assert not declared.complaints(table) and not declared.undeclared(table)
    assert set(table["first"]) == {"sentence"} and set(table["second"]) == {"sd"}
    assert set(table["judge"]) == {"labeller", "second", "clip"} and set(table["prompts"]) == {1}
    store.write(held_out_comparisons.NAME, table)
    with pytest.raises(dg.Failure, match="fineface held-out --reason"):
        held_out_comparisons.opening(store, version)
    later = datetime.now(UTC) + timedelta(seconds=5)
    store.append(rule.TABLE, rule.opening(version, 1, ["sd"], "Bob", "once more", later))
    assert held_out_comparisons.opening(store, version)["author"] == "Bob"
    assert openings.read(store)["author"].to_list() == ["Ada", "Bob"]


def test_a_second_opening_is_refused_and_told(tmp_path, world, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    home = tmp_path / "home"
    store = Store(home)
    store.write("training_set", TRAINING_SET)
    given = ["held-out", "--home", str(home), "--profile", str(world.profile)]
    none = CliRunner().invoke(app, [*given, "--reason", "x"])
    assert none.exit_code == 1 and "no trained experiment fineface, sd" in none.output
    for name in ("fineface", "sd"):
        store.write(f"guidance_curve/{name}", guidance.untried(3.0))
    silent = CliRunner().invoke(app, given)
    assert silent.exit_code == 1 and "needs a reason: --reason" in silent.output
    assert store.version(rule.TABLE) is None, "nothing was opened"
    profile = profiles.load(str(world.profile), home)
    version = protocol.version(held_out_comparisons.held_out_samples(profile, TRAINING_SET))
    store.append(rule.TABLE, rule.opening(version, 1, ["sd"], "Ada", "the end", NOW))
    store.write(held_out_comparisons.NAME, pl.DataFrame({"first": ["sd"]}))
    again = CliRunner().invoke(app, [*given, "--reason", "curious"])
    assert again.exit_code == 1 and "opened already: 2026-01-02 00:00 UTC by Ada" in again.output
    assert "--again" in again.output and openings.read(store).height == 1
    store.write("training_set", TRAINING_SET.with_columns(pl.format("{}.", "caption").alias("caption")))
    changed = CliRunner().invoke(app, [*given, "--reason", "other captions"])
    assert changed.exit_code == 1 and "opened already" in changed.output, "whatever changed since"
    shown = CliRunner().invoke(app, [*given, "--list"])
    assert "Ada, 1 prompts for sd: the end" in shown.output


def test_one_that_was_begun_goes_on_with_its_own_experiments_only(tmp_path, world):
    home = tmp_path / "home"
    store = Store(home)
    store.write("training_set", TRAINING_SET)
    for name in ("fineface", "sd"):
        store.write(f"guidance_curve/{name}", guidance.untried(3.0))
    profile = profiles.load(str(world.profile), home)
    version = protocol.version(held_out_comparisons.held_out_samples(profile, TRAINING_SET))
    store.append(rule.TABLE, rule.opening(version, 1, ["sd"], "Ada", "the end", NOW))
    given = ["held-out", "--home", str(home), "--profile", str(world.profile), "--reason", "x"]
    refused = CliRunner().invoke(app, given)
    assert refused.exit_code == 1 and "begun and not ended" in refused.output, refused.output
    assert "--experiments sd goes on with it" in " ".join(refused.output.split())
    assert openings.read(store).height == 1
