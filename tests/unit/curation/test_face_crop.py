"""Which square of a picture is its face."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

from curation import face_crop


def rows(*boxes, width=100, height=80):
    """One row a box (x, y, width, height) in a picture of `width` × `height`."""
    return pl.DataFrame(
        [(width, height, *box) for box in boxes],
        schema={**dict.fromkeys(("width", "height"), pl.Int64), **dict.fromkeys(face_crop.BOX, pl.Float64)},
        orient="row",
    )


def squares(*boxes, margin=0.0, **size):
    table = face_crop.squares(rows(*boxes, **size), margin)
    return table.select(face_crop.SQUARE).rows()


def test_a_square_has_the_boxes_centre_and_its_longer_side_with_the_margin_at_both_ends():
    assert squares((40, 30, 20, 10)) == [(40, 25, 20)]
    assert squares((40, 30, 10, 20)) == [(35, 30, 20)]
    assert squares((40, 30, 20, 20), margin=0.25) == [(35, 25, 30)]


def test_a_square_that_would_stick_out_is_moved_in_and_only_what_does_not_fit_is_taken_off():
    assert squares((0, 0, 20, 20), margin=0.5) == [(0, 0, 40)]
    assert squares((90, 70, 10, 10), margin=1) == [(70, 50, 30)]
    assert squares((10, 10, 60, 60), margin=1) == [(0, 0, 80)]
    assert squares((60, 10, 40, 40), margin=1, width=200) == [(40, 0, 80)]


def test_of_a_box_that_sticks_out_the_part_inside_counts():
    assert squares((-10, -10, 30, 30)) == [(0, 0, 20)]
    assert squares((95, 10, 30, 4)) == [(95, 10, 5)]


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((None, 1, 2, 3), "no_face_box: a number is missing"),
        ((1, 1, 0, 3), "no_face_box: x 1.0, y 1.0, 0.0x3.0"),
        ((1, 1, 5, -3), "no_face_box: x 1.0, y 1.0, 5.0x-3.0"),
        ((100, 1, 5, 3), "face_box_outside: x 100.0, y 1.0, 5.0x3.0 in a picture of 100x80"),
        ((1, -9, 5, 9), "face_box_outside: x 1.0, y -9.0, 5.0x9.0 in a picture of 100x80"),
    ],
)
def test_without_a_box_in_the_picture_there_is_no_square(box, reason):
    table = face_crop.squares(rows(box), 0.25)
    assert table["keep"].to_list() == [False] and told(table) == [reason]
    assert table.select(face_crop.SQUARE).row(0) == (None, None, None)


def test_rows_dropped_before_stay_dropped_and_small_squares_are_named():
    table = rows((40, 30, 20, 10), (40, 30, 21, 10)).with_columns(
        keep=True, reason_code=pl.lit(None, pl.String), reason_detail=pl.lit(None, pl.String)
    )
    small = face_crop.too_small(face_crop.squares(table, 0), 21)
    assert told(small) == ["too_small: face crop of 20 px < 21 px", None]
    dropped = table.with_columns(keep=False, reason_code=pl.lit("no_face"))
    assert told(face_crop.squares(dropped, 0)) == ["no_face", "no_face"]
    with pytest.raises(ValueError, match="margin is at least 0"):
        face_crop.squares(table, -0.1)
    with pytest.raises(ValueError, match="without column face_width"):
        face_crop.squares(table.drop("face_width"), 0)


side = st.integers(1, 300)
number = st.floats(-400, 400, width=16)  # so that sums are exact


@given(side, side, number, number, number, number, st.floats(0, 3))
@settings(max_examples=60, deadline=None)
def test_every_square_lies_in_the_picture_and_holds_the_face_where_that_fits(w, h, x, y, bw, bh, margin):
    row = face_crop.squares(rows((x, y, bw, bh), width=w, height=h), margin).row(0, named=True)
    if not row["keep"]:
        assert bw <= 0 or bh <= 0 or x >= w or y >= h or x + bw <= 0 or y + bh <= 0
        return
    left, top, size = (row[name] for name in face_crop.SQUARE)
    assert size >= 1 and 0 <= left <= w - size and 0 <= top <= h - size
    seen = max(min(x + bw, w) - max(x, 0), min(y + bh, h) - max(y, 0))
    assert size <= max(1, round(seen * (1 + 2 * margin) + 0.5))
    if seen + 2 <= size:  # pixels are whole, boxes are not
        assert left <= max(x, 0) + 1 and left + size >= min(x + bw, w) - 1
        assert top <= max(y, 0) + 1 and top + size >= min(y + bh, h) - 1
