"""Framing: which part of a picture all stages after `face_crop` see. Finding faces is `inference.faces`."""

import polars as pl

import picture_files
from curation import frames as frames_table
from reasons import Reason

BOX = ("face_x", "face_y", "face_width", "face_height")
SQUARE = ("crop_x", "crop_y", "crop_side")

SQUASH, CENTRE, FACE = "squash", "centre", "face"
"""The whole picture; its central square; the square around its face."""

CUT = 0.95
"""A face of whose box less than this share is seen counts as cut."""


def frame(frames: pl.DataFrame, margin: float, min_side: int) -> pl.DataFrame:
    """Add `crop_x`, `crop_y`, `crop_side` (Int64, pixels), the square that each row's `framing` takes, and
    `face_inside`, the share of its face box that is seen (0-1; null without a box).

    `frames` has `width` and `height` of the picture as it is seen, `framing` and, in the picture's pixels
    from its top left corner, null where unknown, `face_x`, `face_y`, `face_width`, `face_height`. Rows
    dropped before stay dropped. Where the whole picture is seen the square is null: always with `squash`,
    and of square pictures with `centre`.

    With `face` the part of the box that lies inside the picture counts. The square has its centre and its
    longer side, enlarged by `margin` of that side at each end and to at least `min_side`; where it would
    stick out it is moved into the picture, and only what exceeds the picture's shorter side is taken off.
    Quarantined: NO_FACE_BOX (a number is missing or a side is not above 0), FACE_BOX_OUTSIDE (all of it).
    Raises ValueError for a missing column or a negative `margin`.
    """
    if not margin >= 0:
        raise ValueError(f"margin is at least 0, not {margin!r}")
    table = frames_table.judgeable(frames, "width", "height", "framing", *BOX)
    x, y, width, height = (pl.col(name) for name in BOX)
    to_face, box = pl.col("framing") == FACE, pl.format("x {}, y {}, {}x{}", x, y, width, height)
    empty = pl.any_horizontal(pl.col(name).is_null() for name in BOX) | (width <= 0) | (height <= 0)
    said = box.fill_null("a number is missing")
    table = frames_table.quarantine(table, to_face & empty, Reason.NO_FACE_BOX, said)
    left, right = x.clip(0), pl.min_horizontal(x + width, "width")
    top, bottom = y.clip(0), pl.min_horizontal(y + height, "height")
    outside = (right <= left) | (bottom <= top)
    said = pl.format("{} in a picture of {}x{}", box, "width", "height")
    table = frames_table.quarantine(table, to_face & outside, Reason.FACE_BOX_OUTSIDE, said)

    shorter = pl.min_horizontal("width", "height")
    wanted = pl.max_horizontal((pl.max_horizontal(right - left, bottom - top) * (1 + 2 * margin)), min_side)
    side = pl.when(to_face).then(pl.min_horizontal(wanted.round().clip(1), shorter)).otherwise(shorter)
    whole = (pl.col("framing") == SQUASH) | ((pl.col("width") == pl.col("height")) & (side == shorter))
    side = pl.when(pl.col("keep") & ~whole).then(side).cast(pl.Int64)
    table = table.with_columns(side.alias("crop_side"))
    middles = (
        ("crop_x", pl.when(to_face).then(left + right).otherwise("width"), "width"),
        ("crop_y", pl.when(to_face).then(top + bottom).otherwise("height"), "height"),
    )
    table = table.with_columns(
        ((both - pl.col("crop_side")) / 2)
        .round()
        .clip(0, pl.col(size) - pl.col("crop_side"))
        .cast(pl.Int64)
        .alias(name)
        for name, both, size in middles
    )
    seen_x, seen_y, seen_width, seen_height = (
        pl.col("crop_x").fill_null(0),
        pl.col("crop_y").fill_null(0),
        pl.coalesce("crop_side", "width"),
        pl.coalesce("crop_side", "height"),
    )
    across = (pl.min_horizontal(right, seen_x + seen_width) - pl.max_horizontal(left, seen_x)).clip(0)
    down = (pl.min_horizontal(bottom, seen_y + seen_height) - pl.max_horizontal(top, seen_y)).clip(0)
    inside = across * down / ((right - left) * (bottom - top))
    known = pl.col("keep") & ~(empty | outside)
    return table.with_columns(pl.when(known).then(inside).alias("face_inside"))


def seen(frames: pl.DataFrame) -> pl.DataFrame:
    """The rows that `frame` made, with `file` and `content_hash` naming what is seen of the original, whose
    own go to `original_file` and `original_hash`: "a.jpg#xywh=10,20,300,300", and a hash of original and
    square."""
    rows = frames.with_columns(
        pl.col("file").alias("original_file"), pl.col("content_hash").alias("original_hash")
    )
    names = [
        (file, hashed)
        if side is None
        else (picture_files.part_of(file, region), picture_files.part_hash(hashed, region))
        for file, hashed, x, y, side in rows.select("file", "content_hash", *SQUARE).iter_rows()
        for region in [picture_files.Region(x, y, side, side)]
    ]
    return rows.with_columns(
        pl.Series("file", [file for file, _ in names], dtype=pl.String),
        pl.Series("content_hash", [hashed for _, hashed in names], dtype=pl.String),
    )


def is_cut() -> pl.Expr:
    """Whether the framing cuts a face off; null where no box is known."""
    return pl.col("face_inside") < CUT
