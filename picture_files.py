"""Picture files, opened in one place and with one limit: bytes read once, upright RGB pixels, a part of them.

Needs Pillow alone (pillow-heif for HEIC) and nothing of the project: workers in foreign environments use it
too. Threads and batches live in `inference.images`, tables of what was found in `curation.frames`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import BinaryIO, NamedTuple

from PIL import Image, ImageOps

SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"),
        *(".avif", ".jp2", ".heic", ".heif", ".hif"),
    }
)
UNSUPPORTED = frozenset({".jxl", ".svg", ".eps", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw"})
"""Suffixes of pictures that are not read: drawings, raw sensor data, formats that run other programs."""

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "AVIF", "JPEG2000", "HEIF")
"""What may be decoded here; formats that call other programs (EPS) stay out."""

MAX_PIXELS = 100_000_000
"""A picture with more is refused undecoded: a decompression bomb, not a photograph; 0.3 GB as RGB."""

MAX_SIDE = 32_766
"""Likewise: at 32,767 px OpenCV, inside MediaPipe, aborts the process."""

MAX_BYTES = 1 << 30
"""A file that is larger is not read."""


class ImageError(ValueError):
    """A file that is no readable picture; the message names the file."""


class ContentError(ImageError):
    """What is in the file is at fault (no picture, truncated, corrupt, implausibly large): reading it again
    would not help."""


class Region(NamedTuple):
    """A part of a picture as it is seen, in whole pixels from its top left corner."""

    x: int
    y: int
    width: int
    height: int


_FRAGMENT = re.compile(r"#xywh=(\d+),(\d+),(\d+),(\d+)$")


def part_of(path: str, region: Region) -> str:
    """`path` with the region as a media fragment (W3C): "a.jpg#xywh=10,20,300,300"."""
    return f"{path}#xywh={','.join(map(str, region))}"


def parted(reference: str | os.PathLike) -> tuple[str, Region | None]:
    """The path, and the region or None, of what `part_of` wrote or of a plain path."""
    text = os.fspath(reference)
    found = _FRAGMENT.search(text)
    return (text[: found.start()], Region(*map(int, found.groups()))) if found else (text, None)


def content_hash(content: bytes, region: Region | None = None) -> str:
    """What names a picture: the hash of the file's bytes (`store.hash_bytes`), or `part_hash` of it."""
    return part_hash(hashlib.blake2b(content, digest_size=16).hexdigest(), region)


def part_hash(whole: str, region: Region | None) -> str:
    """The hash that names a region of the picture whose bytes have the hash `whole`."""
    if region is None:
        return whole
    return hashlib.blake2b(part_of(whole, region).encode(), digest_size=16).hexdigest()


def read(path: str | os.PathLike, limit: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file. Raises OSError for a pipe, a device or a folder, which may never end, and
    for more than `limit` bytes."""
    with opened(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"more than {limit:,} bytes", os.fspath(path))
    return content


@contextmanager
def opened(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A regular file, open for reading. Raises OSError like `read`."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for a writer
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        yield file


def decode(content: bytes | BinaryIO, region: Region | None = None, side: int | None = None) -> Image.Image:
    """A picture: turned as its EXIF says, 8-bit RGB, transparent parts white, of an animation the first
    frame.

    `region` is cut out. With `side`, for a model that looks at no more pixels than that, large pictures come
    shrunk by 2, 4 or 8 (a JPEG while it is decoded), so that the shorter side is still twice `side`: those
    below four times it are untouched. Raises whatever Pillow's decoders raise, ContentError if too large.
    """
    with Image.open(content if hasattr(content, "read") else BytesIO(content), formats=formats()) as image:
        if problem := too_large(*image.size):
            raise ContentError(problem)
        width, height = seen_size(image)
        region = region or Region(0, 0, width, height)
        factor = shrinking(min(region.width, region.height), side)
        if factor > 1:
            # rounded down, else Pillow takes the next smaller step unless the factor divides both sides
            image.draft(None, (image.width // factor, image.height // factor))
        picture = rgb(ImageOps.exif_transpose(image))
    if factor > 1 and picture.size == (width, height):
        picture = picture.reduce(factor)
    if region != (0, 0, width, height):
        left, top = round(region.x / factor), round(region.y / factor)
        right, bottom = region.x + region.width, region.y + region.height
        picture = picture.crop((left, top, round(right / factor), round(bottom / factor)))
    return picture


def shrinking(shorter: int, side: int | None) -> int:
    """The factor, 1, 2, 4 or 8, by which `decode` shrinks what is `shorter` pixels on its shorter side."""
    return 1 if side is None else next((by for by in (8, 4, 2) if shorter // by >= 2 * side), 1)


def decoded_bytes(reference: str | os.PathLike, side: int | None = None) -> int:
    """About how much memory `decode` takes for the picture at a path, region included, by its header; 0 for
    what is none."""
    path, region = parted(reference)
    try:
        with opened(path) as file, Image.open(file, formats=formats()) as image:
            factor = shrinking(min(region[2:]) if region else min(image.size), side)
            by = factor if image.format == "JPEG" else 1
            return 3 * -(-image.width // by) * -(-image.height // by) + os.fstat(file.fileno()).st_size
    except MemoryError:
        raise
    except Exception:  # whoever decodes it says what is wrong
        return 0


def too_large(width: int, height: int) -> str | None:
    """Why a picture of that size is refused, None if it is not."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        return f"{width}x{height} px is implausibly large"
    return None


def seen_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as the picture is meant to be seen (EXIF orientation applied), without decoding it."""
    try:
        # a PNG's own getexif decodes the picture first, for what may stand behind the pixels
        turned = Image.Image.getexif(image).get(0x0112, 1) in (5, 6, 7, 8)
    except Exception:  # broken EXIF in a picture that decodes
        turned = False
    return (image.height, image.width) if turned else image.size


@cache
def formats() -> list[str]:
    """Those of FORMATS that can be decoded on this machine."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:  # HEIC is then "no known image format"
        pass
    else:
        register_heif_opener(thumbnails=False)
    Image.init()  # a format whose plugin is not loaded yet is an error in Image.open
    return [form for form in FORMATS if form in Image.OPEN]


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
