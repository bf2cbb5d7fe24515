"""One Delta table in a folder: open, read, append, overwrite, compact. Stages and memos are built on it.

Data files are read through polars directly from the log's list, because `pl.scan_delta` loses files whose
folder needs quoting (spaces, accents) and panics on truncated ones.
"""

import random
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from store.errors import CorruptTable, StoreError
from store.file_system import make_folder

T = TypeVar("T")

ATTEMPTS = 8
MEND = "'fineface repair' mends what can be made again"
_ONE_FILE = 1 << 50


class Delta:
    """The table in `folder`; `what` names it in errors ("stage 'captions'")."""

    def __init__(self, folder: Path, what: str, configuration: Mapping[str, str] | None = None) -> None:
        self.folder, self.what, self.configuration = folder, what, dict(configuration or {})

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Turns whatever deltalake and polars raise on a broken table into CorruptTable."""
        try:
            yield
        except StoreError:
            raise
        except BaseException as error:
            if not isinstance(error, DeltaError | pl.exceptions.PolarsError | OSError | ValueError) and (
                type(error).__name__ not in ("PanicException", "Exception")
            ):
                raise
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise CorruptTable(f"{self.what} cannot be read: {self.folder}: {reason}; {MEND}") from error

    def open(self, version: int | None = None) -> DeltaTable | None:
        """The table at `version` (default: latest), None if it was never written. Raises CorruptTable."""
        log = self.folder / "_delta_log"
        if not log.is_dir() or not any(p.suffix in (".json", ".parquet") for p in log.iterdir()):
            return None
        with self._readable():
            try:
                return DeltaTable(self.folder.as_uri(), version=version)
            except TableNotFoundError:
                # A writer killed in its very first commit leaves a log folder without a commit.
                if not any(log.glob("0*.json")) and not any(log.glob("0*.parquet")):
                    return None
                raise

    def _listed(self, table: DeltaTable) -> list[tuple[Path, int]]:
        with self._readable():
            actions = pl.DataFrame(table.get_add_actions(flatten=True))
            actions = actions.sort("modification_time", "path").select("path", "size_bytes")
        return [(self._inside(urllib.parse.unquote(name)), size) for name, size in actions.iter_rows()]

    def _inside(self, name: str) -> Path:
        """A data file that the log names. Raises CorruptTable for one elsewhere: the log may be damaged."""
        path = self.folder / name
        if ".." in path.parts or ":" in name or not path.is_relative_to(self.folder) or path.is_symlink():
            raise CorruptTable(f"{self.what} cannot be read: its log in {self.folder} names {name!r}")
        return path

    def files(self, table: DeltaTable) -> list[Path]:
        """The data files of this version, oldest first. Raises CorruptTable for one that is absent or cut
        short."""
        files = []
        for path, size in self._listed(table):
            found = path.stat().st_size if path.exists() else None
            if found != size:
                state = "is missing" if found is None else f"has {found} bytes, not {size}"
                raise CorruptTable(f"{self.what} cannot be read: {path} {state}; {MEND}")
            files.append(path)
        return files

    def intact(self, table: DeltaTable) -> bool:
        """Whether every data file of this version is there in full length."""
        try:
            self.files(table)
        except CorruptTable:
            return False
        return True

    def schema(self, table: DeltaTable) -> pl.Schema:
        with self._readable():
            return pl.Schema(table.schema())

    def scan(self, table: DeltaTable) -> pl.LazyFrame:
        """All rows, lazily; columns that older files lack come as nulls."""
        files, schema = self.files(table), self.schema(table)
        if not files:
            return pl.LazyFrame(schema=schema)
        return pl.scan_parquet(
            files, schema=schema, glob=False, hive_partitioning=False, missing_columns="insert"
        ).select(list(schema))

    def collect(self, lazy: pl.LazyFrame) -> pl.DataFrame:
        with self._readable():
            return lazy.collect()

    def write(
        self,
        frame: pl.DataFrame,
        table: DeltaTable | None,
        *,
        overwrite: bool,
        new_columns: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> DeltaTable:
        """One commit onto `table` (None: create it). Raises DeltaError when another process was faster."""
        make_folder(self.folder)
        schema_mode = "overwrite" if overwrite and table is not None else "merge" if new_columns else None
        write_deltalake(  # type: ignore[call-overload]
            self.folder.as_uri() if table is None else table,
            frame,
            mode="error" if table is None else "overwrite" if overwrite else "append",
            schema_mode=schema_mode,
            configuration=self.configuration if table is None else None,
            # One data file a commit keeps the order of rows.
            target_file_size=_ONE_FILE,
            # deltalake rebases a commit that lost a race: right for appends, but two overwrites of a table
            # without files would both stay. So no retries there; ours reads the table again.
            commit_properties=CommitProperties(
                custom_metadata=dict(metadata or {}), max_commit_retries=0 if overwrite else None
            ),
        )
        return table if table is not None else DeltaTable(self.folder.as_uri())

    def history(self, table: DeltaTable, limit: int | None = None) -> list[dict[str, Any]]:
        """The commits as deltalake gives them, newest first."""
        with self._readable():
            return table.history(limit)

    def drop_broken_files(self, table: DeltaTable) -> list[str]:
        """Removes absent and shortened data files from the log; their names."""
        for path, size in self._listed(table):
            if path.exists() and path.stat().st_size != size:
                path.unlink()
        with self._readable():
            return list(table.repair()["files_removed"])

    def retry(self, attempt: Callable[[], T]) -> T:
        """`attempt()`, again after a pause when another process committed first. Raises StoreError at the
        end."""
        for left in reversed(range(ATTEMPTS)):
            try:
                return attempt()
            except DeltaError as error:
                if not left:
                    raise StoreError(f"{self.what} cannot be written: {self.folder}: {error}") from error
                time.sleep(random.uniform(0.01, 0.1) * (ATTEMPTS - left))
            except OSError as error:
                raise StoreError(f"{self.what} cannot be written: {self.folder}: {error}") from error
        raise AssertionError("unreachable")
