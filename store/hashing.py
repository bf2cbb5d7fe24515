"""Hashes that name content: bytes, files, folders, frames, settings. All are blake2b-128, 32 hex digits.

Nothing here decides what a key is made of; that is the business of each stage.
"""

import errno
import hashlib
import itertools
import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from store.schema import storable

DIGEST_BYTES = 16
_BLOCK = 1 << 16
_AT_ONCE = 64
_ROWS_AT_ONCE = 1 << 14


def _blake() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def hash_bytes(data: bytes) -> str:
    """Hash of `data`."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def hash_file(path: str | os.PathLike) -> str:
    """Hash of the bytes of a file; equals `hash_bytes` of them. Raises OSError if it cannot be read, or is no
    regular file."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe or a device may never end
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    digest = _blake()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def hash_files(paths: Iterable[str | os.PathLike], workers: int | None = None) -> list[str]:
    """Hashes of many files, in the order of `paths`, read by `workers` threads (default: up to 8). Raises
    OSError naming the first file that cannot be read."""
    return on_threads(hash_file, paths, workers)


def hash_readable_files(paths: Iterable[str | os.PathLike], workers: int | None = None) -> list[str | None]:
    """Like `hash_files`, but None in the place of a file that cannot be read."""

    def attempt(path: str | os.PathLike) -> str | None:
        try:
            return hash_file(path)
        except OSError:
            return None

    return on_threads(attempt, paths, workers)


def on_threads(function: Callable[[Any], Any], paths: Iterable[Any], workers: int | None) -> list[Any]:
    """`function` of each path, in order, on threads."""
    return on_threads_by_part(lambda part: list(map(function, part)), paths, workers)


def on_threads_by_part(
    function: Callable[[list[Any]], list[Any]], paths: Iterable[Any], workers: int | None
) -> list[Any]:
    """`function` of parts of the paths, joined in order, on threads: small files are read faster than they
    are handed out."""
    paths = list(paths)
    parts = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1), thread_name_prefix="hash") as pool:
        return list(itertools.chain.from_iterable(pool.map(function, parts)))


def hash_folder(
    folder: str | os.PathLike,
    patterns: Sequence[str] = ("**/*",),
    hash_files: Callable[[list[Path]], Sequence[str]] = hash_files,
) -> str:
    """Hash of the files of `folder` that match one of the glob `patterns`: their relative names and
    contents.

    For model weights: `hash_folder(model, ["**/*.safetensors", "**/*.json"])`. Hidden files and
    `__pycache__` do not count. Pass `HashCache(store).hash_files` to read unchanged files only once. Raises
    FileNotFoundError if nothing matches.
    """
    folder = Path(folder)
    found = {
        path.relative_to(folder).as_posix()
        for pattern in patterns
        for path in folder.glob(pattern)
        if path.is_file()
    }
    names = sorted(name for name in found if not any(_ignored(part) for part in name.split("/")))
    if not names:
        raise FileNotFoundError(f"no file in {folder} matches {', '.join(patterns)}")
    hashes = hash_files([folder / name for name in names])
    return fingerprint(files=[list(pair) for pair in zip(names, hashes, strict=True)])


def _ignored(part: str) -> bool:
    return part.startswith(".") or part == "__pycache__"


class Fingerprint(str):
    """A hash of named settings that still knows them: `parts`, plain values."""

    parts: Mapping[str, Any]


def fingerprint(**parts: Any) -> Fingerprint:
    """Hash of named settings, by value: the order of names does not count, and 5 equals 5.0.

    Values are None, bool, int, float, str, and lists, tuples and string-keyed dicts of these. Raises
    TypeError or ValueError, naming the part, for anything else (NaN, paths, arrays).
    """
    canonical = {name: _canonical(value, name) for name, value in parts.items()}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    found = Fingerprint(hash_bytes(text.encode()))
    found.parts = canonical
    return found


def fingerprints(frame: pl.DataFrame, **parts: Any) -> pl.Series:
    """A hash a row: of the row's values by column, and of `parts`, which all rows share; column `key`.

    The order of columns and of `parts` does not count, and 5 equals 5.0. Text and integers cost about a
    microsecond a row, other values (floats, lists) what `fingerprint` takes for them. Raises like it.
    """
    columns = sorted(frame.columns)
    shared = _blake()
    kinds = {name: "text" if frame.schema[name] == pl.String else "value" for name in columns}
    shared.update(fingerprint(parts=parts, columns=kinds).encode())
    texts = [_texts(frame[name]) for name in columns]
    lengths = [pl.format("{}:{}|", text.str.len_bytes(), text).fill_null("-|") for text in map(pl.lit, texts)]
    rows = pl.select(pl.concat_str(lengths)).to_series() if lengths else pl.Series([""] * frame.height)

    def one(row: str) -> str:
        digest = shared.copy()
        digest.update(row.encode())
        return digest.hexdigest()

    return pl.Series("key", [one(row) for row in rows], dtype=pl.String)


def _texts(column: pl.Series) -> pl.Series:
    """Each value as text; null where there is none."""
    if column.dtype == pl.String:
        return column
    if column.dtype.is_integer():
        return column.cast(pl.String)
    known = [
        None if value is None else json.dumps(_canonical(value, column.name), sort_keys=True)
        for value in column.to_list()
    ]
    return pl.Series(column.name, known, dtype=pl.String)


def _canonical(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"fingerprint: {where} is {value}")
        return int(value) if value.is_integer() else float(value)
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"fingerprint: {where} has the key {odd[0]!r}, which is no string")
        return {key: _canonical(item, f"{where}.{key}") for key, item in value.items()}
    raise TypeError(f"fingerprint: {where} is a {type(value).__name__}, not a plain value")


def hash_frame(frame: pl.DataFrame) -> str:
    """Hash of a frame: column names, stored types, row order and values; not its chunks or its process.

    A frame and what `Store.read` returns of it have the same hash. −0.0 counts as 0.0 and all NaN are one.
    Raises UnstorableColumn like `Store.write`.
    """
    digest = _blake()
    frame = storable(frame, "hash_frame").rechunk()
    digest.update(json.dumps([frame.height, *map(str, frame.columns)]).encode())
    for column in frame.iter_columns():
        _feed(digest, column)
    return digest.hexdigest()


def _feed(digest: "hashlib.blake2b", column: pl.Series) -> None:
    dtype = column.dtype
    digest.update(f"|{dtype}|{len(column)}|".encode())
    digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if dtype == pl.Boolean:
        digest.update(np.packbits(column.fill_null(False).to_numpy()).tobytes())
    elif dtype == pl.String:
        filled = column.fill_null("")
        digest.update(_integers(filled.str.len_bytes()))
        for part in filled.to_frame().iter_slices(_ROWS_AT_ONCE):  # a copy of the whole may not fit
            digest.update((part.to_series().str.join("").item() or "").encode())
    elif dtype == pl.Binary:
        filled = column.fill_null(b"")
        digest.update(_integers(filled.bin.size()))
        digest.update(b"".join(filled.to_list()))
    elif dtype.is_float():
        values = column.fill_null(0.0).to_numpy() + 0.0
        values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values)
        digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    elif dtype == pl.Decimal:
        _feed(digest, column.cast(pl.String))
    elif isinstance(dtype, pl.List):
        lengths = column.list.len().fill_null(0)
        digest.update(_integers(lengths))
        _feed(digest, column.filter(lengths > 0).explode())
    elif isinstance(dtype, pl.Struct):
        for field in dtype.fields:
            digest.update(json.dumps(field.name).encode())
            _feed(digest, column.struct.field(field.name))
    else:
        digest.update(_integers(column.to_physical().fill_null(0)))


def _integers(column: pl.Series) -> bytes:
    return column.cast(pl.Int64).to_numpy().astype("<i8").tobytes()
