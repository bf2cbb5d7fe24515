"""Memo tables: results of expensive, pure functions, kept for ever under the hash of what determines them.

What belongs into a key is the caller's business; so is the function. A memo only ever grows.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from store import file_system
from store.delta import DataFile, Delta
from store.errors import ComputeError
from store.schema import conform

COMPUTED_AT = "computed_at"
"""Hidden column: when a row was appended. Of two rows with one key the older is the result."""

MANY = 64
"""How often an append is tried: it comes after those of others, each of which is one more try."""
COMPACT_ABOVE = 8
COMPACT_DURING = 64
FULL = 1 << 22
"""Rows of a data file that is joined with no other any more: bounds what is held in memory at once."""
_WEEK_HOURS = 7 * 24
_IS_KNOWN = "is known"


@dataclass(frozen=True)
class Progress:
    """How far a stage is: `done` of `total` keys computed in `seconds`; `rate` in keys a second, `eta` in
    seconds."""

    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float:
        return (self.total - self.done) / self.rate if self.rate else float("inf")

    def __str__(self) -> str:
        share = 100 * self.done / self.total if self.total else 100
        left = f", {_duration(self.eta)} left" if self.done < self.total and self.rate else ""
        return f"{self.done:,} of {self.total:,} ({share:.0f} %), {self.rate:.3g} a second{left}"


def _duration(seconds: float) -> str:
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds % 60:02d} s" if minutes else f"{seconds} s"


@dataclass(frozen=True)
class MemoResult:
    """`frame`: `key` and the results, one row a distinct key, in the order of the requests. `computed` +
    `reused` is its height."""

    frame: pl.DataFrame
    computed: int
    reused: int


def _is_power(chunks: int) -> bool:
    """Whether to compact now: each time twice as late, so that no row is rewritten more than a few times."""
    return chunks >= COMPACT_DURING and chunks & (chunks - 1) == 0


def _oldest(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort(COMPUTED_AT, maintain_order=True).unique("key", keep="first", maintain_order=True)


Columns = Mapping[str, pl.DataType | type[pl.DataType]]
"""Names and types of the columns of an answer."""


class Memo:
    """The memo `name` in `folder`. `schema` (result columns, without `key`) types all-null chunks and empty
    results; with it the results have exactly these columns."""

    def __init__(self, folder: Path, name: str, schema: Columns | None = None) -> None:
        self.name, self.folder = name, folder
        self.schema = None if schema is None else dict(pl.Schema(schema))
        # The log of a memo is never travelled: old entries may go once their files are gone.
        self._delta = Delta(folder, f"memo {name!r}")

    def get_or_compute(
        self,
        requests: pl.DataFrame,
        compute: Callable[[pl.DataFrame], pl.DataFrame],
        *,
        chunk: int,
        progress: Callable[[Progress], None] | None = None,
        partial: bool = False,
    ) -> MemoResult:
        """The results of all keys of `requests`, computing those that are not known yet.

        `requests` has a column `key` (str) and what `compute` needs; of equal keys the first row counts.
        `compute` gets at most `chunk` rows and returns `key` and the results, one row a key, in any order;
        each chunk is appended at once, so a killed run loses at most one. It is not called when nothing is
        missing, so it may load its model when first called. `progress` is called after each chunk. Two
        processes may compute at the same time; both then work, and the older row is kept.

        With `partial`, `compute` may leave keys out: the result then lacks them, and they are asked for
        again next time.

        Raises ValueError for bad requests, ComputeError naming the keys when `compute` breaks its promise,
        UnstorableColumn for results no table can hold, CorruptTable.
        """
        appending = _Appending(self)
        found, missing = self._missing(requests, chunk)
        started, answered = time.monotonic(), 0
        for offset in range(0, missing.height, chunk):
            part = missing.slice(offset, chunk)
            rows = self._checked(part, compute(part), partial)
            answered += rows.height
            if rows.height:
                appending.append(rows)
            if progress:
                done = min(offset + chunk, missing.height)
                progress(Progress(done, missing.height, time.monotonic() - started))
            if _is_power(offset // chunk + 1):
                appending.compact()
        if missing.height:
            self.compact()
        return self._result(found, missing, answered)

    def get_or_stream(
        self,
        requests: pl.DataFrame,
        answer: Callable[[pl.DataFrame], Iterator[Mapping[str, Any]]],
        *,
        chunk: int,
        progress: Callable[[Progress], None] | None = None,
        partial: bool = False,
    ) -> MemoResult:
        """Like `get_or_compute`, for a model that answers at its own pace.

        `answer` gets all missing rows at once and yields a mapping of `key` and the results for each, in any
        order; they are appended `chunk` by `chunk`. When it raises, what it had given is appended first.
        """
        appending = _Appending(self)
        found, missing = self._missing(requests, chunk)
        if missing.is_empty():
            return self._result(found, missing, 0)
        started, chunks = time.monotonic(), 0
        left = set(missing["key"])
        gathered: list[Mapping[str, Any]] = []

        def append() -> None:
            nonlocal chunks
            rows = pl.DataFrame(gathered, schema_overrides=self.schema, infer_schema_length=None)
            gathered.clear()
            rows = self._typed(rows)
            self._refuse("returned rows nobody asked for:", set(rows["key"]) - left)
            self._refuse("returned several rows for", rows.filter(pl.col("key").is_duplicated())["key"])
            appending.append(rows)
            chunks += 1
            left.difference_update(rows["key"])
            if progress:
                progress(Progress(missing.height - len(left), missing.height, time.monotonic() - started))
            if _is_power(chunks):
                appending.compact()

        with closing(answer(missing)) as stream:  # type: ignore[type-var]
            try:
                for given in stream:
                    gathered.append(given)
                    if len(gathered) == chunk:
                        append()
            finally:
                if gathered:
                    append()
        if not partial:
            self._refuse("returned no row for", left)
        self.compact()
        return self._result(found, missing, missing.height - len(left))

    def read(self, keys: pl.Series | None = None) -> pl.DataFrame:
        """The known rows (of `keys`, default all), one a key, in no promised order, without `computed_at`."""
        rows = self._rows(keys)
        return self._results(rows if rows["key"].n_unique() == rows.height else _oldest(rows))

    def where(self, predicate: pl.Expr) -> pl.DataFrame:
        """Like `read`, the rows for which `predicate` holds, found fast: the other rows are not checked."""
        table = self._delta.open()
        if table is None:
            return self.read()
        return self._results(
            _oldest(self._delta.collect(self._delta.scan(table, verify=False).filter(predicate)))
        )

    def _rows(self, keys: pl.Series | None) -> pl.DataFrame:
        """All rows, several of a key that several processes computed."""
        table = self._delta.open()
        if table is None:
            return pl.DataFrame(schema={"key": pl.String, **(self.schema or {}), COMPUTED_AT: pl.Datetime})
        lazy = self._delta.scan(table)
        if keys is None:
            return self._delta.collect(lazy)
        found = []
        rows = sum(file.rows or 0 for file in self._delta.listed(table))
        for part in _ranges(keys, 1 + rows // FULL):
            within = pl.col("key").is_between(pl.lit(part.min()), pl.lit(part.max()))
            wanted = pl.LazyFrame({"key": part})
            found.append(self._delta.collect(lazy.filter(within).join(wanted, on="key", how="semi")))
        return pl.concat(found)

    def _results(self, rows: pl.DataFrame) -> pl.DataFrame:
        if self.schema is None:
            return rows.drop(COMPUTED_AT)
        rows = conform(rows, {"key": pl.String(), **self.schema}, f"memo {self.name!r}")
        return rows.select("key", *self.schema)

    def __len__(self) -> int:
        """How many distinct keys are known."""
        return self._known(self._delta.open()).height

    def __bool__(self) -> bool:
        return True  # an empty memo is still a memo: `if memo` asks whether one was given

    def compact(self) -> bool:
        """Joins the files of many small chunks into few; whether it did. Leaves the table as it is when
        another process is compacting."""
        table = self._delta.open()
        return table is not None and len(self._delta.files(table)) > COMPACT_ABOVE and self._compact(table)

    def forget(self, which: pl.Expr) -> int:
        """Removes the rows for which `which` holds; how many. What they said is computed when next asked."""

        def attempt() -> int:
            table = self._delta.open()
            if table is None:
                return 0
            rows = self._delta.collect(self._delta.scan(table))
            kept = rows.filter(~which.fill_null(False))
            if kept.height < rows.height:
                self._delta.overwrite(kept, table)
            return rows.height - kept.height

        return self._delta.retry(attempt)

    def erase(
        self,
        which: Callable[[pl.DataFrame], pl.Series],
        change: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
    ) -> int:
        """Like `forget`, for good: `which` marks rows, `change` may alter the others, and the files and the
        log that held what is gone are removed. Nothing else may write to the memo meanwhile."""
        table = self._delta.open()
        if table is None:
            return 0
        rows = self._delta.collect(self._delta.scan(table))
        kept = change(rows.filter(~which(rows)))
        if kept.equals(rows):
            return 0
        beside = Delta(self.folder.with_name(f"{self.folder.name}.anew"), self._delta.what)
        file_system.remove_folder(beside.folder)
        beside.write(beside.hashed(kept), None, overwrite=True)
        file_system.remove_folder(self.folder)
        file_system.move(beside.folder, self.folder)
        return rows.height - kept.height

    def repair(self, aside: Path) -> list[DataFile]:
        """Forgets the rows whose data files are missing or damaged, so that only these are computed again.
        Moves the damaged files to `aside`; which they were."""
        table = self._delta.open()
        return [] if table is None else self._delta.set_aside_damaged(table, aside)

    def _missing(self, requests: pl.DataFrame, chunk: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The distinct keys asked for, with the results of the known ones; the requests of the others."""
        if chunk < 1:
            raise ValueError(f"memo {self.name!r}: chunk must be at least 1, not {chunk}")
        wanted = self._distinct(requests)
        found = self._look_up(wanted.select("key"))
        return found, wanted.filter(~found[_IS_KNOWN])

    def _look_up(self, keys: pl.DataFrame) -> pl.DataFrame:
        rows = self._rows(keys["key"])
        found = keys.join(rows, on="key", how="left", maintain_order="left")
        if found.height > keys.height:
            found = keys.join(_oldest(rows), on="key", how="left", maintain_order="left")
        is_known = found[COMPUTED_AT].is_not_null().alias(_IS_KNOWN)
        return self._results(found).with_columns(is_known)

    def _result(self, found: pl.DataFrame, missing: pl.DataFrame, computed: int) -> MemoResult:
        if missing.height:
            new = self._look_up(missing.select("key"))
            known = pl.concat([found, new], how="diagonal_relaxed").filter(_IS_KNOWN)
            found = found.select("key").join(known, on="key", maintain_order="left")
        return MemoResult(found.drop(_IS_KNOWN), computed, found.height - computed)

    def _known(self, table: DeltaTable | None) -> pl.DataFrame:
        if table is None:
            return pl.DataFrame(schema={"key": pl.String})
        return self._delta.collect(self._delta.scan(table).select("key").unique())

    def _distinct(self, requests: pl.DataFrame) -> pl.DataFrame:
        if requests.schema.get("key") != pl.String:
            found = requests.schema.get("key", "absent")
            raise ValueError(f"memo {self.name!r}: requests need a column 'key' of strings; it is {found}")
        if requests["key"].null_count():
            raise ValueError(f"memo {self.name!r}: {requests['key'].null_count()} requests have no key")
        return requests.unique("key", keep="first", maintain_order=True)

    def _checked(self, part: pl.DataFrame, rows: pl.DataFrame, partial: bool) -> pl.DataFrame:
        rows = self._typed(rows)
        if not partial:
            self._refuse("returned no row for", part.join(rows, on="key", how="anti")["key"])
        self._refuse("returned rows nobody asked for:", rows.join(part, on="key", how="anti")["key"])
        self._refuse("returned several rows for", rows.filter(pl.col("key").is_duplicated())["key"])
        return rows

    def _refuse(self, fault: str, keys: Iterable[str]) -> None:
        """Raises ComputeError where there are such `keys`."""
        faulty = sorted(set(keys))
        if faulty:
            more = f" and {len(faulty) - 5} more" if len(faulty) > 5 else ""
            raise ComputeError(
                f"memo {self.name!r}: compute {fault} {', '.join(map(repr, faulty[:5]))}{more}"
            )

    def _typed(self, rows: pl.DataFrame) -> pl.DataFrame:
        what = f"memo {self.name!r}"
        if not isinstance(rows, pl.DataFrame) or rows.schema.get("key") != pl.String:
            found = rows.schema if isinstance(rows, pl.DataFrame) else type(rows).__name__
            raise ComputeError(
                f"{what}: compute must return a frame with a column 'key' of strings, not {found}"
            )
        if COMPUTED_AT in rows.columns:
            raise ComputeError(f"{what}: the column name {COMPUTED_AT!r} is taken")
        if self.schema is not None:
            if unknown := [name for name in rows.columns if name != "key" and name not in self.schema]:
                raise ComputeError(
                    f"{what}: compute returned columns outside the schema: {', '.join(unknown)}"
                )
            rows = conform(rows, {"key": pl.String(), **self.schema}, what)
        return rows

    def _compact(self, table: DeltaTable) -> bool:
        """One file in the place of many small ones, sorted by key, each key once. An ordinary overwrite: of
        two at once, or where rows were appended meanwhile, the commit that comes second fails, and an append
        that comes second is repeated, so no row is lost or there twice."""
        try:
            files = self._delta.listed(table)
            hashes = None if any(file.hash is None for file in files) else _small(files)
            if hashes is not None and len(hashes) < 2:
                return False
            rows = self._delta.collect(self._delta.scan(table, of=hashes))
            self._delta.overwrite(_oldest(rows).sort("key"), table, hashes)
            table.vacuum(retention_hours=_WEEK_HOURS, dry_run=False)
        except DeltaError:
            return False
        return True


class _Appending:
    """Appends what one look-up found missing, chunk by chunk; begun before that look-up. Each key is there
    once: as soon as another process is seen to write too, what it wrote is looked up before each chunk.
    """

    def __init__(self, memo: Memo) -> None:
        self._memo, self._delta = memo, memo._delta
        self._table = memo._delta.open()
        self._alone = True

    def append(self, rows: pl.DataFrame) -> None:
        """`rows`, but for those of which others wrote the keys meanwhile."""
        now = pl.lit(datetime.now(UTC), dtype=pl.Datetime("us", "UTC")).alias(COMPUTED_AT)
        rows = rows.with_columns(now)

        def attempt() -> None:
            mine = rows
            if not self._alone:
                self._table = self._delta.open()
                known = self._memo._rows(rows["key"]).select("key")
                mine = rows.join(known, on="key", how="anti", maintain_order="left")
            if mine.height:
                self._commit(lambda table: self._delta.append(mine, table, rebase=False))

        self._delta.retry(attempt, MANY)

    def compact(self) -> None:
        """Like `Memo.compact`."""
        if self._table is not None and len(self._delta.files(self._table)) > COMPACT_ABOVE:
            self._commit(self._compacted)

    def _compacted(self, table: DeltaTable | None) -> DeltaTable | None:
        if table is not None:
            self._memo._compact(table)
        return table

    def _commit(self, commit: Callable[[DeltaTable | None], DeltaTable | None]) -> None:
        """One commit at most, by us; alone is who sees no other one."""
        before = -1 if self._table is None else self._table.version()
        alone, self._alone = self._alone, False
        self._table = commit(self._table)
        self._alone = alone and self._table is not None and self._table.version() <= before + 1


def _small(files: Sequence[DataFile]) -> list[str]:
    """The hashes of the files to join: from the smallest on, as long as one is no larger than those before it
    together. So a row is rewritten when what lies beside it has doubled, not with every change, and the files
    that are left are few: each larger than all below it, or full.
    """
    joined: list[str] = []
    total = 0
    for file in sorted(files, key=lambda file: file.rows or 0):
        rows = file.rows or 0
        if rows > total or total + rows > FULL:
            if len(joined) > 1:
                break
            joined, total = [], 0
        joined.append(str(file.hash))
        total += rows
    return joined


def _ranges(keys: pl.Series, count: int) -> list[pl.Series]:
    """`keys`, sorted and each once, in `count` parts: ranges, which the statistics of sorted files tell
    apart."""
    keys = keys.unique().sort()
    size = max(1, -(-len(keys) // count))
    return [keys.slice(start, size) for start in range(0, max(1, len(keys)), size)]
