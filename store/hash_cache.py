"""Content hashes of files that are kept from run to run. What a hash is lives in `store.hashing`."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl
from pyarrow.fs import FileInfo, LocalFileSystem

from store.hashing import hash_file, hash_folder, on_threads, on_threads_by_part
from store.memo import Progress
from store.store import Store


class HashCache:
    """Content hashes of files, kept by (size, modification time, path): an unchanged file is not read
    again. It is this machine's: nothing that a moved home misses."""

    CHUNK = 16384
    # A file that changes twice within one tick of the file system's clock keeps its time: wait for the next.
    TICK, COARSE_TICK = 0.05, 2.0

    def __init__(self, store: Store) -> None:
        self._memo = store.cache("file_hashes", schema={"hash": pl.String()})

    def hash_files(
        self,
        paths: Iterable[str | os.PathLike],
        workers: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> list[str]:
        """Hashes of `paths`, in their order. Raises OSError naming the first file that cannot be read or that
        changes while it is being read; the others are kept."""
        hashes, errors = self._hash(paths, workers, progress)
        if errors:
            raise errors[0]
        return [found for found in hashes if found is not None]

    def hash_readable_files(
        self,
        paths: Iterable[str | os.PathLike],
        workers: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> list[str | None]:
        """Like `hash_files`, but None in the place of a file that cannot be read."""
        return self._hash(paths, workers, progress)[0]

    def _hash(
        self, paths: Iterable[str | os.PathLike], workers: int | None, progress: Any
    ) -> tuple[list[str | None], list[OSError]]:
        # Hundreds of thousands of files: what is done for each of them counts.
        texts: map[str] = map(os.fspath, paths)  # type: ignore[arg-type]
        files = [path if path.startswith(os.sep) else os.path.abspath(path) for path in texts]
        keys, errors = _file_keys(files)

        def compute(requests: pl.DataFrame) -> pl.DataFrame:
            wanted = [files[row] for row in requests["row"]]
            self._wait_for_tick(requests["key"].to_list())
            rows = []
            hashes = on_threads(_hash_with_key, wanted, workers)
            for key, file, found in zip(requests["key"], wanted, hashes, strict=True):
                if isinstance(found, OSError):
                    errors.append(found)
                elif found[0] == key:
                    rows.append((key, found[1]))
                else:
                    errors.append(OSError(f"changed while being hashed: {file}"))
            return pl.DataFrame(rows, schema={"key": pl.String, "hash": pl.String}, orient="row")

        asked = pl.DataFrame({"key": keys}).with_row_index("row")
        found = self._memo.get_or_compute(
            asked.drop_nulls("key"), compute, chunk=self.CHUNK, progress=progress, partial=True
        )
        hashes = asked.join(found.frame, on="key", how="left", maintain_order="left")["hash"]
        return hashes.to_list(), errors

    def hash_folder(self, folder: str | os.PathLike, patterns: Sequence[str] = ("**/*",)) -> str:
        """`hash_folder` through this cache."""
        return hash_folder(folder, patterns, self.hash_files)

    def _wait_for_tick(self, keys: list[str]) -> None:
        now, wait = time.time(), 0.0
        for key in keys:
            modified = int(key.split(" ", 2)[1])
            tick = self.COARSE_TICK if modified % 1_000_000_000 == 0 else self.TICK
            if -tick < (age := now - modified / 1e9) < tick:
                wait = max(wait, tick - age)
        if wait:
            time.sleep(min(wait, self.COARSE_TICK))


def _file_keys(files: Sequence[str]) -> tuple[pl.Series, list[OSError]]:
    """The key of each file, null for one that has none; why those have none."""
    infos = _infos(files)
    try:
        paths = pl.Series(files, dtype=pl.String)
    except UnicodeEncodeError:
        paths = pl.Series(map(_as_text, files), dtype=pl.String)
    sizes = pl.Series("size", [info.size for info in infos], dtype=pl.Int64)
    times = pl.Series("modified", [info.mtime_ns for info in infos], dtype=pl.Int64)
    known = pl.DataFrame([sizes, times, paths.alias("path")])
    keys = known.select(pl.concat_str("size", "modified", "path", separator=" ")).to_series()
    others = {row: _key_or_error(files[row]) for row in keys.is_null().arg_true()}
    errors = [key for key in others.values() if isinstance(key, OSError)]
    found = {row: key for row, key in others.items() if isinstance(key, str)}
    return (keys.scatter(list(found), list(found.values())) if found else keys), errors


def _infos(files: Sequence[str]) -> list[FileInfo]:
    """Size and time of each file, None where they must be asked for again, one by one. Many are asked for in
    one call, so that threads do not wait for each other between any two files."""
    system = LocalFileSystem()

    def ask(part: list[str]) -> list[FileInfo]:
        try:
            return system.get_file_info(part)
        except (OSError, UnicodeEncodeError):  # one in a closed folder, or whose name is no text
            return [FileInfo("")] * len(part)

    return on_threads_by_part(ask, files, None)


def _file_key(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_size} {status.st_mtime_ns} {_as_text(path)}"


def _as_text(path: str) -> str:
    """An absolute path as a table holds it: one that is no valid text by its bytes, unlike any other path."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path).hex()
    return path


def _key_or_error(path: str) -> str | OSError:
    try:
        return _file_key(path)
    except OSError as error:
        return error


def _hash_with_key(path: str) -> tuple[str, str] | OSError:
    """The hash of a file and, taken after reading, its key."""
    try:
        digest = hash_file(path)
        return _file_key(path), digest
    except OSError as error:
        return error
