"""The calibrated recipe: maps worked out by hand, properties of every map, folds and held-out errors."""

import itertools
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from told import told

from curation import calibration, corrections
from curation.frames import LABELS
from curation.recipes import AS_READ, CALIBRATED, PAPER, REFERENCE
from evaluation import held_out
from facs import COLUMNS

NONE = 0.0
"""No anchors: the frames alone."""


def labelled(*frames: tuple[float | None, float], au: int = 12, subjects=("s1", "s2")) -> pl.DataFrame:
    """Frames of (reading, label) of one AU; the other AUs are read 0 and labelled 0. Ids a, b, c …"""
    rows = [dict.fromkeys((*COLUMNS, *LABELS), 0.0) for _ in frames]
    for row, (reading, label) in zip(rows, frames, strict=True):
        row |= {f"au{au}": reading, f"label_au{au}": label}
    given_subjects = list(itertools.islice(itertools.cycle(subjects), len(rows)))
    frame = pl.DataFrame(rows, schema=dict.fromkeys((*COLUMNS, *LABELS), pl.Float64))
    ids = pl.Series("sample_id", [chr(ord("a") + i) for i in range(len(rows))], dtype=pl.String)
    return frame.with_columns(ids, pl.Series("subject", given_subjects, dtype=pl.String))


def knots(frame, au=12, anchors=NONE):
    found = calibration.fit(frame, anchors).filter(au=au)
    return [tuple(map(float, row)) for row in found.select("reading", "intensity", "samples").iter_rows()]


# worked out by hand


def test_frames_are_pooled_until_labels_rise():
    # labels 0, 2, 1, 4 by reading: 2 and 1 fall, so they pool to 1.5 at (1 + 2) / 2
    assert knots(labelled((0, 0), (1, 2), (2, 1), (3, 4))) == [(0, 0, 1), (1.5, 1.5, 2), (3, 4, 1)]


def test_frames_with_one_reading_count_by_their_number():
    # at 2 three frames with mean 1; at 3 one with 0: pooled (3 * 1 + 0) / 4 = 0.75 at (3 * 2 + 3) / 4 = 2.25
    frame = labelled((2, 0), (2, 1), (2, 2), (3, 0), (4, 5))
    assert knots(frame) == [(2.25, 0.75, 4), (4, 5, 1)]


def test_anchors_hold_the_map_where_labels_are_few():
    # one frame read 4, labelled 1, against one anchor at each whole reading: at 4 the mean is
    # (1 + 4) / 2 = 2.5, below the anchor at 3; pooled (3 + 1 + 4) / 3 = 8/3 at (3 + 4 + 4) / 3 = 11/3
    found = knots(labelled((4, 1)), anchors=1)
    assert found[:3] == [(0, 0, 0), (1, 1, 0), (2, 2, 0)]
    assert found[3] == pytest.approx((11 / 3, 8 / 3, 1)) and found[4] == (5, 5, 0)


def test_between_knots_the_map_is_straight_and_beyond_them_flat():
    # knots (0, 0), (2, 3), (4, 4): at 1 it is 1.5, at 3 it is 3.5
    fitted = calibration.fit(labelled((0, 0), (2, 3), (4, 4)), NONE).filter(au=12)
    values = pl.Series([0.0, 1.0, 3.0, 4.5, None])
    assert calibration.mapped(values, fitted).to_list() == [0.0, 1.5, 3.5, 4.0, None]


def test_a_knot_names_the_frames_at_its_ends():
    frame = labelled((1, 2), (2, 1), (2, 1), (0, 0))
    knot = calibration.fit(frame, NONE).filter(au=12).row(1, named=True)
    assert (knot["minimum"], knot["minimum_sample_id"]) == (1, "a")
    assert (knot["maximum"], knot["maximum_sample_id"]) == (2, "b")  # of b and c the first


def test_without_a_positive_frame_the_map_is_the_identity_and_says_so():
    frame = labelled((3, 0), (2, 0.5), (None, 4), au=5)
    row = calibration.fit(frame, CALIBRATED.anchors).filter(au=5).row(0, named=True)
    assert (row["step"], row["samples"], row["reading"]) == ("identity", 2, None)
    values = pl.Series([0.0, 2.5, None])
    assert calibration.mapped(values, calibration.fit(frame, 5.0).filter(au=5)).to_list() == [0.0, 2.5, None]


def test_the_recipe_maps_then_zeroes_below_1_and_keeps_what_was_read():
    # knots (0, 0), (2, 3), (4, 4) without anchors; 0.5 becomes 0.75, below 1
    fitted = corrections.fit(pl.DataFrame(), _without_anchors(), labelled((0, 0), (2, 3), (4, 4)))
    rows = [dict.fromkeys(COLUMNS, 0.0) | {"au12": value} for value in (0.5, 1.0, 3.0, 0.1)]
    result = fitted.apply(pl.DataFrame(rows).with_columns(pl.lit(None).cast(pl.Float64).alias("au9")))
    assert result["au12_raw"].to_list() == [0.5, 1.0, 3.0, 0.1]
    assert result["au12_mapped"].to_list()[:3] == [0.75, 1.5, 3.5]
    assert result["au12"].to_list() == [0.0, 1.5, 3.5, None]
    assert told(result)[3] == "too_weak: intensities sum to 0.1 < 0.2"
    assert result["au9"].to_list() == [None] * 4, "an AU that is not read stays null"


def _without_anchors():
    from dataclasses import replace

    return replace(CALIBRATED, anchors=NONE)


def test_it_is_refused_without_labelled_frames_and_with_incomplete_maps():
    rows = pl.DataFrame([dict.fromkeys(COLUMNS, 1.0)])
    with pytest.raises(
        ValueError, match="'calibrated' is fitted on manually labelled frames; there are none"
    ):
        corrections.fit(rows, "calibrated")
    fitted = corrections.fit(rows, "calibrated", labelled((1, 1)))
    with pytest.raises(ValueError, match="lack AU1 map"):
        corrections.Corrections(CALIBRATED, fitted.statistics.filter(pl.col("au") != 1)).apply(rows)
    with pytest.raises(ValueError, match="lack the columns label_au9, sample_id"):
        calibration.fit(labelled((1, 1)).drop("label_au9", "sample_id"), 5.0)


# properties

points = st.lists(
    st.tuples(st.floats(0, 5, allow_subnormal=False), st.integers(0, 5)), min_size=1, max_size=20
)


@settings(max_examples=25)
@given(frames=points, anchors=st.sampled_from([0.0, 1.0, 5.0]), data=st.data())
def test_every_map_is_monotone_bounded_and_blind_to_the_order_of_rows(frames, anchors, data):
    frame = labelled(*frames)
    fitted = calibration.fit(frame, anchors)
    found = calibration.mapped(pl.Series([i / 10 for i in range(51)]), fitted.filter(au=12))
    assert found.is_sorted() and found.is_between(0, 5).all()
    shuffled = frame[data.draw(st.permutations(range(len(frames))))]
    assert_frame_equal(fitted, calibration.fit(shuffled, anchors))


@settings(max_examples=20)
@given(frames=points)
def test_without_anchors_the_fitted_labels_keep_the_mean_of_the_manual_ones(frames):
    """Pooling moves labels around and loses none: the weighted mean over the knots stays."""
    if all(label < 1 for _, label in frames):
        return
    fitted = calibration.fit(labelled(*frames), NONE).filter(au=12)
    assert fitted["samples"].sum() == len(frames)
    total = (fitted["intensity"] * fitted["samples"]).sum()
    assert math.isclose(total, sum(label for _, label in frames), abs_tol=1e-9)


@settings(max_examples=20)
@given(
    subjects=st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=30),
    count=st.integers(2, 6),
)
def test_folds_share_no_subject_and_are_even(subjects, count):
    found = held_out.folds(pl.Series(subjects), count)
    assert set(found) == set(subjects) and found == held_out.folds(pl.Series(subjects[::-1]), count)
    sizes = [list(found.values()).count(fold) for fold in range(count)]
    assert max(sizes) - min(sizes) <= 1


# held-out error


def test_a_recipe_is_judged_on_subjects_it_was_not_fitted_on():
    # Both subjects show readings 2 and 4. s1's are labelled 2 and 4, s2's 1 and 3. Fitted on the other one,
    # without anchors, each frame is off by exactly 1; uncorrected, s1 is right and s2 off by 1.
    frame = labelled((2, 2), (2, 1), (4, 4), (4, 3))
    found = held_out.errors(frame, [_without_anchors()]).filter(au=12)
    assert found.rows() == [("uncorrected", 12, 0.5, 0.5, 4, 4), ("calibrated", 12, 1.0, 1.0, 4, 4)]


def test_all_recipes_are_measured_on_the_same_frames():
    # the third and fourth are too weak for the reference (at most 1), the last one for the paper too
    frame = labelled((4, 4), (3, 3), (1, 1), (0.5, 0), (0.1, 0), (5, 5))
    found = held_out.errors(frame)
    assert found["recipe"].unique(maintain_order=True).to_list() == [
        "uncorrected", PAPER.name, REFERENCE.name, CALIBRATED.name, AS_READ.name,
    ]  # fmt: skip
    assert set(found["frames"]) == {3} and found.filter(au=12)["mae"][0] == 0


def test_one_subject_alone_is_not_held_out_of_anything():
    assert held_out.errors(labelled((1, 1), (2, 2), subjects=("s1",))).is_empty()


def test_an_au_that_was_not_read_has_no_error():
    frame = labelled((2, 2), (3, 3)).with_columns(pl.lit(None, dtype=pl.Float64).alias("au9"))
    row = held_out.errors(frame).filter(au=9).row(-1, named=True)
    assert (row["mae"], row["mse"], row["frames"]) == (None, None, 0)
