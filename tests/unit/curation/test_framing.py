"""Which part of a picture is seen, and how much of its face that holds."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

import picture_files
from curation import framing


def rows(*boxes, choice="face", width=100, height=80):
    """One row a box (x, y, width, height) in a picture of `width` × `height`."""
    return pl.DataFrame(
        [(width, height, choice, *box) for box in boxes],
        schema={
            **dict.fromkeys(("width", "height"), pl.Int64),
            "framing": pl.String,
            **dict.fromkeys(framing.BOX, pl.Float64),
        },
        orient="row",
    )


def squares(*boxes, margin=0.0, min_side=1, **given):
    return framing.frame(rows(*boxes, **given), margin, min_side).select(framing.SQUARE).rows()


def test_a_face_off_centre_is_cut_by_the_central_square_and_by_no_other_framing():
    """380 px at (40, 150) in 1200 × 700: of its width, the square from 250 to 950 leaves 250 to 420."""
    for choice, square, inside in (
        ("centre", (250, 0, 700), 170 / 380),
        ("squash", (None, None, None), 1.0),
        ("face", (0, 55, 570), 1.0),
    ):
        table = framing.frame(rows((40, 150, 380, 380), choice=choice, width=1200, height=700), 0.25, 1)
        assert table.select(framing.SQUARE).row(0) == square
        assert table["face_inside"].item() == pytest.approx(inside)
        assert table.select(framing.is_cut()).item() is (choice == "centre")


def test_a_square_has_the_boxes_centre_and_its_longer_side_with_the_margin_at_both_ends():
    assert squares((40, 30, 20, 10)) == [(40, 25, 20)]
    assert squares((40, 30, 10, 20)) == [(35, 30, 20)]
    assert squares((40, 30, 20, 20), margin=0.25) == [(35, 25, 30)]


def test_a_square_around_a_small_face_has_the_smallest_side_that_pictures_may_have():
    assert squares((40, 30, 20, 20), min_side=60) == [(20, 10, 60)]
    assert squares((40, 30, 20, 20), min_side=300) == [(10, 0, 80)], "as far as the picture goes"


def test_a_square_that_would_stick_out_is_moved_in_and_only_what_does_not_fit_is_taken_off():
    assert squares((0, 0, 20, 20), margin=0.5) == [(0, 0, 40)]
    assert squares((90, 70, 10, 10), margin=1) == [(70, 50, 30)]
    assert squares((10, 10, 60, 60), margin=1) == [(0, 0, 80)]
    assert squares((60, 10, 40, 40), margin=1, width=200) == [(40, 0, 80)]


def test_of_a_box_that_sticks_out_the_part_inside_counts():
    assert squares((-10, -10, 30, 30)) == [(0, 0, 20)]
    assert squares((95, 10, 30, 4)) == [(95, 10, 5)]


def test_what_is_seen_whole_has_no_square_and_keeps_its_name():
    for table in (rows((1, 1, 5, 5), choice="squash"), rows((1, 1, 5, 5), choice="centre", width=80)):
        table = table.with_columns(file=pl.lit("a.jpg"), content_hash=pl.lit("aa"))
        (row,) = framing.seen(framing.frame(table, 0.25, 1)).iter_rows(named=True)
        assert row["crop_side"] is None and row["face_inside"] == 1
        assert (
            (row["file"], row["content_hash"])
            == ("a.jpg", "aa")
            == (
                row["original_file"],
                row["original_hash"],
            )
        )


def test_a_part_is_named_by_picture_and_square():
    table = rows((40, 30, 20, 10), (40, 30, 20, 10), (41, 30, 20, 10)).with_columns(
        file=pl.Series(["a.jpg", "b.jpg", "a.jpg"]), content_hash=pl.lit("aa")
    )
    seen = framing.seen(framing.frame(table, 0, 1))
    assert seen["file"].to_list() == [
        "a.jpg#xywh=40,25,20,20",
        "b.jpg#xywh=40,25,20,20",
        "a.jpg#xywh=41,25,20,20",
    ]
    first, same, other = seen["content_hash"]
    assert first == same != other and first != "aa" and len(first) == 32
    assert first == picture_files.part_hash("aa", picture_files.Region(40, 25, 20, 20))
    assert picture_files.parted(seen["file"][0]) == ("a.jpg", (40, 25, 20, 20))


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
def test_without_a_box_in_the_picture_there_is_no_face_to_frame(box, reason):
    table = framing.frame(rows(box), 0.25, 1)
    assert table["keep"].to_list() == [False] and told(table) == [reason]
    assert table.select(*framing.SQUARE, "face_inside").row(0) == (None, None, None, None)
    for choice in ("centre", "squash"):
        table = framing.frame(rows(box, choice=choice), 0.25, 1)
        assert table["keep"].all() and table["face_inside"].item() is None, "whether it is cut is not known"


def test_rows_dropped_before_stay_dropped():
    table = rows((40, 30, 20, 10), (40, 30, 21, 10))
    dropped = table.with_columns(keep=False, reason_code=pl.lit("no_face"))
    assert told(framing.frame(dropped, 0, 1)) == ["no_face", "no_face"]
    with pytest.raises(ValueError, match="margin is at least 0"):
        framing.frame(table, -0.1, 1)
    with pytest.raises(ValueError, match="without column face_width"):
        framing.frame(table.drop("face_width"), 0, 1)


side = st.integers(1, 300)
number = st.floats(-400, 400, width=16)  # so that sums are exact


@given(side, side, number, number, number, number, st.floats(0, 3), st.sampled_from(["face", "centre"]))
@settings(max_examples=80, deadline=None)
def test_every_square_lies_in_the_picture_and_holds_the_face_where_that_fits(
    w, h, x, y, bw, bh, margin, choice
):
    table = framing.frame(rows((x, y, bw, bh), width=w, height=h, choice=choice), margin, 1)
    row = table.row(0, named=True)
    if not row["keep"]:
        assert bw <= 0 or bh <= 0 or x >= w or y >= h or x + bw <= 0 or y + bh <= 0
        return
    left, top, size = (row[name] for name in framing.SQUARE)
    if size is None:
        assert w == h and (row["face_inside"] is None or row["face_inside"] == pytest.approx(1))
        return
    assert size >= 1 and 0 <= left <= w - size and 0 <= top <= h - size
    assert row["face_inside"] is None or 0 <= row["face_inside"] <= 1 + 1e-9
    if choice == "centre":
        assert size == min(w, h) and abs(2 * left + size - w) <= 1 and abs(2 * top + size - h) <= 1
        return
    seen = max(min(x + bw, w) - max(x, 0), min(y + bh, h) - max(y, 0))
    assert size <= max(1, round(seen * (1 + 2 * margin) + 0.5))
    if seen + 2 <= size:  # pixels are whole, boxes are not
        assert left <= max(x, 0) + 1 and left + size >= min(x + bw, w) - 1
        assert top <= max(y, 0) + 1 and top + size >= min(y + bh, h) - 1
