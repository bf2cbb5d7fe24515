"""Where a project keeps its state: stage tables, memo tables and content-named files under one home
folder."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable

from store import file_system
from store.delta import MEND, DataFile, Delta
from store.errors import CorruptTable, HomeError, MissingTable, StoreError
from store.files import Files
from store.hashing import hash_frame
from store.memo import Columns, Memo
from store.schema import storable

RAW = "raw_"
"""What the kinds of raw files begin with."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_PREFIX = "fineface."
_CONTENT_HASH, _ROWS = "content_hash", "rows"
WRITTEN_AT, PRUNED = "written_at", "pruned"
"""Of a version whose table was written anew: when it was written first, in milliseconds, and whether it was
no longer kept then."""
# Every version of a stage stays readable: deltalake would otherwise drop log entries after 30 days.
_KEEP_ALL = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}


class Store:
    """All state under `home`: `tables/<stage>/`, `memo/<name>/` (both Delta) and
    `files/<kind>/ab/<hash><suffix>`.

    Tables name a file by its kind and its name in that kind, never by a path: a home can be moved. Files of
    raw data are not the store's; `raw` says where those of each kind lie (`raw_affectnet`: a folder).

    Nothing is created before the first write. Raises HomeError for a home that Delta cannot address: one of
    % # ? [ ] or a backslash is in its path.
    """

    def __init__(self, home: str | PathLike, raw: Mapping[str, str | PathLike] | None = None) -> None:
        self.home = file_system.place(home)
        self.on_read: Callable[[str, int], None] | None = None
        """Called with stage and version whenever a table is read: for who keeps account of what was."""
        self.raw = {kind: file_system.place(folder) for kind, folder in (raw or {}).items()}
        if odd := sorted(set("%[]#?\\") & set(str(self.home))):
            raise HomeError(
                f"a store cannot live in {file_system.address(self.home)}: its path contains {' '.join(odd)}"
            )

    def __getstate__(self) -> dict[str, Any]:
        """What goes to another process: not the account of who reads in this one."""
        return self.__dict__ | {"on_read": None}

    def __repr__(self) -> str:
        return f"Store({str(self.home)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and self.home == other.home

    def __hash__(self) -> int:
        return hash(self.home)

    def write(
        self,
        stage: str,
        frame: pl.DataFrame,
        metadata: Mapping[str, Any] | None = None,
        lineage: Mapping[str, Any] | None = None,
    ) -> int:
        """Makes `frame` the latest version of `stage`, whole; the version.

        `metadata` (run id, profile …) and `lineage` (what the content comes of: code, settings, versions
        read) go into the commit; values that are not strings become JSON. Where the columns are those that
        there are, they keep their order. Unchanged content (schema, order of rows, values) of unchanged
        lineage writes nothing and returns the current version, whose commit keeps the metadata of the run
        that first wrote it. Unchanged content of another lineage is a version of the same data files.
        Unsigned integers are stored wider, categories as strings, arrays as lists. Raises UnstorableColumn,
        CorruptTable, and StoreError when another process keeps committing.
        """
        delta = self.delta(stage)
        frame = storable(frame, delta.what)
        decides = {name: _text(value) for name, value in (lineage or {}).items()}
        entries = {name: _text(value) for name, value in (metadata or {}).items()} | decides

        def attempt() -> int:
            table = delta.open()
            columns = frame.columns if table is None else delta.schema(table).names()
            # Where nothing but the order of columns differs, deltalake keeps the one that there is.
            ordered = frame.select(columns) if set(columns) == set(frame.columns) else frame
            content = {_CONTENT_HASH: hash_frame(ordered), _ROWS: str(ordered.height)}
            tagged = {_PREFIX + name: value for name, value in (entries | content).items()}
            if table is not None:
                commits = delta.history(table, limit=1)
                known = commits[0] if commits else {}
                same = known.get(_PREFIX + _CONTENT_HASH) == content[_CONTENT_HASH]
                if same and delta.intact(table) and self._sound(delta, table):
                    if all(known.get(_PREFIX + name) == value for name, value in decides.items()):
                        return table.version()
                    return delta.note(table, tagged)
            return delta.write(ordered, table, overwrite=True, metadata=tagged).version()

        return delta.retry(attempt)

    def append(self, stage: str, rows: pl.DataFrame, metadata: Mapping[str, Any] | None = None) -> int:
        """Add `rows` to `stage`, made if it is missing; the new version. Nothing is lost when two processes
        append at once. The types are those of the rows so far. Raises like `write`.
        """
        delta = self.delta(stage)
        entries = {_PREFIX + name: _text(value) for name, value in (metadata or {}).items()}

        def attempt() -> int:
            table = delta.open()
            before = 0 if table is None else delta.collect(delta.scan(table).select(pl.len())).item()
            tagged = entries | {_PREFIX + _ROWS: str(before + rows.height)}
            return delta.append(rows, table, tagged).version()

        return delta.retry(attempt)

    def read(
        self, stage: str, version: int | None = None, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """The rows of `stage` as written, at `version` (default: latest), only `columns` if given.

        Raises MissingTable, CorruptTable, and StoreError for a column the stage has not."""
        return self._collect(stage, self.scan(stage, version), columns)

    def scan(self, stage: str, version: int | None = None) -> pl.LazyFrame:
        """Like `read`, lazily. Errors of the data files then come from polars."""
        delta = self.delta(stage)
        table = self._existing(stage, version)
        if self.on_read is not None:
            self.on_read(stage, table.version())
        if not self._sound(delta, table):
            raise CorruptTable(
                f"{delta.what} cannot be read: {delta.folder}: the bytes of version {table.version()} "
                f"have changed since they were written; {MEND}"
            )
        return delta.scan(table)

    def _sound(self, delta: Delta, table: DeltaTable) -> bool:
        """Whether a version holds what its commit says, seen when a process reads its files first."""
        states = tuple((str(file), file_system.state(file)) for file in delta.files(table))
        if states not in _SEEN:
            # the history of a table that was opened at an old version numbers its commits wrongly
            history = delta.history(delta.open() or table)
            commit = next((one for one in history if one["version"] == table.version()), {})
            expected = commit.get(_PREFIX + _CONTENT_HASH)
            try:
                if expected is not None and hash_frame(delta.collect(delta.scan(table))) != expected:
                    return False
            except CorruptTable:
                return False
            _SEEN.add(states)
        return True

    def read_where(
        self,
        stage: str,
        predicate: pl.Expr,
        version: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """The rows of `stage` for which `predicate` holds, only `columns` if given. Raises like `read`.

        Only the parts of its files are read that may have such rows, so it is fast, and does not notice that
        others have changed since they were written.
        """
        return self.opened(stage, version).where(predicate, columns)

    def opened(self, stage: str, version: int | None = None) -> "Opened":
        """One version of `stage` (default: latest), for several questions. Raises like `read`."""
        table = self._existing(stage, version)
        if self.on_read is not None:
            self.on_read(stage, table.version())
        return Opened(self.delta(stage), table)

    def version(self, stage: str) -> int | None:
        """The latest version of `stage`, None if it was never written. Raises CorruptTable."""
        table = self.delta(stage).open()
        return None if table is None else table.version()

    def history(self, stage: str) -> list[dict[str, Any]]:
        """The versions of `stage`, newest first: `version`, `timestamp` (UTC), `metadata` (as given to
        `write`, plus `content_hash` and `rows`). Raises MissingTable, CorruptTable."""
        delta = self.delta(stage)
        return [_entry(commit) for commit in delta.history(self._existing(stage, None))]

    def content_hash(self, stage: str, version: int | None = None) -> str:
        """`hash_frame` of the stage, from its commit (no data is read). For data versions."""
        latest = self._existing(stage, version).version()
        for entry in self.history(stage):
            if entry["version"] == latest and _CONTENT_HASH in entry["metadata"]:
                return entry["metadata"][_CONTENT_HASH]
        return hash_frame(self.read(stage, version))

    def repair(self, stage: str, aside: Path) -> list[DataFile]:
        """Takes the damaged data files out of a stage that rows were appended to, which nothing makes again;
        the others stay. Moves them to `aside`; which they were. A stage that was written whole is left as it
        is. Raises CorruptTable for a damaged log."""
        delta, table = self.delta(stage), self._existing(stage, None)
        whole = any(_PREFIX + _CONTENT_HASH in commit for commit in delta.history(table, limit=1))
        return [] if whole else delta.set_aside_damaged(table, aside)

    def stages(self, under: str | None = None) -> list[str]:
        """Names of the stages written so far, sorted; `under="adapter"`: only `adapter/…`."""
        root = self.home / "tables"
        found = (log.parent.relative_to(root).as_posix() for log in file_system.find(root, "**/_delta_log"))
        return sorted(
            stage for stage in found if (not under or stage.startswith(f"{under}/")) and _is_name(stage)
        )

    def memo(self, name: str, schema: Columns | None = None) -> Memo:
        """The memo `name`; `schema`: its result columns, see Memo."""
        return Memo(self.home / "memo" / _checked(name, "memo"), name, schema)

    def about(self, content_hash: str) -> dict[str, pl.DataFrame]:
        """All that memos know of the picture with that hash, or the part of one, by memo; the memos that know
        nothing are left out. `memo(name).forget(pl.col("content_hash") == …)` removes it."""
        found = {}
        for log in file_system.find(self.home / "memo", "*/_delta_log"):
            known = self.memo(log.parent.name).read()
            if "content_hash" in known.columns:
                rows = known.filter(content_hash=content_hash)
                if rows.height:
                    found[log.parent.name] = rows
        return found

    def cache(self, name: str, schema: Mapping[str, pl.DataType] | None = None) -> Memo:
        """A memo of what is true on this machine only, such as which file has which content."""
        return Memo(file_system.own(self.home) / "cache" / _checked(name, "cache"), name, schema)

    def files(self, kind: str) -> Files:
        """The content-named files of `kind`."""
        return Files(self.home / "files" / _checked(kind, "kind of files"), kind, self._hash_files)

    def locate(self, kind: str, name: str) -> str:
        """Where the file `name` of `kind` lies on this machine, with the part of a picture that the name may
        end with; fetched if it lies elsewhere.

        Raises StoreError for raw data whose folder was not given, ValueError for what cannot be a name.
        """
        stem, mark, part = name.partition("#xywh=")
        path = self._raw(kind) / stem if kind.startswith(RAW) else self.files(kind).path(stem)
        return f"{file_system.local(path)}{mark}{part}"

    def located(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` (`file_kind`, `file`) with `path`, where each file lies on this machine, once
        `file_system.fetch` has fetched it; null for no file. Raises like `locate`."""
        name, found = pl.col("file"), pl.lit(None, dtype=pl.String)
        for kind in frame["file_kind"].drop_nulls().unique():
            here = self._raw(kind) if kind.startswith(RAW) else self.home / "files" / _checked(kind, "kind")
            within = [] if kind.startswith(RAW) else [name.str.head(2), pl.lit("/")]
            placed = pl.concat_str(pl.lit(f"{here}/"), *within, name)
            found = pl.when(file_kind=kind).then(placed).otherwise(found)
        return frame.with_columns(found.alias("path"))

    def named(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame` with `file_kind` and `file` in the place of `path`. Raises StoreError for a path that is
        neither in the store nor in a folder of raw data."""
        path = pl.col("path")
        kind, name = pl.lit(None, dtype=pl.String), pl.lit(None, dtype=pl.String)
        for raw, folder in self.raw.items():
            inside = path.str.starts_with(f"{folder}/")
            kind = pl.when(inside).then(pl.lit(raw)).otherwise(kind)
            name = pl.when(inside).then(path.str.strip_prefix(f"{folder}/")).otherwise(name)
        files = f"{self.home}/files/"
        inside = path.str.starts_with(files)
        parts = path.str.strip_prefix(files).str.split("/").list
        kind = pl.when(inside).then(parts.first()).otherwise(kind).alias("file_kind")
        name = pl.when(inside).then(parts.last()).otherwise(name).alias("file")
        table = frame.with_columns(kind, name)
        lost = table.filter(path.is_not_null() & pl.col("file").is_null())
        if lost.height:
            known = ", ".join(map(str, (*self.raw.values(), self.home)))
            raise StoreError(f"{lost['path'][0]} lies in none of the folders that are known: {known}")
        at = frame.columns.index("path")
        return table.select(*frame.columns[:at], "file_kind", "file", *frame.columns[at + 1 :])

    def _raw(self, kind: str) -> Path:
        if kind not in self.raw:
            raise StoreError(f"no folder of {kind} is known, whose files a table of {self.home} names")
        return self.raw[kind]

    def _hash_files(self, paths: Sequence[Path]) -> list[str | None]:
        from store.hash_cache import HashCache

        file_system.fetch(paths)
        return HashCache(self).hash_readable_files(paths)

    def delta(self, stage: str) -> Delta:
        """The table of `stage` itself; for who writes its history (`store.history`)."""
        folder = self.home / "tables" / _checked(stage, "stage")
        for parent in folder.relative_to(self.home / "tables").parents[:-1]:
            if file_system.find(self.home / "tables" / parent, "_delta_log"):
                raise StoreError(f"stage {stage!r} would lie inside the table of stage {parent.as_posix()!r}")
        return Delta(folder, f"stage {stage!r}", _KEEP_ALL)

    def _existing(self, stage: str, version: int | None):
        delta = self.delta(stage)
        table = delta.open()
        if table is None:
            raise MissingTable(f"stage {stage!r} has not been written in {self.home}")
        if version is None or version == table.version():
            return table
        if not 0 <= version < table.version():
            raise MissingTable(
                f"stage {stage!r} has no version {version} in {self.home}; the latest is {table.version()}"
            )
        older = delta.open(version)
        if older is None or any(file_system.size(file.path) is None for file in delta.listed(older)):
            raise MissingTable(
                f"version {version} of stage {stage!r} in {self.home} is no longer kept (fineface prune)"
            )
        return older

    def _collect(self, stage: str, lazy: pl.LazyFrame, columns: Sequence[str] | None) -> pl.DataFrame:
        if columns is not None:
            known = lazy.collect_schema().names()
            if unknown := [name for name in columns if name not in known]:
                raise StoreError(
                    f"stage {stage!r} has no column {', '.join(unknown)}; it has {', '.join(known)}"
                )
            lazy = lazy.select(columns)
        return self.delta(stage).collect(lazy)


class Opened:
    """One version of a stage's table, opened once."""

    def __init__(self, delta: Delta, table: DeltaTable) -> None:
        self._delta, self._table = delta, table
        self._rows: pl.LazyFrame | None = None
        self.version: int = table.version()

    @property
    def columns(self) -> list[str]:
        """The names of its columns."""
        return list(self._delta.schema(self._table))

    def where(self, predicate: pl.Expr, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """`Store.read_where`, of this version."""
        if self._rows is None:
            self._rows = self._delta.scan(self._table, verify=False)
        rows = self._rows.filter(predicate)
        return self._delta.collect(rows if columns is None else rows.select(columns))

    def history(self) -> list[dict[str, Any]]:
        """`Store.history`, up to this version; of the latest only, since an older one numbers it wrongly."""
        return [_entry(commit) for commit in self._delta.history(self._table)]


_SEEN: set[tuple[Any, ...]] = set()
"""Data files (name, size, time) that were sound when they were read."""


def _checked(name: str, what: str) -> str:
    if not _is_name(name):
        raise ValueError(f"{name!r} cannot name a {what}: letters, digits, _ . + - and / between parts")
    return name


def _is_name(name: str) -> bool:
    return isinstance(name, str) and all(_NAME.fullmatch(part) for part in name.split("/"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def tagged(metadata: Mapping[str, Any], back: bool = False) -> dict[str, Any]:
    """Of a commit what the project says, by plain names; `back`: as a commit holds it."""
    if back:
        return {_PREFIX + name: value for name, value in metadata.items()}
    return {name.removeprefix(_PREFIX): value for name, value in metadata.items() if name.startswith(_PREFIX)}


def _entry(commit: Mapping[str, Any]) -> dict[str, Any]:
    metadata = tagged(commit)
    written = int(metadata.pop(WRITTEN_AT, commit["timestamp"]))
    timestamp = datetime.fromtimestamp(written / 1000, UTC)
    return {"version": commit["version"], "timestamp": timestamp, "metadata": metadata}
