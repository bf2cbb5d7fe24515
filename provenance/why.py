"""Why a sample is what it is: its row in every stage, the commits that wrote them, the samples that set its
scale.

What a sample reached, and how two versions differ, are other questions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

import facs
import reasons
from store import MissingTable, Store

RAW_STAGES = ("raw_affectnet", "raw_disfa", "raw_folder")
PICTURES = "face_crop"
"""The stage that says which picture all later ones see, and the original that it was cut from."""
WEB_STAGES = ("resolution", "photorealism", "au_annotation", "au_statistics", "au_corrections")
"""Stages of web photographs only; DISFA frames bring their labels along."""
READINGS, STATISTICS = "au_annotation", "au_statistics"
DISFA_STAGES = ("disfa_readings",)
OVERRIDES = "overrides"
LAST_STAGES = ("captions", "training_set", "latents")

_TOLD_ELSEWHERE = {"sample_id", "source", "keep", *reasons.COLUMNS}
_WHOLE = {"path", "original_path", "origin"}
_LONGEST = 100


class UnknownSample(LookupError):
    """A sample of which no stage table has a row."""


@dataclass(frozen=True)
class Setter:
    """The sample that set one end of the scale of an AU at one step of the correction."""

    au: int
    step: str
    end: str
    value: float
    sample_id: str | None


@dataclass(frozen=True)
class Step:
    """A sample at one stage. `version` is None when the table was never written; `row` is None when the
    table has no row of the sample. `metadata` is that of the commit, `stale` names the inputs that have
    newer versions now, `labels` are the overrides people gave, oldest first."""

    stage: str
    version: int | None = None
    timestamp: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    row: Mapping[str, Any] | None = None
    setters: Sequence[Setter] = ()
    maps: Sequence[str] = ()
    """Of a calibrated recipe: the knots, an AU, between which the sample's reading lies."""
    stale: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    labels: Sequence[Mapping[str, Any]] = ()

    @property
    def model(self) -> str | None:
        """The model behind the row as its table names it, if one was asked."""
        return (self.row or {}).get("model") or self.metadata.get("model")


@dataclass(frozen=True)
class Trail:
    """The steps of a sample, first to last. `str(trail)` is a plain-text account."""

    sample_id: str
    steps: tuple[Step, ...]

    @property
    def dropped(self) -> Step | None:
        """The step at which the sample was dropped, None if it was not."""
        return next((step for step in self.steps if step.row and step.row.get("keep") is False), None)

    def __getitem__(self, stage: str) -> Step:
        for step in self.steps:
            if step.stage == stage:
                return step
        raise KeyError(stage)

    def __str__(self) -> str:
        return render(self)


def why(store: Store, sample_id: str, versions: Mapping[str, int] | None = None) -> Trail:
    """The trail of `sample_id` through the stages of its source.

    Every stage is read at its latest version, or at the one `versions` gives; a stage given there also pins
    the versions that its commit names as its inputs (metadata `upstream`, a JSON object of stage to
    version), so `{"training_set": 3}` explains the labels a model of that version saw. Missing tables and
    missing rows are steps too. Raises UnknownSample if no table has the sample, MissingTable for a version
    that does not exist.
    """
    stages = stages_of(sample_id)
    pinned = _pin(store, stages, dict(versions or {}))
    steps: tuple[Step, ...] = ()
    for stage in stages:
        readings = next((step.row for step in steps if step.stage == READINGS), None)
        steps += (_step(store, stage, sample_id, pinned.get(stage), readings or {}),)
    if not any(step.row for step in steps):
        looked = [step.stage for step in steps if step.version is not None] or [
            "none, no stage is written yet"
        ]
        raise UnknownSample(
            f"no stage of {store.home} has the sample {sample_id!r}; looked in {', '.join(looked)}"
        )
    if all(step.stage not in RAW_STAGES for step in steps if step.row):
        return Trail(sample_id, steps)
    found = [step for step in steps if step.stage not in RAW_STAGES or step.row]
    return Trail(sample_id, tuple(found))


def stages_of(sample_id: str) -> tuple[str, ...]:
    """The stages that may have a row of this sample, in order, by the source its id begins with."""
    source = sample_id.split("/")[0]
    raw = (f"raw_{source}",) if f"raw_{source}" in RAW_STAGES else RAW_STAGES
    return (*raw, PICTURES, *(DISFA_STAGES if source == "disfa" else WEB_STAGES), *LAST_STAGES)


def _pin(store: Store, stages: Sequence[str], pinned: dict[str, int]) -> dict[str, int]:
    for stage in reversed(stages):
        if stage in pinned:
            entry = _entry(store, stage, pinned[stage])
            for upstream, version in _upstream(entry["metadata"]).items():
                latest = store.version(upstream)
                # A table that was removed or rebuilt since no longer has that version: tell what there is.
                if latest is not None and version <= latest:
                    pinned.setdefault(upstream, version)
    return pinned


def _entry(store: Store, stage: str, version: int) -> dict[str, Any]:
    for entry in store.history(stage):
        if entry["version"] == version:
            return entry
    raise MissingTable(f"stage {stage!r} has no version {version} in {store.home}")


def _upstream(metadata: Mapping[str, str]) -> dict[str, int]:
    try:
        found = json.loads(metadata.get("upstream", "{}"))
        return {str(stage): int(version) for stage, version in found.items() if version is not None}
    except (ValueError, TypeError, AttributeError):
        return {}


def _step(store: Store, stage: str, sample_id: str, version: int | None, readings: Mapping[str, Any]) -> Step:
    latest = store.version(stage)
    if latest is None:
        return Step(stage)
    version = latest if version is None else version
    entry = _entry(store, stage, version)
    stale = {}
    for upstream, used in _upstream(entry["metadata"]).items():
        newest = store.version(upstream)
        if newest is not None and newest > used:
            stale[upstream] = (used, newest)
    row, setters, maps = None, (), ()
    if stage == STATISTICS:
        statistics = store.read(stage, version)
        mapping = pl.col("step").is_in(["knot", "identity"])
        setters = tuple(_setters(statistics.filter(~mapping)))
        maps = tuple(_maps(statistics.filter(mapping), readings))
    else:
        rows = store.read_where(stage, pl.col("sample_id") == sample_id, version)
        row = rows.row(0, named=True) if rows.height else None
    labels = _labels(store, stage, sample_id)
    return Step(stage, version, entry["timestamp"], entry["metadata"], row, setters, maps, stale, labels)


def _labels(store: Store, stage: str, sample_id: str) -> tuple[Mapping[str, Any], ...]:
    if store.version(OVERRIDES) is None:
        return ()
    mine = (pl.col("sample_id") == sample_id) & (pl.col("stage") == stage)
    return tuple(store.read_where(OVERRIDES, mine).sort("time").to_dicts())


def _setters(statistics: pl.DataFrame) -> list[Setter]:
    setters = []
    for row in statistics.iter_rows(named=True):
        for end in ("minimum", "maximum"):
            value, sample = row.get(end), row.get(f"{end}_sample_id")
            if value is not None:
                setters.append(Setter(_au(row["au"]), row.get("step") or "", end, value, sample))
    return setters


def _maps(maps: pl.DataFrame, readings: Mapping[str, Any]) -> list[str]:
    lines = []
    for au in facs.ACTION_UNITS:
        found = maps.filter(au=au)
        value = readings.get(f"au{au}")
        if value is None or found.is_empty():
            continue
        if found["step"][0] == "identity":
            lines.append(f"AU{au}: as read, no positive among {found['samples'][0]:,} labelled frames")
            continue
        knots = found.sort("reading")
        above = int((knots["reading"] <= value).sum())
        for knot in knots[max(0, above - 1) : above + 1].iter_rows(named=True):
            ends = [f"{knot[f'{end}_sample_id']} ({_short(knot[end])})" for end in ("minimum", "maximum")]
            pooled = f"{knot['samples']:,} frames, {' to '.join(ends)}" if knot["samples"] else "an anchor"
            lines.append(
                f"AU{au}: reading {_short(knot['reading'])} becomes {_short(knot['intensity'])}: {pooled}"
            )
    return lines


def _au(value: Any) -> int:
    return facs.number(value) if isinstance(value, str) else int(value)


def render(trail: Trail) -> str:
    """The trail as plain text: a paragraph a stage, nulls left out, long values cut."""
    lines = [trail.sample_id]
    over = False
    for step in trail.steps:
        lines += ["", *_headline(step, over)]
        if step.row is not None:
            lines += [f"  {line}" for line in _verdict(step.row) + _values(step.row)]
            over = over or step.row.get("keep") is False
        lines += [f"  {line}" for line in _words(step)]
        if not over:
            lines += [f"  {line}" for line in (*_scale(step.setters), *step.maps)]
    return "\n".join(lines)


def _headline(step: Step, over: bool) -> list[str]:
    if step.version is None:
        return [f"{step.stage}: this table has not been written"]
    lines = [f"{step.stage}, version {step.version} of {step.timestamp:%Y-%m-%d %H:%M:%S} UTC"]
    told = {name: value for name, value in step.metadata.items() if name not in ("content_hash", "rows")}
    if told:
        lines.append(
            "  commit: " + ", ".join(f"{name} {_short(value)}" for name, value in sorted(told.items()))
        )
    for upstream, (used, newest) in step.stale.items():
        lines.append(f"  written from version {used} of {upstream}; that is at version {newest} now")
    if step.row is None and step.stage != STATISTICS:
        lines.append("  no row: the sample was dropped before" if over else "  no row of this sample")
    return lines


def _verdict(row: Mapping[str, Any]) -> list[str]:
    if row.get("keep") is False:
        return [f"DROPPED: {_reason(row) or 'no reason given'}"]
    return [f"kept: {_reason(row)}"] if row.get("reason_code") else []


def _reason(row: Mapping[str, Any]) -> str:
    return ": ".join(row[name] for name in reasons.COLUMNS if row.get(name))


def _words(step: Step) -> list[str]:
    """Every label a person gave, and whether the last of them is in the row yet."""
    lines = [
        f"label: {one['verdict']}, by {one['author']} on {one['time']:%Y-%m-%d %H:%M:%S} UTC: {one['reason']}"
        for one in step.labels
    ]
    if lines:
        last = step.labels[-1]
        wanted = None if last["verdict"] == "undo" else last["time"]
        if (step.row or {}).get("overruled_at") != wanted:
            lines[-1] += " (not applied yet)"
    return lines


def _values(row: Mapping[str, Any]) -> list[str]:
    lines, told = [], set(_TOLD_ELSEWHERE)
    for prefix, title in (("au", "action units"), ("label_au", "manual labels")):
        columns = [f"{prefix}{au}" for au in facs.ACTION_UNITS if f"{prefix}{au}" in row]
        told.update(columns)
        given = {au: row[f"{prefix}{au}"] for au in facs.ACTION_UNITS if row.get(f"{prefix}{au}") is not None}
        if given:
            unknown = [f"AU{name.removeprefix(prefix)}" for name in columns if row[name] is None]
            text = facs.describe(facs.parse(given)) + (f" (none for {', '.join(unknown)})" if unknown else "")
            lines.append(f"{title}: {text}")
    for au in facs.ACTION_UNITS:
        chain = [(part, row.get(f"au{au}_{part}")) for part in ("raw", "power", "scaled", "mapped")]
        told.update(f"au{au}_{part}" for part, _ in chain)
        chain = [
            (part, value) for part, value in [*chain, ("final", row.get(f"au{au}"))] if value is not None
        ]
        if len(chain) > 1 and any(value for _, value in chain):
            lines.append(f"AU{au}: " + " → ".join(f"{part} {_short(value)}" for part, value in chain))
    others = ((name, value) for name, value in row.items() if name not in told and value is not None)
    return lines + [f"{name}: {value if name in _WHOLE else _short(value)}" for name, value in others]


def _scale(setters: Sequence[Setter]) -> list[str]:
    return [
        f"AU{one.au} {one.step}: {one.end} {_short(one.value)} set by {one.sample_id or 'unknown'}"
        for one in setters
    ]


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
