"""`fineface label` and what it sets off."""

import os
from datetime import UTC, datetime

import polars as pl
import pytest
from typer.testing import CliRunner

import facs
from assets.data_set.overrides import read
from curation import overrides
from pipelines import labels
from pipelines.command import app
from provenance import story
from provenance.why import why
from store import Store

SAMPLES = ["affectnet/3/smile.jpg", "affectnet/3/frown.jpg", "affectnet/4/wax.jpg"]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def home(tmp_path):
    table = pl.DataFrame({"sample_id": SAMPLES}).with_columns(
        keep=pl.lit(True),
        reason_code=pl.lit(None, dtype=pl.String),
        reason_detail=pl.lit(None, dtype=pl.String),
        overruled_at=pl.lit(None, dtype=pl.Datetime("us", "UTC")),
    )
    Store(tmp_path).write("photorealism", table)
    return tmp_path


@pytest.fixture
def fineface(home):
    def fineface(*arguments):
        return CliRunner().invoke(app, [*arguments, "--home", str(home)])

    return fineface


def test_a_label_is_a_row_with_author_time_and_reason(fineface, home):
    done = fineface(
        "label", SAMPLES[2], "photorealism", "drop", "--reason", "a wax figure", "--author", "Ada"
    )
    assert done.exit_code == 0 and "fineface run --select photorealism+" in done.output
    done = fineface("label", SAMPLES[2], "photorealism", "undo", "--reason", "it moved")
    assert done.exit_code == 0, done.output
    rows = Store(home).read("overrides").sort("time")
    assert rows["verdict"].to_list() == ["drop", "undo"] and rows["author"][0] == "Ada" and rows["author"][1]
    shown = fineface("label", "--list").output
    assert shown.index("Ada: a wax figure") < shown.index("it moved")
    told = story.render(why(Store(home), SAMPLES[2]))
    assert "label: drop, by Ada on " in told and "UTC: a wax figure\n" in told


def test_why_says_that_a_label_is_not_applied_yet(fineface, home):
    fineface("label", SAMPLES[0], "photorealism", "drop", "--reason", "drawn")
    story = fineface("why", SAMPLES[0]).output
    assert "drawn (not applied yet)" in story
    said = Store(home).read("overrides")["time"][0]
    table = Store(home).read("photorealism")
    Store(home).write(
        "photorealism", table.with_columns(overruled_at=pl.lit(said, dtype=table["overruled_at"].dtype))
    )
    assert "not applied" not in fineface("why", SAMPLES[0]).output


def test_an_intensity_is_overruled_in_the_training_set_and_why_says_so(fineface, home):
    store = Store(home)
    table = store.read("photorealism", columns=["sample_id", "keep", "reason_code", "reason_detail"])
    table = table.with_columns(pl.lit(1.0).alias(column) for column in facs.COLUMNS)
    store.write("training_set", overrides.apply_intensities(table, pl.DataFrame(schema=overrides.SCHEMA)))
    words = ["training_set", "AU4=2.5", "--reason", "the brow is down", "--author", "Ada"]
    done = fineface("label", SAMPLES[0], *words)
    assert done.exit_code == 0 and "fineface run --select training_set+" in done.output, done.output
    assert "training_set  AU4=2.5  affectnet/3/smile.jpg  Ada" in fineface("label", "--list").output
    told = story.render(why(store, SAMPLES[0]))
    assert "label: AU4=2.5, by Ada" in told and "(not applied yet)" in told
    store.write("training_set", overrides.apply_intensities(table, read(store)))
    told = story.render(why(store, SAMPLES[0]))
    assert "label: AU4=2.5, by Ada" in told and "(not applied yet)" not in told
    undo = ["training_set", "AU6=undo", "--reason", "x"]
    assert "no override of AU6 of" in fineface("label", SAMPLES[0], *undo).output
    assert fineface("label", SAMPLES[0], "training_set", "AU4=undo", "--reason", "no").exit_code == 0
    store.write("training_set", overrides.apply_intensities(table, read(store)))
    assert store.read("training_set")["au4"].to_list() == [1.0, 1.0, 1.0]


def test_overrides_of_verdicts_alone_are_read_beside_intensities(home):
    store = Store(home)
    old = overrides.override(SAMPLES[0], "photorealism", "drop", "Ada", "wax", datetime.now(UTC))
    store.append("overrides", old.drop("au", "value"))
    assert read(store)["au"].to_list() == [None]
    assert why(store, SAMPLES[0])["photorealism"].labels[0]["verdict"] == "drop"
    labels.add(store, SAMPLES[0], "photorealism", "undo", "Ada", "no")
    assert read(store).schema == overrides.SCHEMA and read(store).height == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["affectnet/3/smlie.jpg", "photorealism", "keep", "--reason", "x"],
            "did you mean 'affectnet/3/smile.jpg",
        ),
        (["nothing", "photorealism", "keep", "--reason", "x"], "ids look like affectnet/3/frown.jpg"),
        ([SAMPLES[0], "photorealism", "kepe", "--reason", "x"], "did you mean 'keep'"),
        ([SAMPLES[0], "captions", "keep", "--reason", "x"], "no stage 'captions' to label"),
        ([SAMPLES[0], "photorealism", "keep"], "needs a reason"),
        ([SAMPLES[0], "photorealism", "undo", "--reason", "x"], "nothing to undo"),
        ([SAMPLES[0]], "say SAMPLE_ID STAGE VERDICT"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(fineface, home, arguments, message):
    done = fineface("label", *arguments)
    assert done.exit_code == 1 and message in done.output and "Traceback" not in done.output
    assert Store(home).version("overrides") is None


def test_without_a_table_there_is_nothing_to_label(tmp_path):
    with pytest.raises(labels.NotLabelled, match="no table photorealism yet"):
        labels.add(Store(tmp_path), "a", "photorealism", "keep", "Ada", "x")
