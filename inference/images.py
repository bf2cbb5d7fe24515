"""Picture files to RGB pictures, decoded once, upright, the same on every machine. No torch, no model."""

from __future__ import annotations

import hashlib
import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from PIL import Image, ImageOps

if TYPE_CHECKING:
    import numpy as np

# Above any camera's picture and below what fills a worker's memory: 178 million pixels are 0.5 GB as RGB.
MAXIMUM_PIXELS = 178_956_970
WORKERS = max(2, min(16, os.cpu_count() or 2))

P = TypeVar("P")
R = TypeVar("R")


class ImageError(ValueError):
    """A file that is no readable picture; the message names the file."""


class ContentError(ImageError):
    """What is in the file is at fault (no picture, truncated, corrupt, implausibly large): reading it again
    would not help."""


class ChangedError(ContentError):
    """A file that no longer holds what it held when its content was hashed: an answer about it would be
    remembered for another picture."""


def load(path: str | os.PathLike, size: int | None = None, content_hash: str | None = None) -> Image.Image:
    """The picture in `path`: turned as its EXIF says, RGB, with `size` cropped and resized to size × size.

    Transparent parts become white; the first frame of an animation counts.
    Raises ImageError, naming the file, if it cannot be read; ContentError if what it holds is at fault, and
    ChangedError if those are not the bytes of `content_hash` (blake2b-128, as `store.hash_bytes`).
    """
    try:
        with _opened(path, content_hash) as file, Image.open(file) as opened:
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


def _opened(path: str | os.PathLike, content_hash: str | None) -> BinaryIO:
    if content_hash is None:
        return open(path, "rb")
    with open(path, "rb") as file:
        content = file.read()
    if hashlib.blake2b(content, digest_size=16).hexdigest() != content_hash:
        raise ChangedError(f"{path}: the file has changed since its content was hashed")
    return io.BytesIO(content)


def png(picture: Image.Image, **options: Any) -> bytes:
    """`picture` as PNG: equal pixels, equal bytes."""
    content = io.BytesIO()
    picture.save(content, "PNG", **(options or {"optimize": True}))
    return content.getvalue()


def read_ahead(
    paths: Sequence[str | os.PathLike],
    read: Callable[[list[P]], Sequence[R]],
    batch_size: int,
    prepare: Callable[[Image.Image], P] = lambda picture: picture,
    workers: int = WORKERS,
    content_hashes: Sequence[str | None] | None = None,
) -> Iterator[R | ContentError]:
    """What `read` says about each picture, in order; in the place of one that does not decode, or that has
    not the content given in `content_hashes`, its ContentError. Raises ImageError for a file that cannot be
    read: that says nothing about the picture.

    `read` gets batches of `batch_size` (the last may be smaller) of what `prepare` made of the pictures.
    Decoding and preparing run in threads, up to two batches ahead of it.
    """
    batch: list[P | ContentError] = []
    waiting = 0

    def prepared(_: int, picture: Image.Image) -> P:
        return prepare(picture)

    for found in each_ahead(paths, prepared, workers, 2 * batch_size, content_hashes):
        batch.append(found)
        waiting += not isinstance(found, ContentError)
        if waiting == batch_size:
            yield from _answered(batch, read)
            batch, waiting = [], 0
    yield from _answered(batch, read)


def rows_ahead(
    requests: Sequence[Mapping[str, Any]],
    read: Callable[[list[P]], Sequence[Mapping[str, Any]]],
    batch_size: int,
    prepare: Callable[[Image.Image], P],
) -> Iterator[dict[str, Any]]:
    """`read_ahead` of requests (`key`, `path`, and `content_hash` where that is known) as rows, in order: a
    request's `key` and the columns that `read` gives, or what `refusal` says."""
    paths, contents = [one["path"] for one in requests], [one.get("content_hash") for one in requests]
    answers = read_ahead(paths, read, batch_size, prepare, content_hashes=contents)
    for request, found in zip(requests, answers, strict=True):
        yield refusal(request, found) if isinstance(found, ContentError) else {"key": request["key"], **found}


def refusal(request: Mapping[str, Any], error: ContentError) -> dict[str, Any]:
    """The row of a picture about which nothing can be said: its `key`, `problem`, why, and whether the file
    has `changed`."""
    problem = str(error).removeprefix(f"{request['path']}: ")
    return {"key": request["key"], "problem": problem, "changed": isinstance(error, ChangedError)}


def _answered(
    batch: list[P | ContentError], read: Callable[[list[P]], Sequence[R]]
) -> Iterator[R | ContentError]:
    readable = [found for found in batch if not isinstance(found, ContentError)]
    answers = iter(read(readable) if readable else ())
    return (found if isinstance(found, ContentError) else next(answers) for found in batch)


def each_ahead(
    paths: Sequence[str | os.PathLike],
    act: Callable[[int, Image.Image], P],
    workers: int = WORKERS,
    ahead: int = 64,
    content_hashes: Sequence[str | None] | None = None,
) -> Iterator[P | ContentError]:
    """`act(place, picture)` of each picture, in order, in threads, up to `ahead` of who takes them."""

    def job(place: int) -> P | ContentError:
        try:
            expected = None if content_hashes is None else content_hashes[place]
            return act(place, load(paths[place], content_hash=expected))
        except ContentError as error:
            return error

    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        rest = iter(range(len(paths)))
        pending = deque(pool.submit(job, place) for place in islice(rest, ahead))
        try:
            while pending:
                found = pending.popleft().result()
                pending.extend(pool.submit(job, place) for place in islice(rest, 1))
                yield found
        finally:
            for left in pending:
                left.cancel()


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
