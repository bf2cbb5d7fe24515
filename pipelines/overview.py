"""What `fineface status` shows: stages, memos and runs of one home. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from dagster import DagsterInstance

from pipelines.switches import Switch
from store import Store, StoreError

RUNS_SHOWN = 12


def text(home: Path, instance: DagsterInstance) -> str:
    """Aligned lines: every stage table with version, rows, kept and age; every memo; the latest runs."""
    store = Store(home)
    stages = [["stage", "version", "rows", "kept", "written"]]
    stages += [_stage(store, name) for name in store.stages()]
    memos = [["memo", "answers"]]
    memos += [[folder.name, f"{len(store.memo(folder.name)):,}"] for folder in _memos(home)]
    runs = [["run", "job", "experiment", "status", "started"]]
    for record in instance.get_run_records(limit=RUNS_SHOWN):
        run = record.dagster_run
        experiment = run.tags.get("dagster/partition", "")
        runs.append(
            [run.run_id[:8], run.job_name, experiment, run.status.value, _age(record.create_timestamp)]
        )
    return f"home {home}\n\n" + "\n\n".join(_aligned(table) for table in (stages, memos, runs))


def switched(switches: Sequence[Switch], daemon: bool) -> str:
    """Which of what a home does by itself is on, and what it said last."""
    rows = [["by itself", "", "when", "last"]]
    for one in switches:
        looked = f"{_age(datetime.fromtimestamp(one.looked, UTC))}: {one.said or ''}" if one.looked else ""
        rows.append([one.name, "on" if one.on else "off", one.when, looked.rstrip(": ")])
    text = _aligned(rows)
    if any(one.on for one in switches) and not daemon:
        text += "\nnobody looks: `fineface ui` does, while it runs"
    return text


def _stage(store: Store, name: str) -> list[str]:
    try:
        latest = store.history(name)[0]
        frame = store.scan(name)
        kept = ""
        if "keep" in frame.collect_schema().names():
            kept = f"{store.read(name, columns=['keep'])['keep'].sum():,}"
        rows = latest["metadata"].get("rows", "")
        return [name, str(latest["version"]), f"{int(rows):,}", kept, _age(latest["timestamp"])]
    except StoreError as error:
        return [name, "unreadable", "", "", str(error)]


def _memos(home: Path) -> list[Path]:
    return sorted(log.parent for log in (home / "memo").glob("*/_delta_log"))


def _age(then: datetime) -> str:
    seconds = (datetime.now(UTC) - then.astimezone(UTC)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


def _aligned(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
