"""What `fineface status` shows: what runs, failed, is behind the times or quarantined in a home, what is on,
and what bringing it up to date would cost. Reads only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl
from dagster import DagsterInstance, DagsterRunStatus

import reasons
import stages
from assets import gate
from pipelines import automation, cost, definitions, staleness
from pipelines.switches import Switch, daemon_runs, switches
from reasons import Kind
from settings.profile import Profile
from store import Store, StoreError, file_system

RUNS_SHOWN, RUNS_READ = 12, 200
TROUBLE = (Kind.UNUSABLE, Kind.NO_FACE)
"""Kinds of reasons by which a row is quarantined; the others leave rows out on purpose."""


@dataclass(frozen=True)
class Overview:
    """The state of a home. `stale`: why, by table; `quarantined`: rows by reason, by stage; `cost`: model
    calls by stage, training steps for trained_model; both of these are null where no profile says what is
    wanted."""

    home: str
    profile: str | None
    running: list[dict[str, Any]]
    failed_runs: list[dict[str, Any]]
    failed_checks: list[dict[str, Any]] = field(default_factory=list)
    stale: dict[str, str] | None = None
    quarantined: dict[str, dict[str, int]] = field(default_factory=dict)
    new_files: dict[str, int] = field(default_factory=dict)
    cost: dict[str, int] | None = None
    switches: list[Switch] = field(default_factory=list)
    daemon: bool = False
    tables: list[dict[str, Any]] = field(default_factory=list)
    memos: dict[str, int] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return asdict(self)


def gather(store: Store, opened: DagsterInstance, profile: Profile | None) -> Overview:
    """The state of the home of `store`, as `profile` wants it to be; without one, what can be told anyway."""
    records = opened.get_run_records(limit=RUNS_READ)
    runs = [_run(record) for record in records]
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        if run["status"] in ("SUCCESS", "FAILURE"):
            latest.setdefault((run["job"], run["experiment"]), run)
    at_work = {status.value for status in automation.AT_WORK}
    found = Overview(
        home=file_system.address(store.home),
        profile=profile.name if profile is not None else None,
        running=[run for run in runs if run["status"] in at_work],
        failed_runs=[run for run in latest.values() if run["status"] == DagsterRunStatus.FAILURE.value],
        quarantined=_quarantined(store),
        daemon=daemon_runs(opened),
        tables=[_table(store, name) for name in store.stages()],
        memos={name: len(store.memo(name)) for name in _memos(store)},
        runs=runs[:RUNS_SHOWN],
    )
    if profile is None:
        return found
    built = definitions.build(profile, store.home)
    parts = staleness.parts(built, profile, store)
    stale = {table: why for part in parts for table, why in part.outdated().items()}
    checks = []
    for key in sorted(built.resolve_asset_graph().asset_check_keys):
        if (evaluation := gate.failed(opened, key)) is not None:
            facts = {name: value.value for name, value in evaluation.metadata.items()}
            told = {name: value for name, value in facts.items() if name not in gate.FOR_MACHINES}
            checks.append({"check": key.name, "stage": key.asset_key.to_user_string(), "says": told})
    return Overview(
        **{
            **{name: getattr(found, name) for name in Overview.__dataclass_fields__},
            "failed_checks": checks,
            "stale": stale,
            "new_files": cost.new_pictures(store, profile),
            "cost": cost.calls(store, profile, stale),
            "switches": switches(opened, profile),
        }
    )


def text(found: Overview) -> str:
    """Aligned lines: what wants attention first, then every table, memo and the latest runs."""
    parts = [f"home {found.home}" + (f", profile {found.profile}" if found.profile else "")]
    parts.append(_attention(found))
    if found.switches:
        parts.append(switched(found.switches, found.daemon))
    parts.append(
        _aligned(
            [["stage", "version", "rows", "kept", "written"]]
            + [
                [one["table"], one["version"], one["rows"], one["kept"], one["written"]]
                for one in found.tables
            ]
        )
    )
    parts.append(
        _aligned([["memo", "answers"]] + [[name, f"{many:,}"] for name, many in found.memos.items()])
    )
    runs = [[one["run"], one["job"], one["experiment"], one["status"], one["age"]] for one in found.runs]
    parts.append(_aligned([["run", "job", "experiment", "status", "started"], *runs]))
    return "\n\n".join(parts)


def _attention(found: Overview) -> str:
    rows = [("running", _runs(found.running) or "nothing")]
    if found.failed_runs:
        rows.append(("failed", _runs(found.failed_runs)))
    for one in found.failed_checks:
        says = ", ".join(f"{name} {value}" for name, value in one["says"].items())
        rows.append(("stopped", f"{one['check']} of {one['stage']}: {says} (fineface accept {one['check']})"))
    for stage, counts in found.quarantined.items():
        rows.append(
            ("quarantined", f"{stage}: {', '.join(f'{many:,} {code}' for code, many in counts.items())}")
        )
    if found.stale is not None:
        new = ", ".join(f"{many:,} of {source}" for source, many in found.new_files.items())
        rows.append(("new files", new or "none"))
        rows += [("stale", f"{table}: {why}") for table, why in found.stale.items()] or [("stale", "nothing")]
        rows.append(("to be up to date", _cost(found.cost or {}, bool(found.stale or found.new_files))))
    return _aligned([list(row) for row in rows])


def _cost(calls: Mapping[str, int], work: bool) -> str:
    if not calls:
        return "no model call" + (", a run in seconds" if work else ", nothing to run")
    told = [
        f"{stage} {many:,}{' training steps' if stage == 'trained_model' else ''}"
        for stage, many in calls.items()
    ]
    return (
        f"about {sum(many for stage, many in calls.items() if stage != 'trained_model'):,} model calls: "
        + (", ".join(told))
    )


def _runs(runs: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{' '.join(filter(None, (one['job'], one['experiment'])))} ({one['run']}, {one['age']})"
        for one in runs
    )


def switched(turned: Sequence[Switch], daemon: bool) -> str:
    """Which of what a home does by itself is on, and what it said last."""
    rows = [["by itself", "", "when", "last"]]
    for one in turned:
        looked = f"{_age(datetime.fromtimestamp(one.looked, UTC))}: {one.said or ''}" if one.looked else ""
        rows.append([one.name, "on" if one.on else "off", one.when, looked.rstrip(": ")])
    told = _aligned(rows)
    if any(one.on for one in turned) and not daemon:
        told += "\nnobody looks: `fineface ui` does, while it runs"
    return told


def _run(record: Any) -> dict[str, Any]:
    run = record.dagster_run
    return {
        "run": run.run_id[:8],
        "job": run.job_name,
        "experiment": run.tags.get("dagster/partition", ""),
        "status": run.status.value,
        "age": _age(record.create_timestamp),
    }


def _quarantined(store: Store) -> dict[str, dict[str, int]]:
    """Rows dropped because something is wrong with them, by reason, by stage."""
    codes = [code for kind in TROUBLE for code in reasons.of_kind(kind)]
    found = {}
    for name in stages.FUNNEL:
        if store.version(name) is None:
            continue
        try:
            rows = store.read(name, columns=["reason_code"]).filter(pl.col("reason_code").is_in(codes))
        except StoreError:
            continue  # listed as unreadable below
        if rows.height:
            counts = rows.group_by("reason_code").len().sort("len", "reason_code", descending=[True, False])
            found[name] = dict(counts.iter_rows())
    return found


def _table(store: Store, name: str) -> dict[str, str]:
    try:
        latest = store.history(name)[0]
        frame = store.scan(name)
        kept = ""
        if "keep" in frame.collect_schema().names():
            kept = f"{store.read(name, columns=['keep'])['keep'].sum():,}"
        rows = f"{int(latest['metadata'].get('rows', 0)):,}"
        version, written = str(latest["version"]), _age(latest["timestamp"])
    except StoreError as error:
        version, rows, kept, written = "unreadable", "", "", str(error)
    return {"table": name, "version": version, "rows": rows, "kept": kept, "written": written}


def _memos(store: Store) -> list[str]:
    return [log.parent.name for log in file_system.find(store.home / "memo", "*/_delta_log")]


def _age(then: datetime) -> str:
    seconds = (datetime.now(UTC) - then.astimezone(UTC)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


def _aligned(table: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
