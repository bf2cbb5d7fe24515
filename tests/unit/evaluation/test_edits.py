"""How edits are measured: differences by hand, and a table of results over pictures."""

import numpy as np
import polars as pl
import pytest
from tiny_editing import training_set

import facs
from evaluation import edit_protocol, edits, figures, metrics


def test_what_changed_inside_and_outside_of_the_face_by_hand():
    source = np.zeros((2, 2, 3), np.uint8)
    edited = source.copy()
    edited[0, 0], edited[1, 1] = 255, 51
    face = np.array([[True, False], [False, False]])
    found = edits.fidelity(source, edited, face)
    assert found["l1"] == pytest.approx((1 + 0.2) / 4)
    assert found["outside_l1"] == pytest.approx(0.2 / 3)
    assert found["outside_psnr"] == pytest.approx(-10 * np.log10(0.04 / 3))
    assert edits.fidelity(source, source, face)["outside_psnr"] == edits.PSNR_MOST
    unknown = edits.fidelity(source, edited, None)
    assert unknown["outside_l1"] is unknown["outside_psnr"] is None and unknown["l1"] == found["l1"]
    assert edits.fidelity(source, edited, np.ones((2, 2), bool))["outside_l1"] is None


@pytest.fixture(scope="module")
def found():
    """An editor that hits every target but at half strength, and one without a face in any picture."""
    asked = edit_protocol.build(edit_protocol.sources(training_set(), 4, seed=0), strengths=(0.5,))
    hits = [(pl.col(c) * pl.col("strength")).alias(f"measured_{c}") for c in facs.COLUMNS]
    lost = [pl.lit(None, dtype=pl.Float64).alias(f"measured_{c}") for c in facs.COLUMNS]
    scores = pl.concat(
        [
            asked.with_columns(*hits, editor=pl.lit("good"), judge=pl.lit("labeller")),
            asked.with_columns(*lost, editor=pl.lit("lost"), judge=pl.lit("labeller")),
        ]
    )
    told = dict.fromkeys(("l1", "outside_l1", "clip_i", "kept"), pl.lit(0.25))
    psnr = pl.lit(None, dtype=pl.Float64)
    fidelities = scores.drop(*metrics.MEASURED, "judge").with_columns(**told, outside_psnr=psnr)
    apart = pl.when(editor="good").then(0.1 * pl.col("source_index"))
    same = pl.when(editor="good").then(1.0).otherwise(0.0)
    known = fidelities.select(*asked.columns, "editor", identity_distance=apart, same_person=same)
    embedded = known.with_columns(
        embedding=pl.when(editor="good").then([1.0, 0.0]).otherwise([0.0, 1.0]), model=pl.lit("clip")
    ).with_columns(fingerprint=pl.lit("f"))
    real = pl.DataFrame({"embedding": [[1.0, 0.0]] * 3})
    return edits.results(scores, fidelities, known, edits.realisms(embedded, real))


def value(found, **where):
    return found.filter(**where)["value"].item()


def test_results_are_of_every_editor_kind_and_strength(found):
    assert found.schema == edits.RESULTS
    assert value(found, editor="good", kind="combination", metric="au_mse_all", strength=1.0) == 0
    # half of what was asked for is missing: (1 + 4 + 9 + 16 + 25) / 5 / 4
    half = {"editor": "good", "kind": "individual", "strength": 0.5}
    assert value(found, metric="au_mse_prompted", **half) == pytest.approx(11 / 4)
    assert value(found, editor="lost", kind="individual", strength=1.0, metric="face_failure_rate") == 1
    assert value(found, editor="lost", kind="individual", strength=1.0, metric="au_mse_prompted") == 11
    assert value(found, editor="good", kind="unchanged", metric="clip_i") == 0.25
    assert found.filter(metric="outside_psnr")["value"].null_count() > 0
    counted = found.filter(editor="good", kind="individual", strength=1.0, metric="au_mse_prompted")
    assert counted["n"].item() == 4 * 60


def test_identity_is_of_faces_and_a_lost_one_shows_nobody(found):
    whole = {"kind": "combination", "strength": 1.0}
    far = found.filter(editor="good", metric="identity_distance", **whole).row(0, named=True)
    assert far["judge"] == "identity" and far["value"] == pytest.approx((0 + 0.1 + 0.2 + 0.3) / 4)
    assert 0 <= far["low"] < far["value"] < far["high"] <= 0.3, "over the four source pictures"
    assert value(found, editor="lost", metric="identity_distance", **whole) is None
    assert value(found, editor="lost", metric="same_person", **whole) == 0


def test_edits_as_a_whole_lie_near_real_pictures_or_far(found):
    whole = {"kind": "individual", "strength": 0.5}
    near = found.filter(editor="good", metric="kid", **whole).row(0, named=True)
    assert near["judge"] == "clip" and near["n"] == 4 * 60 and near["value"] == pytest.approx(0)
    # the kernel of one picture is (1 + 1)³ with itself, 1 with one perpendicular to it: 8 + 8 - 2
    assert value(found, editor="lost", metric="kid", **whole) == pytest.approx(14)
    # two points, √2 apart times √2
    assert value(found, editor="lost", metric="fid", **whole) == pytest.approx(4)


def test_the_front_is_over_strengths(found):
    fronts = edits.fronts(found, "labeller")
    assert fronts.filter(editor="good")["strength"].to_list() == [0.5, 1.0]
    assert fronts.filter(editor="good", strength=1.0)["au_mse_all"].item() == 0
    assert figures.edit_fronts(fronts).startswith(b"\x89PNG")
    assert edits.likenesses(found) == ["clip_i", "identity_distance"]
    faces = edits.fronts(found, "labeller", "identity_distance").filter(editor="good")
    assert faces["identity_distance"].to_list() == pytest.approx([0.15, 0.15])
    assert figures.edit_fronts(faces, "identity_distance").startswith(b"\x89PNG")
    heads, *rows = edits.table(found, "individual")
    good = dict(zip(heads, next(row for row in rows if row[0] == "good"), strict=True))
    assert good["AU-MSE prompted (labeller)"] == "0.00 [0.00, 0.00]"
    assert good["identity distance to source"].startswith("0.150 [") and good["FID"] == "0.00"
    lines = edits.text(found).splitlines()
    assert lines[0].startswith("individual  AU-MSE prompted (labeller)") and lines[1].startswith("good")
    assert max(map(len, lines)) < 120
