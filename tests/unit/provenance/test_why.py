import json
import shutil

import polars as pl
import pytest

import facs
from provenance.moments import UnknownMoment
from provenance.samples import UnknownSample
from provenance.story import render
from provenance.why import Knot, Map, stages_of, why
from store import MissingTable, Store, hash_bytes

KEPT, DROPPED = "affectnet/1/a.jpg", "affectnet/1/b.jpg"
FRAME = "disfa/SN001/00012"


def units(**given):
    return {name: given.get(name, 0.0) for name in facs.COLUMNS}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("written") / "home")
    _fill(store)
    return store


@pytest.fixture
def store(written, tmp_path):
    shutil.copytree(written.home, tmp_path / "home")
    return Store(tmp_path / "home")


TOO_SMALL = {"reason_code": "too_small", "reason_detail": "width 48 < 64"}


def _table(*rows):
    base = {"source": "affectnet", "file": None, "content_hash": None}
    base |= {"keep": True, "reason_code": None, "reason_detail": None}
    schema = dict.fromkeys(("reason_code", "reason_detail", "file", "content_hash"), pl.String)
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
    corrected |= {f"au{au}_raw": 0.0 for au in facs.ACTION_UNITS if au != 4} | {"au12_raw": 3.25}
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
        "UTC, run run-1",
        "origin: training.csv:2",
        "face_crop, photorealism, captions, latents\n  not written yet",
        "action units: AU4=2 AU12=3.25 (none for AU9)",
        "model: estimator-77",
        "AU4 Brow Lowerer: reading 2 → label 1.328",
        "power: x ** gamma with gamma 1.8 → 3.482",
        "minimum 0, maximum 13.1, top 5 → 1.328",
        "minimum set by affectnet/7/low.jpg",
        "maximum set by affectnet/9/high.jpg",
        "caption: a woman",
    ):
        assert part in text, part
    assert max(map(len, text.splitlines())) < 160, "long values are cut"
    assert "None" not in text and text.count("content_hash") == 1, "what was told is not told again"


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
    assert "original_hash" not in text, "the raw file's hash was told"


def test_a_dropped_sample_says_where_and_why(store):
    trail = why(store, DROPPED)
    assert trail.dropped.stage == "resolution" and trail.dropped.row["reason_code"] == "too_small"
    text = render(trail)
    assert "DROPPED: too_small: width 48 < 64" in text
    assert "set by" not in text, "no scale was applied to it"
    assert text.index("DROPPED") < text.index("no row: the sample was dropped before")
    assert "AU4" not in text, "no label of it was corrected"
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
    assert stages_of("x/1")[:4] == ("raw_affectnet", "raw_disfa", "raw_folder", "raw_rendered")
    store.write("raw_folder", _table({"sample_id": "x/1", "source": "folder"}))
    assert [step.stage for step in why(store, "x/1").steps][:2] == ["raw_folder", "face_crop"]


def test_unknown_sample_names_the_tables_that_were_searched(store, tmp_path):
    with pytest.raises(
        UnknownSample,
        match=r"'affectnet/9/z\.jpg'; looked in raw_affectnet, raw_disfa, resolution, au_annot",
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
    now, then = why(store, KEPT), why(store, KEPT, "training_set@0")
    assert now["training_set"].row["au4"] == 4.4 and then["training_set"].row["au4"] == 1.328
    assert now["au_annotation"].row["au4"] == 4.5 and then["au_annotation"].row["au4"] == 2.0
    assert then["raw_affectnet"].row["origin"] == "training.csv:2"
    assert then["captions"].version is None
    with pytest.raises(MissingTable, match="'training_set' has no version 7"):
        why(store, KEPT, "training_set@7")
    assert why(store, KEPT, 0)["training_set"].row["au4"] == 1.328, "a bare number is the training set's"
    assert why(store, KEPT, "run-2")["training_set"].row["au4"] == 1.328
    assert "(version 0 of training_set)" in render(then).splitlines()[1]


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
    assert kept == "KEPT: training_set holds it, split train; AU4=1.328 AU12=3.25"
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
        "state": "dropped", "keep": False, "stage": "resolution", "reason_code": "too_small",
        "reason_detail": "width 48 < 64", "model": None, "split": None,
    }  # fmt: skip
    assert [step["stage"] for step in found["steps"]] == list(stages_of(DROPPED))
    assert found["steps"][2]["row"]["width"] == 48


def test_a_sample_is_found_by_every_name_it_has(store, tmp_path):
    rows = {"sample_id": KEPT, "file": "Images/1/a.jpg", "content_hash": hash_bytes(b"pixels")}
    store.write("raw_affectnet", _table(rows, {"sample_id": DROPPED, "file": "Images/1/b.jpg"}))
    copy = tmp_path / "renamed.jpg"
    copy.write_bytes(b"pixels")
    for said, by in (
        (KEPT, "id"),
        ("Images/1/a.jpg", "file"),
        ("/data/affectnet/Images/1/a.jpg", "file"),
        ("a.jpg", "file name"),
        (hash_bytes(b"pixels"), "content hash"),
        (str(copy), "file"),
    ):
        found = why(store, said)
        assert (found.sample_id, found.found_by) == (KEPT, by), said


def test_of_several_samples_one_must_be_said_and_of_none_the_nearest_is_named(store):
    rows = [{"sample_id": f"affectnet/{n}/face_0{n}.jpg", "file": f"{n}/x.jpg"} for n in range(7)]
    store.write("raw_affectnet", _table(*rows))
    with pytest.raises(UnknownSample, match=r"file name of affectnet/0/face.*and 2 more: say which"):
        why(store, "x.jpg")
    with pytest.raises(UnknownSample, match=r"did you mean 'affectnet/3/face_03\.jpg'"):
        why(store, "affectnet/3/fase_03.jpg")
    with pytest.raises(UnknownMoment, match="no version, run or time 'yesterday'; there are versions 0 to 0"):
        why(store, KEPT, "yesterday")


def test_a_sample_that_is_no_longer_there_is_told_as_it_was(store):
    for stage in ("raw_affectnet", "resolution", "au_annotation", "au_corrections", "training_set"):
        store.write(stage, _table({"sample_id": DROPPED}), {"run_id": "run-4"})
    trail = why(store, KEPT)
    assert trail.gone and trail.verdict.state == "gone" and trail.verdict.keep is None
    assert trail["raw_affectnet"].version == 0 and trail["raw_affectnet"].row["origin"] == "training.csv:2"
    assert render(trail).splitlines()[1].startswith("GONE: the tables of today do not have it")


def test_what_former_versions_said_is_told_when_asked_for(store):
    dropped = {"sample_id": KEPT, "keep": False, "reason_code": "no_caption", **units()}
    store.write("training_set", _table(dropped), {"run_id": "run-5"})
    earlier = why(store, KEPT, history=True).earlier
    assert [one.version for one in earlier] == [1, 0]
    assert [one.verdict.state for one in earlier] == ["dropped", "kept"]
    assert earlier[1].intensities["au4"] == 1.328 and why(store, KEPT).earlier == ()
    assert "version 0 of 20" in (text := render(why(store, KEPT, history=True))) and "AU4=1.328" in text


def test_only_the_aus_that_matter_are_told_unless_asked_for(store):
    assert [value.au for value in why(store, KEPT, aus=[12]).values] == [12]
    text, everything = render(why(store, KEPT)), render(why(store, KEPT), every_au=True)
    assert "AU12 Lip Corner Puller" in text and "AU26 Jaw Drop" not in text
    assert "0 from beginning to end: AU1, AU2" in text and "AU26 Jaw Drop" in everything


def test_an_archives_member_is_found_by_its_content(store):
    content = "ab" * 16
    row = {"sample_id": KEPT, "file": f"{content}.jpg", "file_kind": "affectnet", "content_hash": content}
    store.write("raw_affectnet", _table(row))
    key = "Manually_Annotated_Images/1/a.jpg-48211-0A1B2C3D-4-100000000-32766"
    memo = store.memo("archive_members")
    asked = pl.DataFrame({"key": [key]})
    memo.get_or_compute(asked, lambda rows: rows.with_columns(content_hash=pl.lit(content)), chunk=9)
    trail = why(store, KEPT)
    assert (trail.member.name, trail.member.size) == ("Manually_Annotated_Images/1/a.jpg", 48211)
    assert "member Manually_Annotated_Images/1/a.jpg, 48,211 bytes" in render(trail)


def test_a_failed_check_that_somebody_accepted_is_told_with_the_table_it_is_about(store):
    from datetime import UTC, datetime

    from curation import acceptances

    def accept(content, reason):
        row = acceptances.acceptance(
            "resolution_keeps_its_share",
            "resolution",
            content,
            "affectnet: keeps 0.5",
            "Ada",
            reason,
            datetime(2026, 1, 1, tzinfo=UTC),
        )
        store.append(acceptances.TABLE, row)

    accept(store.content_hash("resolution"), "a new camera")
    accept("of another table", "never of this one")
    (told,) = why(store, KEPT)["resolution"].acceptances
    assert (told["check"], told["author"]) == ("resolution_keeps_its_share", "Ada")
    text = render(why(store, KEPT))
    assert "accepted by Ada on 2026-01-01" in text and "a new camera" in text
    assert "never of this one" not in text
