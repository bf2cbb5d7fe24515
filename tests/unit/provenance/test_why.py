import json

import polars as pl
import pytest

import facs
from provenance.story import render
from provenance.why import Knot, Map, UnknownSample, stages_of, why
from store import MissingTable, Store

KEPT, DROPPED = "affectnet/1/a.jpg", "affectnet/1/b.jpg"
FRAME = "disfa/SN001/00012"


def units(**given):
    return {name: given.get(name, 0.0) for name in facs.COLUMNS}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "home")
    _fill(store)
    return store


TOO_SMALL = {"reason_code": "too_small", "reason_detail": "width 48 < 64"}


def _table(*rows):
    base = {"source": "affectnet", "keep": True, "reason_code": None, "reason_detail": None}
    schema = {"reason_code": pl.String, "reason_detail": pl.String}
    frame = pl.DataFrame([{**base, **row} for row in rows], schema_overrides=schema, infer_schema_length=None)
    return frame.with_columns(pl.selectors.by_dtype(pl.Null).cast(pl.Float64))


def _fill(store):
    store.write(
        "raw_affectnet",
        _table(
            {"sample_id": KEPT, "origin": "training.csv:2", "content_hash": "aa", "landmarks": "1;2;" * 200},
            {"sample_id": DROPPED, "origin": "training.csv:3", "content_hash": "bb", "landmarks": None},
        ),
        {"run_id": "run-1", "code_version": "c1"},
    )
    store.write(
        "raw_disfa",
        _table(
            {"sample_id": FRAME, "source": "disfa", "subject": "SN001", "label_au12": 3.0, "label_au4": 0.0}
        ),
        {"run_id": "run-1"},
    )
    store.write(
        "resolution",
        _table(
            {"sample_id": KEPT, "width": 64},
            {"sample_id": DROPPED, "width": 48, "keep": False, **TOO_SMALL},
        ),
        {"run_id": "run-2", "upstream": {"raw_affectnet": 0}},
    )
    store.write(
        "au_annotation",
        _table({"sample_id": KEPT, "model": "estimator-77", **units(au4=2.0, au12=3.25), "au9": None}),
        {"run_id": "run-2", "upstream": {"resolution": 0}},
    )
    store.write(
        "au_statistics",
        pl.DataFrame(
            {
                "recipe": ["paper"],
                "step": ["power"],
                "au": [4],
                "minimum": [0.0],
                "maximum": [13.1],
                "minimum_sample_id": ["affectnet/7/low.jpg"],
                "maximum_sample_id": ["affectnet/9/high.jpg"],
                "samples": [812],
            }
        ),
        {"run_id": "run-2", "recipe": "paper"},
    )
    corrected = units(au4=1.328, au12=3.25) | {"au4_raw": 2.0, "au4_power": 3.482, "au4_scaled": 1.328}
    store.write(
        "au_corrections", _table({"sample_id": KEPT, **corrected}), {"run_id": "run-2", "recipe": "paper"}
    )
    store.write(
        "training_set",
        _table({"sample_id": KEPT, **units(au4=1.328, au12=3.25), "caption": "a woman", "split": "train"}),
        {"run_id": "run-2", "upstream": {"raw_affectnet": 0, "au_annotation": 0, "captions": 0}},
    )


def test_trail_follows_the_stages_in_order(store):
    trail = why(store, KEPT)
    assert [step.stage for step in trail.steps] == [
        "raw_affectnet", "face_crop", "resolution", "photorealism", "au_annotation", "captions",
        "au_statistics", "au_corrections", "training_set", "latents",
    ]  # fmt: skip
    assert trail["raw_affectnet"].row["origin"] == "training.csv:2"
    assert trail["raw_affectnet"].metadata["code_version"] == "c1"
    assert trail["resolution"].version == 0 and trail["resolution"].metadata["run_id"] == "run-2"
    assert trail["au_annotation"].model == "estimator-77"
    assert trail["training_set"].row["au4"] == 1.328
    assert trail.dropped is None


def test_trail_names_the_samples_that_set_the_scale(store):
    low, high = why(store, KEPT)["au_statistics"].setters
    assert (low.au, low.step, low.end, low.value, low.sample_id) == (
        4, "power", "minimum", 0.0, "affectnet/7/low.jpg",
    )  # fmt: skip
    assert (high.end, high.value, high.sample_id) == ("maximum", 13.1, "affectnet/9/high.jpg")


def test_a_calibrated_label_names_the_knots_around_its_reading(store):
    knots = {
        "step": ["knot", "knot", "knot", "identity"],
        "au": [12, 12, 12, 4],
        "reading": [0.5, 3.0, 5.0, None],
        "intensity": [0.25, 3.5, 5.0, None],
        "minimum": [0.0, 2.5, None, None],
        "maximum": [1.0, 3.25, None, None],
        "minimum_sample_id": ["disfa/SN001/00001", "disfa/SN002/00002", None, None],
        "maximum_sample_id": ["disfa/SN001/00009", "disfa/SN003/00003", None, None],
        "samples": [40, 2, 0, 900],
    }
    store.write("au_statistics", pl.DataFrame(knots), {"run_id": "run-3"})
    step = why(store, KEPT)["au_statistics"]
    below = Knot(3.0, 3.5, 2, 2.5, 3.25, "disfa/SN002/00002", "disfa/SN003/00003")
    above = Knot(5.0, 5.0, 0, None, None, None, None)
    assert step.setters == () and step.maps == (Map(4, 900, ()), Map(12, 42, (below, above)))
    lines = render(why(store, KEPT)).splitlines()
    for line in (
        "  AU4: as read, no positive among 900 labelled frames",
        "  AU12: reading 3 becomes 3.5: 2 frames, disfa/SN002/00002 (2.5) to disfa/SN003/00003 (3.25)",
        "  AU12: reading 5 becomes 5: an anchor",
    ):
        assert line in lines


def test_text_tells_the_whole_story(store):
    text = render(why(store, KEPT))
    assert text.startswith(KEPT)
    for part in (
        "raw_affectnet, version 0 of 20",
        "commit: code_version c1, run_id run-1",
        "origin: training.csv:2",
        "photorealism: this table has not been written",
        "action units: AU4=2 AU12=3.25 (none for AU9)",
        "model: estimator-77",
        "AU4 power: maximum 13.1 set by affectnet/9/high.jpg",
        "AU4: raw 2 → power 3.482 → scaled 1.328 → final 1.328",
        "caption: a woman",
        "latents: this table has not been written",
    ):
        assert part in text, part
    assert max(map(len, text.splitlines())) < 160, "long values are cut"
    assert "None" not in text and "content_hash aa" not in text


def test_a_cropped_picture_leads_back_to_its_original_however_deep_it_lies(store):
    original = "/raw/" + "deep/" * 30 + "a.jpg"
    row = {
        "sample_id": KEPT,
        "file": f"{original}#xywh=5,0,64,64",
        "content_hash": "77",
        "original_file": original,
    }
    store.write("face_crop", _table({**row, "original_hash": "aa", "crop_x": 5, "crop_side": 64}))
    text = render(why(store, KEPT))
    assert text.index("raw_affectnet, version") < text.index("face_crop, version") < text.index("resolution,")
    assert f"original_file: {original}\n" in text and f"file: {original}#xywh=5,0,64,64\n" in text
    assert "original_hash: aa" in text and "crop_side: 64" in text


def test_a_dropped_sample_says_where_and_why(store):
    trail = why(store, DROPPED)
    assert trail.dropped.stage == "resolution" and trail.dropped.row["reason_code"] == "too_small"
    text = render(trail)
    assert "DROPPED: too_small: width 48 < 64" in text
    assert "set by" not in text, "no scale was applied to it"
    assert text.index("DROPPED") < text.index("no row: the sample was dropped before")
    assert trail["training_set"].row is None and trail["training_set"].version == 0


def test_a_disfa_frame_skips_the_stages_of_web_photographs(store):
    trail = why(store, FRAME)
    assert [step.stage for step in trail.steps] == [
        "raw_disfa", "face_crop", "disfa_readings", "captions", "training_set", "latents",
    ]  # fmt: skip
    text = render(trail)
    assert "manual labels: AU12=3" in text
    assert "no row of this sample" in text


def test_an_id_of_unknown_source_is_looked_up_everywhere(store):
    assert stages_of("x/1")[:3] == ("raw_affectnet", "raw_disfa", "raw_folder")
    store.write("raw_folder", _table({"sample_id": "x/1", "source": "folder"}))
    assert [step.stage for step in why(store, "x/1").steps][:2] == ["raw_folder", "face_crop"]


def test_unknown_sample_names_the_tables_that_were_searched(store, tmp_path):
    with pytest.raises(
        UnknownSample, match=r"'affectnet/9/z\.jpg'; looked in raw_affectnet, resolution, au_annot"
    ):
        why(store, "affectnet/9/z.jpg")
    with pytest.raises(UnknownSample, match="no stage is written yet"):
        why(Store(tmp_path / "empty"), KEPT)


def test_newer_inputs_are_pointed_out(store):
    store.write("resolution", _table({"sample_id": KEPT, "width": 65}), {"run_id": "run-3"})
    step = why(store, KEPT)["au_annotation"]
    assert step.stale == {"resolution": (0, 1)}
    assert "written from version 0 of resolution; that is at version 1 now" in render(why(store, KEPT))


def test_an_old_version_is_explained_by_the_inputs_it_had(store):
    store.write(
        "raw_affectnet", _table({"sample_id": KEPT, "origin": "training.csv:99"}), {"run_id": "run-3"}
    )
    store.write("au_annotation", _table({"sample_id": KEPT, **units(au4=4.5)}), {"run_id": "run-3"})
    store.write("training_set", _table({"sample_id": KEPT, **units(au4=4.4)}), {"run_id": "run-3"})
    now, then = why(store, KEPT), why(store, KEPT, {"training_set": 0})
    assert now["training_set"].row["au4"] == 4.4 and then["training_set"].row["au4"] == 1.328
    assert now["au_annotation"].row["au4"] == 4.5 and then["au_annotation"].row["au4"] == 2.0
    assert then["raw_affectnet"].row["origin"] == "training.csv:2"
    assert then["captions"].version is None
    with pytest.raises(MissingTable, match="'training_set' has no version 7"):
        why(store, KEPT, {"training_set": 7})


@pytest.mark.parametrize("upstream", ["not json", "[1]", json.dumps({"a": None}), json.dumps({"a": "x"})])
def test_metadata_of_other_writers_does_not_break_the_trail(store, upstream):
    store.write("captions", _table({"sample_id": KEPT, "caption": "other"}), {"upstream": upstream})
    assert why(store, KEPT)["captions"].stale == {}


def test_the_verdict_stands_on_top(store):
    assert render(why(store, DROPPED)).splitlines()[:2] == [
        DROPPED,
        "DROPPED by resolution: too_small: width 48 < 64 (A side is shorter than the profile's minimum.)",
    ]
    kept = render(why(store, KEPT)).splitlines()[1]
    assert kept == "KEPT: training_set holds it, split train"
    assert why(store, KEPT).verdict.keep is True and why(store, DROPPED).verdict.stage == "resolution"


def test_who_dropped_a_sample_is_named(store):
    row = {"sample_id": KEPT, "keep": False, "model": "blip2@1", "reason_code": "not_photorealistic"}
    store.write("photorealism", _table({**row, "reason_detail": "answered 'yes'"}))
    assert (
        render(why(store, KEPT))
        .splitlines()[1]
        .startswith(
            "DROPPED by photorealism, by blip2@1: not_photorealistic: answered 'yes' (By BLIP-2's answers"
        )
    )


def test_a_sample_that_is_on_its_way_is_not_settled(store):
    other = "folder/a.png"
    store.write("raw_folder", _table({"sample_id": other, "source": "folder"}))
    trail = why(store, other)
    assert trail.verdict.keep is None and trail.verdict.stage == "raw_folder"
    assert render(trail).splitlines()[1].startswith("not settled yet: raw_folder kept it")


def test_the_settings_behind_a_table_are_told(store):
    settings = {"resolution": {"min_side": 64, "inclusive": True}}
    row = {"sample_id": DROPPED, "width": 40, "keep": False, **TOO_SMALL}
    store.write("resolution", _table(row), {"run_id": "run-9", "settings": settings})
    trail = why(store, DROPPED)
    assert trail["resolution"].settings == settings
    text = render(trail)
    assert '  settings: resolution {"inclusive": true, "min_side": 64}' in text
    assert "settings {" not in text, "and not a second time among the commit's marks"


def test_a_trail_is_json(store):
    found = json.loads(why(store, DROPPED).as_json())
    assert found["sample_id"] == DROPPED
    assert found["verdict"] == {
        "keep": False, "stage": "resolution", "reason_code": "too_small",
        "reason_detail": "width 48 < 64", "model": None,
    }  # fmt: skip
    assert [step["stage"] for step in found["steps"]] == list(stages_of(DROPPED))
    assert found["steps"][2]["row"]["width"] == 48
