"""The user study: blinded, balanced, and read back by hand."""

import csv
import io
import json
import re

import polars as pl
import pytest
from PIL import Image
from tiny_editing import training_set
from typer.testing import CliRunner

from evaluation import edit_protocol, study
from inference.images import png
from pipelines.command import app
from store import Store

EDITORS = ("ours", "theirs", "unedited")


def edited(editors=EDITORS, file=lambda editor, sample: f"{editor}-{sample}"):
    asked = edit_protocol.build(edit_protocol.sources(training_set(3), 2, seed=0))
    asked = asked.rename({"file_kind": "source_kind", "file": "source_file", "content_hash": "source_hash"})
    parts = []
    for editor in editors:
        files = [file(editor, sample) for sample in asked["sample_id"]]
        parts.append(
            asked.with_columns(editor=pl.lit(editor), file=pl.Series(files), file_kind=pl.lit("edited"))
        )
    return pl.concat(parts)


def test_every_two_editors_are_compared_equally_often_and_on_either_side():
    key = study.pairs(edited(), 60, seed=0)
    couples = key.select(pl.concat_list("a", "b").list.sort().list.join("+").alias("couple"))
    assert set(couples["couple"].value_counts()["count"]) == {20}
    assert {"ours", "theirs", "unedited"} == set(key["a"]) == set(key["b"])
    assert key["pair"].is_unique().all() and key.schema == study.KEY
    for row in key.to_dicts():
        assert row["a_file"] == f"{row['a']}-{row['sample_id']}"
        assert row["b_file"] == f"{row['b']}-{row['sample_id']}"
    assert key.equals(study.pairs(edited().sample(fraction=1, shuffle=True, seed=1), 60, seed=0))
    assert not key.equals(study.pairs(edited(), 60, seed=1))


def test_too_little_to_compare_is_told():
    with pytest.raises(study.StudyError, match="two editors at least are compared; there is ours"):
        study.pairs(edited(("ours",)), 10, seed=0)
    with pytest.raises(study.StudyError, match="have 220 requests in common, 500 are wanted"):
        study.pairs(edited(("ours", "theirs")), 500, seed=0)


def test_the_page_names_no_editor_and_no_address():
    key = study.pairs(edited(), 6, seed=0)
    picture = png(Image.new("RGB", (4, 4)))
    page = study.page(key, lambda kind, name: picture, "Which face?")
    assert not any(name in page for name in EDITORS)
    assert not re.search(r"https?://", page)
    (told,) = re.findall(r'id="pairs">(.*?)</script>', page, re.DOTALL)
    pairs = json.loads(told)
    assert [one["pair"] for one in pairs] == key["pair"].to_list()
    assert all(one["a"].startswith("data:image/png;base64,") for one in pairs)


def ratings(*rows):
    return pl.DataFrame(rows, schema=study.RATINGS, orient="row")


def test_preferences_by_hand():
    """Of four ratings of ours against theirs two are for ours, one for neither: (2 + .5) / 4."""
    key = study.pairs(edited(("ours", "theirs")), 4, seed=0)
    sides = {row["pair"]: "a" if row["a"] == "ours" else "b" for row in key.to_dicts()}
    other = {"a": "b", "b": "a"}
    given = [
        ("x", "001", "real", sides["001"]),
        ("x", "002", "real", sides["002"]),
        ("y", "001", "real", other[sides["001"]]),
        ("y", "003", "real", "same"),
    ]
    found = study.read(key, ratings(*given))
    (row,) = found.to_dicts()
    assert (row["first"], row["second"], row["question"]) == ("ours", "theirs", "real")
    assert row["preferred"] == pytest.approx(2.5 / 4) and row["low"] <= row["preferred"] <= row["high"]
    assert (row["ratings"], row["raters"]) == (4, 2)
    assert study.text(found).startswith("ours over theirs, real: 62%")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("x", "001", "real", "c"), "the answer 'c' is none"),
        (("x", "099", "real", "a"), "the pair '099' is none"),
        (("x", "001", "nice", "a"), "the question 'nice' is none"),
    ],
)
def test_answers_that_are_none_of_the_studys_are_refused(row, message):
    key = study.pairs(edited(), 6, seed=0)
    with pytest.raises(study.StudyError, match=message):
        study.read(key, ratings(row))
    twice = ratings(("x", "001", "real", "a"), ("x", "001", "real", "b"))
    with pytest.raises(study.StudyError, match="x answered 'real' of pair 001 more than once"):
        study.read(key, twice)


def test_the_command_writes_a_page_and_reads_what_comes_back(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    store, content = Store(tmp_path / "home", {"raw_folder": raw}), png(Image.new("RGB", (4, 4)))
    name = store.files("edited").put(content, ".png")
    table = edited(("ours", "theirs"), lambda *_: name).with_columns(
        source_kind=pl.lit("edited"), source_file=pl.lit(name)
    )
    store.write("edited_samples", table)
    folder, home = str(tmp_path / "study"), ["--home", str(store.home)]
    told = CliRunner().invoke(app, ["study", "make", folder, "--pairs", "4", *home])
    assert told.exit_code == 0, told.output
    again = CliRunner().invoke(app, ["study", "make", folder, *home])
    assert again.exit_code == 2 and "a study has a folder of its own" in re.sub(r"[\s│]+", " ", again.output)
    text = io.StringIO()
    csv.writer(text).writerows([list(study.RATINGS), ["x", "001", "real", "a"]])
    (tmp_path / "x.csv").write_text(text.getvalue())
    told = CliRunner().invoke(app, ["study", "read", folder, str(tmp_path / "x.csv")])
    assert told.exit_code == 0 and "ours over theirs, real:" in told.output, told.output
