"""Picture files to RGB pictures, decoded once, upright, the same on every machine. No torch, no model."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

import picture_files
from picture_files import ContentError, ImageError

if TYPE_CHECKING:
    import numpy as np

WORKERS = max(2, min(16, os.cpu_count() or 2))

AHEAD_BYTES = 512 << 20
"""Of pictures held decoded at once, ahead of the model and in a batch for it: two dozen photographs of 24
megapixels, or thousands of small ones."""

P = TypeVar("P")
R = TypeVar("R")


class ChangedError(ContentError):
    """A file that no longer holds what it held when its content was hashed: an answer about it would be
    remembered for another picture."""


def load(
    path: str | os.PathLike,
    size: int | None = None,
    content_hash: str | None = None,
    side: int | None = None,
) -> Image.Image:
    """The picture in `path`, or the part of it that a region at its end names (`picture_files.part_of`):
    turned as its EXIF says, RGB, with `size` resized to size × size.

    Transparent parts become white; the first frame of an animation counts. With `side` (or `size`) a picture
    that is more than four times as large comes shrunk (`picture_files.decode`).
    Raises ImageError, naming the file, if it cannot be read; ContentError if what it holds is at fault, and
    ChangedError if that is not what `content_hash` names (`picture_files.content_hash`).
    """
    try:
        place, region = picture_files.parted(path)
        content = picture_files.read(place)
        if content_hash is not None and picture_files.content_hash(content, region) != content_hash:
            raise ChangedError("the file has changed since its content was hashed")
        picture = picture_files.decode(content, region, size if side is None else side)
    except MemoryError:
        raise
    except ContentError as error:
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds on broken files, OSError among them
        blamed = ImageError if isinstance(error, OSError) and error.errno is not None else ContentError
        raise blamed(f"{path}: {type(error).__name__}: {error}") from error
    return picture if size is None else resized(picture, size)


def png(picture: Image.Image) -> bytes:
    """`picture` as PNG: equal pixels, equal bytes."""
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()


def read_ahead(
    paths: Sequence[str | os.PathLike],
    read: Callable[[list[P]], Sequence[R]],
    batch_size: int,
    prepare: Callable[[Image.Image], P] = lambda picture: picture,  # type: ignore[assignment, return-value]
    workers: int = WORKERS,
    content_hashes: Sequence[str | None] | None = None,
    side: int | None = None,
) -> Iterator[R | ContentError]:
    """What `read` says about each picture, in order; in the place of one that does not decode, or that is not
    what `content_hashes` names, its ContentError. Raises ImageError for a file that cannot be read: that says
    nothing about the picture.

    `read` gets batches of `batch_size`, smaller ones at the end and where pictures are large, of what
    `prepare` made of the pictures. Decoding, to no more pixels than `side` asks for, and preparing run in
    threads, up to two batches and AHEAD_BYTES ahead of it.
    """
    batch: list[P | ContentError] = []
    waiting = size = 0
    hashes = content_hashes or [None] * len(paths)
    for found in _prepared(paths, hashes, prepare, workers, 2 * batch_size, side):
        batch.append(found)
        if not isinstance(found, ContentError):
            waiting, size = waiting + 1, size + held_bytes(found)
        if waiting == batch_size or size >= AHEAD_BYTES // 2:
            yield from _answered(batch, read)
            batch, waiting, size = [], 0, 0
    yield from _answered(batch, read)


def rows_ahead(
    requests: Sequence[Mapping[str, Any]],
    read: Callable[[list[P]], Sequence[Mapping[str, Any]]],
    batch_size: int,
    prepare: Callable[[Image.Image], P],
    side: int | None = None,
) -> Iterator[dict[str, Any]]:
    """`read_ahead` of requests (`key`, `path`, and `content_hash` where that is known) as rows, in order: a
    request's `key` and the columns that `read` gives, or, of a picture about which nothing can be said, its
    `key`, `problem`, why, and whether the file has `changed`."""
    paths, contents = [one["path"] for one in requests], [one.get("content_hash") for one in requests]
    answers = read_ahead(paths, read, batch_size, prepare, content_hashes=contents, side=side)
    for request, found in zip(requests, answers, strict=True):
        if isinstance(found, ContentError):
            problem = str(found).removeprefix(f"{request['path']}: ")
            yield {"key": request["key"], "problem": problem, "changed": isinstance(found, ChangedError)}
        else:
            yield {"key": request["key"], **found}


def _answered(
    batch: list[P | ContentError], read: Callable[[list[P]], Sequence[R]]
) -> Iterator[R | ContentError]:
    readable = [found for found in batch if not isinstance(found, ContentError)]
    answers = iter(read(readable) if readable else ())
    return (found if isinstance(found, ContentError) else next(answers) for found in batch)


def _prepared(
    paths: Sequence[str | os.PathLike],
    content_hashes: Sequence[str | None],
    prepare: Callable[[Image.Image], P],
    workers: int,
    ahead: int,
    side: int | None,
) -> Iterator[P | ContentError]:
    def job(path: str | os.PathLike, content_hash: str | None) -> P | ContentError:
        try:
            return prepare(load(path, content_hash=content_hash, side=side))
        except ContentError as error:
            return error

    given = zip(paths, content_hashes, strict=True)
    rest = ((one, picture_files.decoded_bytes(one[0], side)) for one in given)
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        pending: deque[tuple[Future[P | ContentError], int]] = deque()
        following, held = next(rest, None), 0
        try:
            while pending or following:
                # one at least, however large
                while following and (
                    not pending or (len(pending) < ahead and held + following[1] <= AHEAD_BYTES)
                ):
                    pending.append((pool.submit(job, *following[0]), following[1]))
                    held += following[1]
                    following = next(rest, None)
                future, size = pending.popleft()
                yield future.result()
                held -= size
        finally:
            for left, _ in pending:
                left.cancel()


def held_bytes(prepared: Any) -> int:
    """The memory of what a `prepare` made: a picture, an array, a tensor, or a mapping of such; 0 for
    others."""
    if isinstance(prepared, Image.Image):
        return prepared.width * prepared.height * len(prepared.getbands())
    if isinstance(prepared, Mapping):
        return sum(map(held_bytes, prepared.values()))
    return int(getattr(prepared, "nbytes", 0))


def resized(picture: Image.Image, size: int) -> Image.Image:
    """size × size by LANCZOS, squashed if it is no square; the picture itself if it has that size."""
    return picture if picture.size == (size, size) else picture.resize((size, size), Image.Resampling.LANCZOS)


def as_array(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Pictures of one size → uint8 [N, height, width, 3]."""
    import numpy as np

    return np.stack([np.asarray(picture) for picture in pictures])
