"""Pictures as small JPEGs for a page: those that tables name, and nothing else of this machine."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import quote

from PIL import Image

from inference.images import ImageError, load
from store import Store, StoreError

SIDES = (96, 192, 512)
"""The sizes there are, in pixels: of a grid, of a chain, and of a picture by itself."""
KEPT = 6000
"""Thumbnails kept in memory; about 4 kB each."""


class NoPicture(LookupError):
    """No picture of that kind and name, or one that cannot be read."""


class Thumbnails:
    """The pictures of `store`, shrunk; those shown last are kept in memory."""

    def __init__(self, store: Store, kept: int = KEPT) -> None:
        self._store = store
        self._made = lru_cache(kept)(self._make)

    def jpeg(self, side: int, kind: str, name: str) -> bytes:
        """The picture `name` of `kind`, as tables name it, no larger than `side`. Raises NoPicture."""
        if side not in SIDES:
            raise NoPicture(f"{side} is none of the sizes {', '.join(map(str, SIDES))}")
        return self._made(side, kind, name)

    def _make(self, side: int, kind: str, name: str) -> bytes:
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise NoPicture(f"{name!r} names no picture of {kind}")
        try:
            picture = load(self._store.locate(kind, name), side=side)
        except (ImageError, StoreError, ValueError, OSError) as error:
            raise NoPicture(f"{kind} {name}: {error}") from error
        picture.thumbnail((side, side), Image.Resampling.BILINEAR)
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=82)
        return content.getvalue()


def address(kind: str | None, name: str | None, side: int = SIDES[0]) -> str | None:
    """Where the app serves a picture; None for no file."""
    return None if kind is None or name is None else f"/picture/{side}/{quote(kind)}/{quote(name)}"
