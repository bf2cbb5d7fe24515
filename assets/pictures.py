"""Contact sheets as PNG bytes, for metadata. Figures live in `evaluation/`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from PIL import Image, ImageDraw

import picture_files
from assets import stage
from inference.images import ImageError, load, png
from store import file_system

TILE, COLUMNS, SHOWN = 96, 8, 24


def contact_sheet(paths: Sequence[str], titles: Sequence[str] = ()) -> bytes:
    """The pictures in `paths` in rows of eight, 96 px each, with a short title below each if given; PNG
    bytes.
    """
    file_system.fetch(picture_files.parted(path)[0] for path in paths)
    below = 14 if titles else 0
    rows = max(1, -(-len(paths) // COLUMNS))
    sheet = Image.new("RGB", (TILE * min(COLUMNS, max(1, len(paths))), (TILE + below) * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for index, path in enumerate(paths):
        left, top = TILE * (index % COLUMNS), (TILE + below) * (index // COLUMNS)
        try:
            sheet.paste(load(path, TILE), (left, top))
        except ImageError:
            draw.rectangle((left, top, left + TILE, top + TILE), outline="red")
        if titles:
            draw.text((left + 2, top + TILE + 1), titles[index][: TILE // 6], fill="black")
    return png(sheet)


def sheets(frame: pl.DataFrame, title: str | None = None) -> dict[str, Any]:
    """Metadata with up to 24 of the kept and 24 of the dropped pictures of a stage, spread over its rows.

    `frame` has `path`, `keep`, `reason_code`; `title` names a column shown below each kept picture.
    """
    shown = {}
    for name, part, column in (
        ("sheet_kept", frame.filter("keep"), title),
        ("sheet_dropped", frame.filter(~pl.col("keep")), "reason_code"),
    ):
        part = spread(part.filter(pl.col("path").is_not_null()))
        if part.height:
            titles = [str(value) for value in part[column]] if column else []
            shown[name] = stage.picture(contact_sheet(part["path"].to_list(), titles), name)
    return shown


def spread(frame: pl.DataFrame, count: int = SHOWN) -> pl.DataFrame:
    """At most `count` rows, evenly spread over the frame."""
    step = max(1, -(-frame.height // count))
    return frame.gather_every(step)
