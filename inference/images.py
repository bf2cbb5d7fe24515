"""Picture files to RGB pictures, decoded once, upright, the same on every machine. No torch, no model."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import Image

import picture_files
from picture_files import ContentError, ImageError

if TYPE_CHECKING:
    import numpy as np

WORKERS = max(2, min(16, os.cpu_count() or 2))

P, R = TypeVar("P"), TypeVar("R")


def load(path: str | os.PathLike, size: int | None = None) -> Image.Image:
    """The picture in `path`, or the part of it that a region at its end names (`picture_files.part_of`):
    turned as its EXIF says, RGB, with `size` resized to size × size.

    Transparent parts become white; the first frame of an animation counts.
    Raises ImageError, naming the file, if it cannot be read; ContentError if what it holds is at fault.
    """
    try:
        place, region = picture_files.parted(path)
        picture = picture_files.decode(picture_files.read(place), region)
    except MemoryError:
        raise
    except ContentError as error:
        raise ContentError(f"{path}: {error}") from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds on broken files, OSError among them
        blamed = ImageError if isinstance(error, OSError) and error.errno is not None else ContentError
        raise blamed(f"{path}: {type(error).__name__}: {error}") from error
    return picture if size is None else resized(picture, size)


def load_many(paths: Sequence[str | os.PathLike], size: int, workers: int = WORKERS) -> list[Image.Image]:
    """`load` of each path at `size`, in order, on threads. Raises the first ImageError."""
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        return list(pool.map(lambda path: load(path, size), paths))


def read_ahead(
    paths: Sequence[str | os.PathLike],
    read: Callable[[list[P]], Sequence[R]],
    batch_size: int,
    prepare: Callable[[Image.Image], P] = lambda picture: picture,
    workers: int = WORKERS,
) -> Iterator[R | ContentError]:
    """What `read` says about each picture, in order; in the place of one that does not decode its
    ContentError. Raises ImageError for a file that cannot be read: that says nothing about the picture.

    `read` gets batches of `batch_size` (the last may be smaller) of what `prepare` made of the pictures.
    Decoding and preparing run in threads, up to two batches ahead of it.
    """
    batch: list[P | ContentError] = []
    waiting = 0
    for found in _prepared(paths, prepare, workers, ahead=2 * batch_size):
        batch.append(found)
        waiting += not isinstance(found, ContentError)
        if waiting == batch_size:
            yield from _answered(batch, read)
            batch, waiting = [], 0
    yield from _answered(batch, read)


def rows_ahead(
    keys: Sequence[str],
    paths: Sequence[str | os.PathLike],
    read: Callable[[list[P]], Sequence[Mapping[str, Any]]],
    batch_size: int,
    prepare: Callable[[Image.Image], P],
) -> Iterator[dict[str, Any]]:
    """`read_ahead` as rows, in order: a picture's `key` and the columns that `read` gives, or its `key` and
    `problem`, why it does not decode."""
    for key, path, found in zip(keys, paths, read_ahead(paths, read, batch_size, prepare), strict=True):
        if isinstance(found, ContentError):
            yield {"key": key, "problem": str(found).removeprefix(f"{path}: ")}
        else:
            yield {"key": key, **found}


def _answered(
    batch: list[P | ContentError], read: Callable[[list[P]], Sequence[R]]
) -> Iterator[R | ContentError]:
    readable = [found for found in batch if not isinstance(found, ContentError)]
    answers = iter(read(readable) if readable else ())
    return (found if isinstance(found, ContentError) else next(answers) for found in batch)


def _prepared(
    paths: Sequence[str | os.PathLike], prepare: Callable[[Image.Image], P], workers: int, ahead: int
) -> Iterator[P | ContentError]:
    def job(path: str | os.PathLike) -> P | ContentError:
        try:
            return prepare(load(path))
        except ContentError as error:
            return error

    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        rest = iter(paths)
        pending = deque(pool.submit(job, path) for path in islice(rest, ahead))
        try:
            while pending:
                found = pending.popleft().result()
                pending.extend(pool.submit(job, path) for path in islice(rest, 1))
                yield found
        finally:
            for left in pending:
                left.cancel()


def resized(picture: Image.Image, size: int) -> Image.Image:
    """size × size by LANCZOS, squashed if it is no square; the picture itself if it has that size."""
    return picture if picture.size == (size, size) else picture.resize((size, size), Image.Resampling.LANCZOS)


def as_array(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Pictures of one size → uint8 [N, height, width, 3]."""
    import numpy as np

    return np.stack([np.asarray(picture) for picture in pictures])
