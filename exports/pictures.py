"""What was seen of each picture, as bytes that any reader opens. Files are written by the formats."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import islice

import polars as pl
from PIL import Image

import picture_files
from picture_files import Region

SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
PRIVATE = ("exif", "xmp", "XML:com.adobe.xmp", "photoshop", "comment")
"""Where a file says who took it, when and where; such a file does not leave as it is."""
AHEAD = 4
"""Pictures that each thread may be ahead of who writes them."""


class ChangedPicture(ValueError):
    """A file that no longer holds what was labelled."""


def encoded(path: str, content_hash: str, exact: bool = False) -> tuple[str, bytes]:
    """Suffix and bytes of what is seen of a picture: the file's own where that is all of it, upright, in a
    format that every reader knows and without a word on who took it where; else its pixels as PNG. With
    `exact`, always PNG.

    Raises ChangedPicture for another content than `content_hash`, OSError for a file that cannot be read.
    """
    place, region = picture_files.parted(path)
    content = picture_files.read(place)
    if picture_files.content_hash(content, region) != content_hash:
        raise ChangedPicture(
            f"{place} has changed since it was labelled: run `fineface run` again, which looks at it anew"
        )
    suffix = None if exact else as_it_is(content, region)
    if suffix is not None:
        return suffix, content
    buffer = BytesIO()
    picture_files.decode(content, region).save(buffer, "PNG")
    return "png", buffer.getvalue()


def as_it_is(content: bytes, region: Region | None) -> str | None:
    """The suffix under which the bytes of a picture can leave as they are; None where they cannot."""
    if region is not None:
        return None
    with Image.open(BytesIO(content), formats=picture_files.formats()) as image:
        plain = image.mode in ("RGB", "L") and getattr(image, "n_frames", 1) == 1
        told = any(image.info.get(name) for name in PRIVATE)
        return SUFFIXES.get(image.format or "") if plain and not told else None


def all_are(frame: pl.DataFrame, suffix: str) -> bool:
    """Whether every picture of `frame` (`path`, `content_hash`) leaves with that suffix; looked at until one
    does not."""
    return all(encoded(*row)[0] == suffix for row in frame.select("path", "content_hash").iter_rows())


def read_ahead(frame: pl.DataFrame, exact: bool = False) -> Iterator[tuple[str, bytes]]:
    """`encoded` of each row, in order; threads read and decode a few ahead."""
    workers = min(8, os.cpu_count() or 1)
    rows = frame.select("path", "content_hash").iter_rows()
    with ThreadPoolExecutor(workers) as pool:
        waiting = deque(pool.submit(encoded, row[0], row[1], exact) for row in islice(rows, workers * AHEAD))
        while waiting:
            found = waiting.popleft()
            if (row := next(rows, None)) is not None:
                waiting.append(pool.submit(encoded, row[0], row[1], exact))
            yield found.result()
