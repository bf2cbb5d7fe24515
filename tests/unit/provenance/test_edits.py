"""Why an edit is what it is: whose picture, what was asked, which training, what was read."""

import json
import os

import polars as pl
import pytest
from tiny_editing import measured_edits, training_set
from typer.testing import CliRunner

import facs
from pipelines.command import app
from provenance import edits
from provenance.impact import impact
from provenance.moments import Moment
from provenance.samples import UnknownSample
from provenance.trainings import trainings
from store import Store

EDITORS = {"ganimation": (0.5, 0.9), "adapter": (1.0, 0.99), "unedited": (0.0, 1.0)}
EDIT = "ganimation/individual/001/au12/4"
SETTINGS = {
    "ganimation": {"method": "ganimation", "size": 64},
    "adapter": {"method": "fineface_edit", "experiment": "fineface"},
    "unedited": {"method": "unedited"},
}


@pytest.fixture
def store(tmp_path):
    """A home of two source pictures and three editors, one of which edits with an older model."""
    store = Store(tmp_path)
    scores, beside, faces = measured_edits(2, EDITORS)
    now = training_set(3).with_columns(duplicate_of=pl.lit(None, pl.String))
    store.write("training_set", now.with_columns(split=pl.lit("train")))  # then all were trained on
    store.write("training_set", now)
    model = {
        "folder": "files/adapters/k/output/model",
        "model_hash": "m",
        "steps": 7,
        "key": "k",
        "samples": 4,
        "method": "fineface",
    }
    store.write("trained_model/fineface", pl.DataFrame([model]), {"upstream": {"training_set": 0}})
    rows = [{"editor": name, **model, "method": SETTINGS[name]["method"]} for name in EDITORS]
    table = pl.DataFrame(rows).with_columns(
        pl.when(editor="unedited").then(None).otherwise("folder").alias("folder")
    )
    read = {"training_set": 1, "trained_model/fineface": 0}
    store.write("trained_editors", table, {"upstream": read, "settings": {"editing.editors": SETTINGS}})
    edited = beside.drop("clip_i", "l1", "outside_l1", "outside_psnr")
    told = {"upstream": {"trained_editors": 0, "training_set": 1}, "run_id": "0123456789abcdef"}
    store.write("edited_samples", edited, told)
    for stage, one in (("edit_scores", scores), ("edit_fidelity", beside), ("edit_identity", faces)):
        store.write(stage, one, {"upstream": {"edited_samples": 0}})
    return store


def test_the_trail_of_an_edit_reaches_from_its_source_to_its_judges(store):
    found = edits.why(Moment(store), EDIT)
    assert found.edit == EDIT and found.row["source_index"] == 1 and found.commit.version == 0
    wanted = facs.parse({"AU12": 4})
    assert found.asked == found.told == wanted and facs.parse({"AU6": found.shown[4]}) == found.shown
    (reading,) = found.readings
    assert reading.judge == "labeller" and reading.intensities == tuple(value / 2 for value in wanted)
    assert found.measures["clip_i"] == 0.9 and found.measures["identity_distance"] == pytest.approx(0.1)
    assert found.origin.training_set == 1 and found.origin.source_split == "test"
    assert found.origin.settings == SETTINGS["ganimation"] and found.stale == {}


def test_half_of_a_change_is_told_as_what_the_editor_was_told(store):
    found = edits.why(Moment(store), f"{EDIT}/x0.5")
    assert found.told == tuple((a + b) / 2 for a, b in zip(found.shown, found.asked, strict=True))
    assert "× 0.5 of the change" in _told(found)


def test_an_adapter_that_was_trained_on_the_source_is_told(store):
    found = edits.why(Moment(store), "adapter/unchanged/000/same")
    assert (found.origin.experiment, found.origin.training_set) == ("fineface", 0)
    said = _told(found)
    assert (
        "the adapter of the experiment fineface: 7 steps on 4 pictures of version 0 of training_set" in said
    )
    assert "this edit is of a face that the editor was trained on" in said
    held_out = _told(edits.why(Moment(store), EDIT))
    assert "the source picture was held out from it (split test)" in held_out
    untrained = edits.why(Moment(store), "unedited/unchanged/000/same")
    assert untrained.origin.source_split is None and "nothing is trained" in _told(untrained)


def test_a_sample_knows_the_editors_that_were_trained_on_it(store):
    results = {"editor": "ganimation", "judge": "labeller", "kind": "individual", "strength": [0.5, 1.0]}
    results |= {"metric": "au_mse_all", "value": [9.0, 0.5], "low": 0.4, "high": 0.6}
    store.write("edit_results", pl.DataFrame(results))
    by_adapter, found = trainings(Moment(store), "folder/5.png")
    assert by_adapter.table == "trained_model" and by_adapter.training_set == 0
    assert (found.table, found.experiments, found.split) == ("trained_editors", ("ganimation",), "train")
    assert found.training_set == 1 and found.drawn is None, "which was not noted"
    assert [one.value for one in found.scores["ganimation"]] == [0.5]
    held_out = [one.table for one in trainings(Moment(store), "folder/1.png")]
    assert held_out == ["trained_model"], "of the older version only"


def test_edits_of_a_sample_rest_on_it(store):
    source = edits.why(Moment(store), EDIT).row["source_id"]
    rows = {one.stage: (one.rows, one.of) for one in impact(store, source).holds}
    assert rows["training_set"][0] == 1 and rows["edited_samples"][0] == rows["edit_scores"][0] == 3 * 172
    assert "edit_fidelity" in impact(store, source).tables


def test_what_was_measured_of_an_earlier_picture_is_not_told_of_this_one(store):
    table = store.read("edited_samples").with_columns(file=pl.col("file") + "2")
    store.write("edited_samples", table, {"upstream": {"trained_editors": 0, "training_set": 0}})
    found = edits.why(Moment(store), EDIT)
    assert found.readings == () and found.measures == {"kept": None}
    assert "not measured yet" in _told(found)
    assert "made from version 0 of training_set; that is at version 1 now" in _told(found)
    assert edits.why(Moment(store, "edited_samples@0"), EDIT).readings


def test_an_edit_is_found_by_its_files_name_and_several_are_refused(store):
    moment = Moment(store)
    assert edits.why(moment, edits.why(moment, EDIT).row["file"]).edit == EDIT
    with pytest.raises(UnknownSample, match=r"'individual/001/au12/4' is the edit ganimation/.*say which"):
        edits.why(moment, "individual/001/au12/4")
    with pytest.raises(UnknownSample, match=r"made no edit 'individual/001/au12/44'.*did you mean"):
        edits.why(moment, f"{EDIT}4")
    assert edits.why(moment, "affectnet/1/a.jpg") is None
    table = store.read("edited_samples")
    alike = table.with_columns(file=pl.when(editor="unedited").then(pl.lit("a.png")).otherwise("file"))
    store.write("edited_samples", alike, {"upstream": {"trained_editors": 0, "training_set": 1}})
    with pytest.raises(UnknownSample, match=r"'a.png' is the edit unedited/.* and 339 more: say which"):
        edits.why(Moment(store), "a.png")


def test_a_home_without_edits_has_none(tmp_path):
    assert edits.why(Moment(Store(tmp_path)), EDIT) is None


def test_the_command_tells_edits_where_no_sample_is_meant(store, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))

    def asked(*words):
        return CliRunner().invoke(app, ["why", *words, "--home", str(store.home)])

    done = asked(EDIT)
    assert done.exit_code == 0, done.output
    for said in ("EDITED by ganimation: folder/", "AU12=4", "version 0 of trained_editors", "run 01234567"):
        assert said in done.output
    assert "labeller (net) reads AU12=2: AU-MSE all 0.33" in done.output
    assert json.loads(asked(EDIT, "--json").output)["origin"]["training_set"] == 1
    refused = asked(EDIT, "--history")
    assert refused.exit_code == 1 and "--history and --counterfactual are for samples" in refused.output
    unknown = asked("nothing/of/this")
    assert unknown.exit_code == 1 and "no stage of" in unknown.output


def _told(found):
    return "\n".join(line for part in edits.tell(found) for line in (part.title, part.when, *part.lines))
