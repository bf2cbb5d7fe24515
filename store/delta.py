"""One Delta table in a folder: open, read, append, overwrite, mend. Stages and memos are built on it.

Data files are read through polars directly from the log's list, because `pl.scan_delta` loses files whose
folder needs quoting (spaces, accents) and panics on truncated ones.
"""

import io
import random
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import polars as pl
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from store import disk, file_system
from store.errors import CorruptTable, Outrun, StoreError, UnstorableColumn
from store.file_system import make_folder
from store.hashing import hash_frame
from store.schema import conform, storable

T = TypeVar("T")

ATTEMPTS = 8
MEND = "'fineface repair' mends what can be made again"
ROWS_HASH = "rows_hash"
"""Hidden column of rows that were appended: `hash_frame` of all rows of their data file. It lies in the file,
because a log forgets old commits."""
_ONE_FILE = 1 << 50
_ROWS_TOGETHER = 1 << 13
"""Rows of a file that are read or passed over together: one sample is found without reading all others."""
_SOUND: set[tuple[Path, int, int]] = set()
"""Data files (name, size, time) whose rows had their hash when this process read them first."""


class DataFile(NamedTuple):
    """A data file as the log has it; `rows` is null where the log does not count them, `hash` (of its rows)
    where they were written without."""

    path: Path
    size: int
    rows: int | None
    hash: str | None = None


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
        if not any(path.suffix in (".json", ".parquet") for path in file_system.find(log, "*")):
            return None
        with self._readable():
            try:
                return DeltaTable(file_system.uri(self.folder), version=version)
            except TableNotFoundError:
                # A writer killed in its very first commit leaves a log folder without a commit.
                if not file_system.find(log, "0*.json") and not file_system.find(log, "0*.parquet"):
                    return None
                raise

    def listed(self, table: DeltaTable) -> list[DataFile]:
        """The data files of this version as its log has them, oldest first, whether or not they are there."""
        with self._readable():
            actions = pl.DataFrame(table.get_add_actions(flatten=True))
            if (told := f"min.{ROWS_HASH}") not in actions.columns:
                actions = actions.with_columns(pl.lit(None, dtype=pl.String).alias(told))
            actions = actions.sort("modification_time", "path")
            actions = actions.select("path", "size_bytes", "num_records", told)
        return [
            DataFile(self._inside(urllib.parse.unquote(name)), size, rows, found)
            for name, size, rows, found in actions.iter_rows()
        ]

    def _inside(self, name: str) -> Path:
        """A data file that the log names. Raises CorruptTable for one elsewhere: the log may be damaged."""
        path = self.folder / name
        if ".." in path.parts or ":" in name or not path.is_relative_to(self.folder) or path.is_symlink():
            raise CorruptTable(f"{self.what} cannot be read: its log in {self.folder} names {name!r}")
        return path

    def files(self, table: DeltaTable) -> list[Path]:
        """The data files of this version, oldest first. Raises CorruptTable for one that is absent or cut
        short."""
        return [file.path for file in self._complete(table)]

    def _complete(self, table: DeltaTable) -> list[DataFile]:
        listed = self.listed(table)
        for path, size, *_ in listed:
            found = file_system.size(path)
            if found != size:
                state = "is missing" if found is None else f"has {found} bytes, not {size}"
                raise CorruptTable(f"{self.what} cannot be read: {path} {state}; {MEND}")
        return listed

    def intact(self, table: DeltaTable) -> bool:
        """Whether every data file of this version is there in full length."""
        try:
            self.files(table)
        except CorruptTable:
            return False
        return True

    def _columns(self, table: DeltaTable) -> pl.Schema:
        with self._readable():
            return pl.Schema(table.schema())

    def schema(self, table: DeltaTable) -> pl.Schema:
        """The columns, without the hidden one."""
        return pl.Schema({name: kind for name, kind in self._columns(table).items() if name != ROWS_HASH})

    def scan(self, table: DeltaTable, verify: bool = True, of: Sequence[str] | None = None) -> pl.LazyFrame:
        """All rows, or those of the data files whose rows have the hashes `of`, lazily; columns that older
        files lack come as nulls. Raises CorruptTable for a file whose rows no longer have their hash, which
        is seen when a process reads it first, if it is to `verify`."""
        files, columns = self._complete(table), self._columns(table)
        schema = self.schema(table)
        if of is not None:
            files = [file for file in files if file.hash in set(of)]
        if verify and ROWS_HASH in columns:
            for file in files:
                if not self._sound(file, columns):
                    raise CorruptTable(
                        f"{self.what} cannot be read: the bytes of {file.path} have changed since they were "
                        f"written; {MEND}"
                    )
        if not files:
            return pl.LazyFrame(schema=schema)
        file_system.fetch(file.path for file in files)
        return pl.scan_parquet(
            [file.path for file in files],
            schema=columns,
            glob=False,
            hive_partitioning=False,
            missing_columns="insert",
        ).select(list(schema))

    def _sound(self, file: DataFile, columns: pl.Schema) -> bool:
        """Whether a file is there, in full length, with its rows. Of rows that were written without a hash
        only their number is checked. Raises CorruptTable for a file that may not be read."""
        state = file_system.state(file.path)
        if state is None or state[0] != file.size:
            return False
        if (seen := (file.path, *state)) in _SOUND:
            return True
        with self._readable():
            content = file_system.local(file.path).read_bytes()
        try:
            with self._readable():
                rows = pl.read_parquet(io.BytesIO(content))
                if file.rows not in (None, rows.height) or not set(rows.columns) <= set(columns):
                    return False
                hashes = rows[ROWS_HASH].unique().to_list() if ROWS_HASH in rows.columns else []
                if hashes and hashes != [_rows_hash(rows)]:
                    return False
        except (CorruptTable, UnstorableColumn):
            return False
        _SOUND.add(seen)
        return True

    def collect(self, lazy: pl.LazyFrame) -> pl.DataFrame:
        with self._readable():
            return lazy.collect()

    def append(
        self,
        rows: pl.DataFrame,
        table: DeltaTable | None,
        metadata: Mapping[str, str] | None = None,
        *,
        rebase: bool = True,
    ) -> DeltaTable:
        """Like `write`, of rows that come to those of `table`, in its types, in a data file with their hash;
        without `rebase` to those and to no others. Raises UnstorableColumn."""
        known = {} if table is None else self._columns(table)
        schema = {} if table is None else self.schema(table)
        frame = self.hashed(storable(conform(rows, schema, self.what), self.what))
        new = table is not None and bool(set(frame.columns) - set(known))
        return self.write(frame, table, overwrite=False, new_columns=new, metadata=metadata, rebase=rebase)

    def overwrite(self, rows: pl.DataFrame, table: DeltaTable, of: Sequence[str] | None = None) -> DeltaTable:
        """Like `write`, of the rows that are to take the place of those in `table`: of all, or of the data
        files whose rows have the hashes `of`."""
        rows = self.hashed(rows)
        if of is None:
            return self.write(rows, table, overwrite=True)
        # New rows must fulfil the predicate too. All rows of a file have one hash, so whole files go.
        hashes = sorted({*of, *rows[ROWS_HASH].unique()})
        return self.write(rows, table, overwrite=True, where=f"{ROWS_HASH} IN {_listing(hashes)}")

    def hashed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """`rows` with their hash, as they are appended."""
        if ROWS_HASH in rows.columns:
            raise UnstorableColumn(f"{self.what}: the column name {ROWS_HASH!r} is taken")
        return rows.with_columns(pl.lit(_rows_hash(rows)).alias(ROWS_HASH))

    def write(
        self,
        frame: pl.DataFrame,
        table: DeltaTable | None,
        *,
        overwrite: bool,
        new_columns: bool = False,
        metadata: Mapping[str, str] | None = None,
        where: str | None = None,
        rebase: bool = True,
    ) -> DeltaTable:
        """One commit onto `table` (None: create it); `where` says which rows are overwritten. Raises
        DeltaError when another process was faster, and DiskFull."""
        make_folder(self.folder)
        whole = overwrite and where is None and table is not None
        schema_mode = "overwrite" if whole else "merge" if new_columns else None
        with disk.room(self.folder, int(frame.estimated_size()), self.what):
            write_deltalake(  # type: ignore[call-overload, misc]
                file_system.uri(self.folder) if table is None else table,
                frame,
                mode="error" if table is None else "overwrite" if overwrite else "append",
                schema_mode=schema_mode,
                predicate=where,
                configuration=self.configuration if table is None else None,
                # One data file a commit keeps the order of rows.
                target_file_size=_ONE_FILE,
                writer_properties=WriterProperties(compression="SNAPPY", max_row_group_size=_ROWS_TOGETHER),
                # deltalake rebases a commit that lost a race: right for most appends, but two overwrites of a
                # table without files would both stay. So no retries there; ours reads the table again.
                commit_properties=CommitProperties(
                    custom_metadata=dict(metadata or {}),
                    max_commit_retries=None if rebase and not overwrite else 0,
                ),
            )
        return table if table is not None else DeltaTable(file_system.uri(self.folder))

    def note(self, table: DeltaTable, metadata: Mapping[str, str]) -> int:
        """One commit onto `table` that changes no row; its version. Raises DeltaError when another
        process was faster."""
        commit = CommitProperties(custom_metadata=dict(metadata), max_commit_retries=0)
        with disk.room(self.folder, 0, self.what):
            table.create_write_transaction([], "append", table.schema(), commit_properties=commit)
        table.update_incremental()
        return table.version()

    def history(self, table: DeltaTable, limit: int | None = None) -> list[dict[str, Any]]:
        """The commits as deltalake gives them, newest first."""
        with self._readable():
            return table.history(limit)

    def set_aside_damaged(self, table: DeltaTable, aside: Path) -> list[DataFile]:
        """Removes absent and damaged data files from the log and moves them to `aside`; which they were."""
        columns = self._columns(table)
        damaged = [file for file in self.listed(table) if not self._sound(file, columns)]
        for file in damaged:
            if file_system.size(file.path) is not None:
                file_system.move(file.path, aside / file.path.name)
        if damaged:
            with self._readable():
                table.repair()
        return damaged

    def retry(self, attempt: Callable[[], T], attempts: int = ATTEMPTS) -> T:
        """`attempt()`, again after a pause when another process committed first. Raises Outrun at the
        end."""
        for left in reversed(range(attempts)):
            try:
                return attempt()
            except DeltaError as error:
                if not left:
                    raise Outrun(f"{self.what} cannot be written: {self.folder}: {error}") from error
                time.sleep(random.uniform(0.01, 0.1) * min(attempts - left, ATTEMPTS))
            except OSError as error:
                raise StoreError(f"{self.what} cannot be written: {self.folder}: {error}") from error
        raise AssertionError("unreachable")


def _listing(hashes: Sequence[str]) -> str:
    return "(" + ", ".join(f"'{one}'" for one in hashes) + ")"


def _rows_hash(rows: pl.DataFrame) -> str:
    """Hash of the rows of a data file; the order of columns, which Delta may change, does not count."""
    return hash_frame(rows.select(sorted(set(rows.columns) - {ROWS_HASH})))
