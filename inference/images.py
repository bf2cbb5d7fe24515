"""Picture files to RGB pictures, decoded once, upright, the same on every machine. No torch, no model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

if TYPE_CHECKING:
    import numpy as np

# Above any camera's picture and below what fills a worker's memory: 178 million pixels are 0.5 GB as RGB.
MAXIMUM_PIXELS = 178_956_970


class ImageError(ValueError):
    """A file that is no readable picture; the message names the file."""


class ContentError(ImageError):
    """What is in the file is at fault (no picture, truncated, corrupt, too large): reading it again won't
    help."""


def load(path: str | os.PathLike, size: int | None = None) -> Image.Image:
    """The picture in `path`: turned as its EXIF says, RGB, with `size` cropped and resized to size × size.

    Transparent parts become white; the first frame of an animation counts.
    Raises ImageError, naming the file, if it cannot be read; ContentError if what it holds is at fault.
    """
    try:
        with open(path, "rb") as file, Image.open(file) as opened:
            width, height = opened.size
            if width * height > MAXIMUM_PIXELS:
                raise ContentError(f"{path}: {width}×{height} px is implausibly large")
            picture = rgb(ImageOps.exif_transpose(opened))
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds on broken files, OSError among them
        blamed = ImageError if isinstance(error, OSError) and error.errno is not None else ContentError
        raise blamed(f"{path}: {type(error).__name__}: {error}") from error
    return picture if size is None else square(picture, size)


def load_many(
    paths: Sequence[str | os.PathLike], size: int | None = None, workers: int = 4
) -> list[Image.Image]:
    """`load` of each path, in order, decoded by `workers` threads. Raises the first ImageError."""
    return list(stream(paths, size, workers))


def load_sound(
    paths: Sequence[str | os.PathLike], workers: int = 4
) -> tuple[list[Image.Image], dict[int, ContentError]]:
    """The pictures of those `paths` whose content decodes, in order, and for the place of each other what is
    wrong with it. Raises ImageError for a file that cannot be read: that says nothing about the picture.
    """

    def attempt(path: str | os.PathLike) -> Image.Image | ContentError:
        try:
            return load(path)
        except ContentError as error:
            return error

    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="decode") as pool:
        found = list(pool.map(attempt, paths))
    broken = {place: item for place, item in enumerate(found) if isinstance(item, ContentError)}
    return [item for item in found if not isinstance(item, ContentError)], broken


def stream(
    paths: Sequence[str | os.PathLike], size: int | None = None, workers: int = 4, ahead: int = 64
) -> Iterator[Image.Image]:
    """`load` of each path, in order, at most `ahead` pictures decoded before they are taken."""
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="decode") as pool:
        rest = iter(paths)
        pending = [pool.submit(load, path, size) for path in islice(rest, ahead)]
        try:
            while pending:
                picture = pending.pop(0).result()
                pending += [pool.submit(load, path, size) for path in islice(rest, 1)]
                yield picture
        finally:
            for job in pending:
                job.cancel()


def rgb(picture: Image.Image) -> Image.Image:
    """8-bit RGB: 16-bit grey scaled (not cut at 255), alpha laid on white, CMYK and palettes converted."""
    if picture.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        picture = _grey16(picture)
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture.convert("RGB")


def _grey16(picture: Image.Image) -> Image.Image:
    import numpy as np

    values = np.asarray(picture).astype(np.int64).clip(0, 65535)
    return Image.fromarray((values // 257).astype(np.uint8))


def square(picture: Image.Image, size: int) -> Image.Image:
    """The central square, resized with LANCZOS to size × size; the picture itself if it has that size."""
    if picture.size == (size, size):
        return picture
    return ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)


def as_array(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Pictures of one size → uint8 [N, height, width, 3]."""
    import numpy as np

    return np.stack([np.asarray(picture) for picture in pictures])
