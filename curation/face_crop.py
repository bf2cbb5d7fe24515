"""The face crop: which square of a picture is its face. Finding faces and cutting is `inference.faces`."""

import polars as pl

from curation import frames as frames_table
from reasons import Reason

BOX = ("face_x", "face_y", "face_width", "face_height")
SQUARE = ("crop_x", "crop_y", "crop_side")


def squares(frames: pl.DataFrame, margin: float) -> pl.DataFrame:
    """Add `crop_x`, `crop_y`, `crop_side` (Int64, pixels): the square around each row's face box.

    `frames` has `width` and `height` of the picture as it is seen, `face_x`, `face_y`, `face_width`,
    `face_height` in its pixels from its top left corner and, if rows were dropped before, `keep` and
    its reason; those stay dropped. The part of the box inside the picture counts. The square has its
    centre and its longer side, enlarged by `margin` of that side at each end; where it would stick out it is
    moved into the picture, and only what exceeds the picture's shorter side is taken off.

    Quarantined: NO_FACE_BOX (a number is missing or a side is not above 0), FACE_BOX_OUTSIDE (all of it).
    Dropped rows have no square. Raises ValueError for a missing column or a negative `margin`.
    """
    if not margin >= 0:
        raise ValueError(f"margin is at least 0, not {margin!r}")
    table = frames_table.judgeable(frames, "width", "height", *BOX)
    x, y, width, height = (pl.col(name) for name in BOX)
    box = pl.format("x {}, y {}, {}x{}", x, y, width, height)
    empty = pl.any_horizontal(pl.col(name).is_null() for name in BOX) | (width <= 0) | (height <= 0)
    table = frames_table.quarantine(table, empty, Reason.NO_FACE_BOX, box.fill_null("a number is missing"))
    left, right = x.clip(0), pl.min_horizontal(x + width, "width")
    top, bottom = y.clip(0), pl.min_horizontal(y + height, "height")
    outside = (right <= left) | (bottom <= top)
    said = pl.format("{} in a picture of {}x{}", box, "width", "height")
    table = frames_table.quarantine(table, outside, Reason.FACE_BOX_OUTSIDE, said)
    wanted = pl.max_horizontal(right - left, bottom - top) * (1 + 2 * margin)
    side = pl.min_horizontal(wanted.round().clip(1), "width", "height").cast(pl.Int64)
    table = table.with_columns(pl.when("keep").then(side).alias("crop_side"))
    return table.with_columns(
        pl.when("keep")
        .then(((low + high - pl.col("crop_side")) / 2).round().clip(0, pl.col(size) - pl.col("crop_side")))
        .cast(pl.Int64)
        .alias(name)
        for name, low, high, size in (("crop_x", left, right, "width"), ("crop_y", top, bottom, "height"))
    )


def too_small(frames: pl.DataFrame, min_side: int) -> pl.DataFrame:
    """Drop rows whose square is smaller than `min_side` pixels, before anybody cuts it."""
    detail = pl.format("face crop of {} px < {} px", "crop_side", pl.lit(min_side))
    return frames_table.quarantine(frames, pl.col("crop_side") < min_side, Reason.TOO_SMALL, detail)
