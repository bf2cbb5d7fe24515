"""Why a sample is what it is: its row in every stage, the commits that wrote them, the samples that set its
scale, as data. Its words are `provenance.story`.

What a sample reached, and how two versions differ, are other questions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

import facs
import stages
from curation import acceptances, overrides
from store import MissingTable, Store

READINGS, STATISTICS, OVERRIDES, LAST = "au_annotation", "au_statistics", "overrides", "training_set"


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
class Knot:
    """A reading and what it becomes in a calibrated map: of `samples` labelled frames pooled here, whose
    labels reach from `minimum` to `maximum`; an anchor of none."""

    reading: float
    intensity: float
    samples: int
    minimum: float | None
    maximum: float | None
    minimum_sample_id: str | None
    maximum_sample_id: str | None


@dataclass(frozen=True)
class Map:
    """Of an AU's calibrated map the knots between which the sample's reading lies; none where it was fitted
    to `samples` frames without a positive, so that readings stay as they are."""

    au: int
    samples: int
    knots: tuple[Knot, ...]


@dataclass(frozen=True)
class Step:
    """A sample at one stage. `version` is None when the table was never written; `row` is None when the
    table has no row of the sample. `metadata` is that of the commit, `stale` names the inputs that have
    newer versions now, `labels` are the overrides people gave, `acceptances` the failed checks of
    that version that they accepted, oldest first."""

    stage: str
    version: int | None = None
    timestamp: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    row: Mapping[str, Any] | None = None
    setters: Sequence[Setter] = ()
    maps: Sequence[Map] = ()
    stale: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    labels: Sequence[Mapping[str, Any]] = ()
    acceptances: Sequence[Mapping[str, Any]] = ()

    @property
    def model(self) -> str | None:
        """The model behind the row as its table names it, if one was asked."""
        return (self.row or {}).get("model") or self.metadata.get("model")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that the table was made with."""
        return _parsed(self.metadata.get("settings"))


@dataclass(frozen=True)
class Verdict:
    """Whether a sample is trained on, and by which stage that was settled: `keep` is None for one that
    reached the end of what is written so far. `reason_*` and `model` are those of the stage."""

    keep: bool | None
    stage: str
    reason_code: str | None = None
    reason_detail: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Trail:
    """The steps of a sample, first to last."""

    sample_id: str
    steps: tuple[Step, ...]

    @property
    def dropped(self) -> Step | None:
        """The step at which the sample was dropped, None if it was not."""
        return next((step for step in self.steps if step.row and step.row.get("keep") is False), None)

    @property
    def verdict(self) -> Verdict:
        """Kept or dropped, and by what."""
        seen = [step for step in self.steps if step.row]
        last = self.dropped or next((step for step in seen if step.stage == LAST), seen[-1])
        row = last.row or {}
        keep = False if self.dropped else True if last.stage == LAST else None
        return Verdict(keep, last.stage, row.get("reason_code"), row.get("reason_detail"), last.model)

    def __getitem__(self, stage: str) -> Step:
        for step in self.steps:
            if step.stage == stage:
                return step
        raise KeyError(stage)

    def as_json(self) -> str:
        """All of it, for machines."""
        steps = [asdict(step) | {"settings": step.settings} for step in self.steps]
        told = {"sample_id": self.sample_id, "verdict": asdict(self.verdict), "steps": steps}
        return json.dumps(told, indent=2, default=str)


def why(store: Store, sample_id: str, versions: Mapping[str, int] | None = None) -> Trail:
    """The trail of `sample_id` through the stages of its source.

    Every stage is read at its latest version, or at the one `versions` gives; a stage given there also pins
    the versions that its commit names as its inputs (metadata `upstream`, a JSON object of stage to
    version), so `{"training_set": 3}` explains the labels a model of that version saw. Missing tables and
    missing rows are steps too. Raises UnknownSample if no table has the sample, MissingTable for a version
    that does not exist.
    """
    order = stages_of(sample_id)
    pinned = _pin(store, order, dict(versions or {}))
    steps: tuple[Step, ...] = ()
    for stage in order:
        readings = next((step.row for step in steps if step.stage == READINGS), None)
        steps += (_step(store, stage, sample_id, pinned.get(stage), readings or {}),)
    if not any(step.row for step in steps):
        looked = [step.stage for step in steps if step.version is not None] or [
            "none, no stage is written yet"
        ]
        raise UnknownSample(
            f"no stage of {store.home} has the sample {sample_id!r}; looked in {', '.join(looked)}"
        )
    raw = {stage for stage in order if stage.startswith("raw_")}
    if any(step.stage in raw for step in steps if step.row):
        steps = tuple(step for step in steps if step.stage not in raw or step.row)
    return Trail(sample_id, steps)


def stages_of(sample_id: str) -> tuple[str, ...]:
    """The stages that may have a row of this sample, in order, by the source its id begins with; all of them
    for an unknown source."""
    source = sample_id.split("/")[0]
    return tuple(
        stage.name
        for stage in stages.STAGES
        if stage.group == stages.Group.DATA_SET
        and (source in stage.sources or source not in stages.SOURCES)
        and ({"sample_id", "keep"} <= set(stage.columns) or stage.name == STATISTICS)
    )


def _pin(store: Store, order: Sequence[str], pinned: dict[str, int]) -> dict[str, int]:
    for stage in reversed(order):
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
    found = _parsed(metadata.get("upstream"))
    return {stage: version for stage, version in found.items() if isinstance(version, int)}


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


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
    row: dict[str, Any] | None = None
    setters: tuple[Setter, ...] = ()
    maps: tuple[Map, ...] = ()
    if stage == STATISTICS:
        statistics = store.read(stage, version)
        mapping = pl.col("step").is_in(["knot", "identity"])
        setters = tuple(_setters(statistics.filter(~mapping)))
        maps = tuple(_maps(statistics.filter(mapping), readings))
    else:
        rows = store.read_where(stage, pl.col("sample_id") == sample_id, version)
        row = rows.row(0, named=True) if rows.height else None
    labels = _labels(store, stage, sample_id)
    accepted = _acceptances(store, stage, entry["metadata"])
    return Step(
        stage, version, entry["timestamp"], entry["metadata"], row, setters, maps, stale, labels, accepted
    )


def _acceptances(store: Store, stage: str, metadata: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
    """The failed checks of a version that people accepted, oldest first."""
    if store.version(acceptances.TABLE) is None:
        return ()
    contents = [metadata[name] for name in ("content_hash", "data_version") if name in metadata]
    mine = (pl.col("stage") == stage) & pl.col("content").is_in(contents)
    return tuple(store.read_where(acceptances.TABLE, mine).sort("time").to_dicts())


def _labels(store: Store, stage: str, sample_id: str) -> tuple[Mapping[str, Any], ...]:
    if store.version(OVERRIDES) is None:
        return ()
    mine = (pl.col("sample_id") == sample_id) & (pl.col("stage") == stage)
    return tuple(overrides.complete(store.read_where(OVERRIDES, mine)).to_dicts())


def _setters(statistics: pl.DataFrame) -> list[Setter]:
    setters = []
    for row in statistics.iter_rows(named=True):
        for end in ("minimum", "maximum"):
            value, sample = row.get(end), row.get(f"{end}_sample_id")
            if value is not None:
                setters.append(Setter(_au(row["au"]), row.get("step") or "", end, value, sample))
    return setters


def _maps(maps: pl.DataFrame, readings: Mapping[str, Any]) -> list[Map]:
    found = []
    for au in facs.ACTION_UNITS:
        value, knots = readings.get(f"au{au}"), maps.filter(au=au)
        if value is None or knots.is_empty():
            continue
        samples = int(knots["samples"].sum())
        if knots["step"][0] == "identity":
            found.append(Map(au, samples, ()))
            continue
        knots = knots.sort("reading")
        above = int((knots["reading"] <= value).sum())
        around = knots[max(0, above - 1) : above + 1].select(list(Knot.__dataclass_fields__))
        found.append(Map(au, samples, tuple(Knot(**knot) for knot in around.iter_rows(named=True))))
    return found


def _au(value: Any) -> int:
    return facs.number(value) if isinstance(value, str) else int(value)
