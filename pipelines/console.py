"""What `fineface` prints: a line a stage as it ends, progress while it runs, what went wrong. No running
here.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from dagster import AssetCheckSeverity, DagsterEventType, MarkdownMetadataValue
from dagster._core.events.log import EventLogEntry

from pipelines.runs import INTERRUPTED

Say = Callable[[str], None]

_WRAPPED = ("Dagster", "RetryRequested")
"""Errors that only carry another one: Dagster's own, and the retries it gave up."""
_NOT_RUN = "Dependencies for step "


@dataclass
class Console:
    """Prints the events of runs through `say` and adds up the model calls."""

    say: Say
    verbose: bool = False
    calls: int = 0
    reused: int = 0
    trained: int = 0
    made: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """The jobs that had nothing to do."""
    causes: set[str] = field(default_factory=set)
    """The classes of the errors by which stages failed, and of those that they were raised from."""
    _started: dict[str, float] = field(default_factory=dict)
    _not_run: list[str] = field(default_factory=list)

    def listener(self, job: str, partition: str | None) -> Callable[[EventLogEntry], None]:
        """What the events of one run go to; prints the run's headline."""
        self.say(f"\n{job}" + (f" {partition}" if partition else ""))
        self._started.clear()
        self._not_run.clear()
        return self._hear

    def spared(self, name: str, complaints: Sequence[str]) -> None:
        """Say that nothing was to be made, and what checks had complained of when it was."""
        self.say(f"\n{name}\n  is as the last run left it: nothing that it is made from has changed")
        self.left.append(name)
        for complaint in complaints:
            self.say(f"    {complaint}")

    def total(self) -> str:
        """One line: model calls made and reused, training steps made."""
        calls = f"{self.calls:,} made, {self.reused:,} reused"
        stages = f"{len(self.made)} stages" + (" looked at, the rest is as it was" if self.left else "")
        return f"{stages}; model calls: {calls}; training steps: {self.trained:,}"

    def _hear(self, entry: EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            if entry.user_message.startswith(_NOT_RUN):
                self._not_run.append(entry.user_message.removeprefix(_NOT_RUN).split()[0])
            elif int(entry.level) >= logging.INFO:
                self.say(f"    {entry.user_message}")
            return
        if event.event_type == DagsterEventType.STEP_START:
            self._started[event.step_key or ""] = time.monotonic()
        elif event.event_type == DagsterEventType.ASSET_MATERIALIZATION:
            self._materialised(event)
        elif event.event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            self._checked(event.asset_check_evaluation_data)
        elif event.event_type == DagsterEventType.STEP_FAILURE:
            self._failed(event)
        elif event.event_type in (DagsterEventType.STEP_UP_FOR_RETRY, DagsterEventType.STEP_RESTARTED):
            self.say(f"    {event.message}")
        elif event.event_type == DagsterEventType.PIPELINE_FAILURE and self._not_run:
            self.say(f"    not run, for want of it: {', '.join(self._not_run)}")

    def _materialised(self, event: Any) -> None:
        found = {key: value.value for key, value in event.materialization.metadata.items()}
        seconds = time.monotonic() - self._started.get(event.step_key or "", time.monotonic())
        columns = [f"{found.get('dagster/row_count', 0):>9,} rows"]
        if found.get("dropped"):
            columns.append(f"{found['kept']:,} kept, {found['dropped']:,} dropped")
        if "model_calls" in found:
            columns.append(f"{found['model_calls']:,} model calls, {found['reused']:,} reused")
            self.calls += found["model_calls"]
            self.reused += found["reused"]
        if "steps_trained" in found:
            columns.append(f"{found['steps_trained']:,} steps trained, {found['steps_reused']:,} reused")
            self.trained += found["steps_trained"]
        name = event.asset_key.to_user_string()
        self.made.append(name)
        self.say(f"  {name:<18}{columns[0]}  {'; '.join(columns[1:]):<58}{seconds:>7.1f} s")

    def _checked(self, check: Any) -> None:
        if not check.passed:
            shown = {key: _plain(value) for key, value in check.metadata.items()}
            facts = ", ".join(f"{key} {lines[0]}" for key, lines in shown.items() if len(lines) == 1)
            verdict = "failed" if check.severity == AssetCheckSeverity.ERROR else "warns"
            name = f"{check.check_name} of {check.asset_key.to_user_string()}"
            self.say(f"    check {name} {verdict}: {facts}".rstrip(": "))
            for key, lines in shown.items():
                if len(lines) > 1:
                    self.say("\n".join(f"      {line}" for line in [f"{key}:", *lines]))

    def _failed(self, event: Any) -> None:
        error = event.step_failure_data.error
        while error is not None and error.cause is not None and (error.cls_name or "").startswith(_WRAPPED):
            self.causes.add(error.cls_name)
            error = error.cause  # the stage's own words, not those of what it caught
        if error is not None and error.cls_name == INTERRUPTED:
            self.say(f"  {event.step_key} interrupted")
            return
        self.say(f"  {event.step_key} FAILED: {error.message.strip() if error else event.message}")
        if self.verbose and error is not None:
            self.say(error.to_string())
        while error is not None:
            self.causes.add(error.cls_name or "")
            error = error.cause


def _plain(value: Any) -> list[str]:
    """A check's metadata as lines for a terminal; a table in Markdown with its columns below each other."""
    lines = str(value.value).splitlines() or [""]
    if not isinstance(value, MarkdownMetadataValue):
        return lines
    rows = [_cells(line) for line in lines if not re.fullmatch(r"\|(-+\|)+", line)]
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _cells(line: str) -> list[str]:
    """The cells of a line of Markdown, or its one text, as they read: nothing is escaped any more."""
    cells = re.split(r"(?<!\\)\|", line)
    cells = cells[1:-1] if len(cells) > 2 else cells
    return [re.sub(r"\\(.)", r"\1", cell.strip()) for cell in cells]
