"""Which version of every table belongs together: now, after a run, at a version, at a time. Time travel for
all questions of this room.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from settings import nearest
from store import MissingTable, Store
from store.store import Opened

DEFAULT_STAGE = "training_set"
"""The table that a bare version number is of: the data set."""

_VERSION = re.compile(r"(?:([A-Za-z][\w./-]*)@)?v?(\d{1,6})")
_RUN = re.compile(r"[\w-]{4,36}")


class UnknownMoment(LookupError):
    """A version, run or time of which no table knows; the message says which there are."""


@dataclass(frozen=True)
class Commit:
    """One version of one table: when it was written, and what its writer said of it."""

    stage: str
    version: int
    timestamp: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str | None:
        return self.metadata.get("run_id")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that the table was made with."""
        return _parsed(self.metadata.get("settings"))

    @cached_property
    def upstream(self) -> dict[str, int]:
        """The version of every table that was read for it."""
        found = _parsed(self.metadata.get("upstream"))
        return {stage: version for stage, version in found.items() if isinstance(version, int)}


class Moment:
    """The tables of `store` as they were at `at`.

    None: now. A version ("training_set@3"; "3" is the training set's): the tables that it was made from, and
    what else there was until the next version of it. A run (its id, or the first digits): as it left them. A
    time (a datetime, or ISO 8601 as in 2026-03-01T12:00; UTC where it says nothing). Raises UnknownMoment,
    and MissingTable for a version that there is not.
    """

    def __init__(self, store: Store, at: str | int | datetime | None = None) -> None:
        self.store, self.told = store, "now"
        self._histories: dict[str, tuple[Commit, ...]] = {}
        self._opened: dict[tuple[str, int], Opened] = {}
        self._pinned: dict[str, int] = {}
        self._until: datetime | None = None
        if isinstance(at, datetime):
            self._set_time(at if at.tzinfo else at.replace(tzinfo=UTC))
        elif at is not None:
            self._understand(str(at).strip())

    def history(self, stage: str) -> tuple[Commit, ...]:
        """All versions of `stage`, newest first; empty for a table that was never written."""
        if stage not in self._histories:
            try:
                opened = self.store.opened(stage)
            except MissingTable:
                self._histories[stage] = ()
            else:
                self._opened[stage, opened.version] = opened
                self._histories[stage] = tuple(Commit(stage, **entry) for entry in opened.history())
        return self._histories[stage]

    def commit(self, stage: str) -> Commit | None:
        """The version of `stage` at this moment; None where it was not written yet."""
        history = self.history(stage)
        if stage in self._pinned:
            return next((one for one in history if one.version == self._pinned[stage]), None)
        if self._until is not None:
            return next((one for one in history if one.timestamp <= self._until), None)
        return history[0] if history else None

    def version(self, stage: str) -> int | None:
        """Like `commit`, its number."""
        commit = self.commit(stage)
        return None if commit is None else commit.version

    def read(self, stage: str, columns: Iterable[str] | None = None) -> pl.DataFrame | None:
        """All rows of `stage` at this moment, checked; None where it was not written yet."""
        version = self.version(stage)
        if version is None:
            return None
        return self.store.read(stage, version, None if columns is None else list(columns))

    def where(
        self, stage: str, predicate: pl.Expr, columns: Iterable[str] | None = None
    ) -> pl.DataFrame | None:
        """The rows of `stage` for which `predicate` holds, found fast; None where it was not written yet."""
        version = self.version(stage)
        return None if version is None else self.at(stage, version, predicate, columns)

    def at(
        self, stage: str, version: int, predicate: pl.Expr, columns: Iterable[str] | None = None
    ) -> pl.DataFrame:
        """Like `where`, of the version that is named. Raises MissingTable."""
        return self._open(stage, version).where(predicate, None if columns is None else list(columns))

    def columns(self, stage: str, version: int) -> set[str]:
        """The names of the columns of that version. Raises MissingTable."""
        return set(self._open(stage, version).columns)

    def _open(self, stage: str, version: int) -> Opened:
        if (stage, version) not in self._opened:
            self._opened[stage, version] = self.store.opened(stage, version)
        return self._opened[stage, version]

    def versions(self, names: Iterable[str] | None = None) -> dict[str, int]:
        """The version of every table, or of `names`, as far as they were written."""
        found = {stage: self.version(stage) for stage in names or self.store.stages()}
        return {stage: version for stage, version in found.items() if version is not None}

    def _understand(self, said: str) -> None:
        if said in ("", "now", "latest"):
            return
        if (match := _VERSION.fullmatch(said)) is not None:
            stage = match[1] or DEFAULT_STAGE
            if match[1] or self._has(stage, int(match[2])) or not _RUN.fullmatch(said):
                self._set_version(stage, int(match[2]))
                return
        if _RUN.fullmatch(said) and (commits := self._of_run(said)):
            self._until = max(commit.timestamp for commit in commits)
            self.told = f"after run {commits[0].run_id}"
            return
        try:
            time = datetime.fromisoformat(said)
        except ValueError:
            raise UnknownMoment(f"no version, run or time {said!r}{self._there_are(said)}") from None
        self._set_time(time if time.tzinfo else time.replace(tzinfo=UTC))

    def _set_time(self, time: datetime) -> None:
        self._until, self.told = time, f"{time:%Y-%m-%d %H:%M:%S %Z}"
        if not self.versions():
            raise UnknownMoment(
                f"no table of {self.store.home} had been written at {time:%Y-%m-%d %H:%M:%S %Z}"
            )

    def _has(self, stage: str, version: int) -> bool:
        return any(commit.version == version for commit in self.history(stage))

    def _set_version(self, stage: str, version: int) -> None:
        if not self.history(stage):
            close = nearest.hint(stage, self.store.stages())
            raise UnknownMoment(f"no table {stage!r} in {self.store.home}{close}")
        if not self._has(stage, version):
            raise MissingTable(
                f"stage {stage!r} has no version {version} in {self.store.home}; "
                f"the latest is {self.history(stage)[0].version}"
            )
        following = [one.timestamp for one in self.history(stage) if one.version == version + 1]
        self._until = following[0] - timedelta(microseconds=1) if following else None
        self._pin(stage, version)
        self.told = f"version {version} of {stage}"

    def _pin(self, stage: str, version: int) -> None:
        """`stage` at `version`, and the versions that its commit names, and theirs."""
        self._pinned[stage] = version
        commit = self.commit(stage)
        for upstream, used in commit.upstream.items() if commit else ():
            # A table that was removed or rebuilt since no longer has that version: tell what there is.
            if upstream not in self._pinned and self._has(upstream, used):
                self._pin(upstream, used)

    def _of_run(self, run: str) -> list[Commit]:
        found = [
            commit
            for stage in self.store.stages()
            for commit in self.history(stage)
            if (commit.run_id or "").startswith(run)
        ]
        if len(runs := {commit.run_id for commit in found}) > 1:
            raise UnknownMoment(f"several runs begin with {run!r}: {', '.join(sorted(map(str, runs)))}")
        return found

    def _there_are(self, said: str) -> str:
        runs = [one.run_id for stage in self.store.stages() for one in self.history(stage) if one.run_id]
        latest = self.history(DEFAULT_STAGE)
        until = f"versions 0 to {latest[0].version} of {DEFAULT_STAGE}" if latest else "no data set yet"
        return nearest.hint(said, set(runs)) or f"; there are {until}, and {len(set(runs))} runs"


def of_run(store: Store, run: str) -> list[Commit]:
    """The versions that a run wrote (its id, or the first digits). Raises UnknownMoment for several runs."""
    return Moment(store)._of_run(run)


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
