"""What `fineface status` shows: stages, memos and runs of one home. Reads only."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from dagster import DagsterInstance

from store import Store, StoreError, file_system

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
    return f"home {file_system.address(home)}\n\n" + "\n\n".join(
        _aligned(table) for table in (stages, memos, runs)
    )


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
    return [log.parent for log in file_system.find(home / "memo", "*/_delta_log")]


def _age(then: datetime) -> str:
    seconds = (datetime.now(UTC) - then.astimezone(UTC)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


def _aligned(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
