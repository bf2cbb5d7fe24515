"""Why a sample is what it is: its row in every stage, every step from reading to label, the models and
settings behind them, the trainings that had it. As data; its words are `provenance.story`.

What it reached besides, what would be otherwise, and how two versions differ, are other questions.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

import facs
import stages
from curation import overrides
from curation.forgotten import TABLE as TOMBSTONES
from curation.forgotten import sample_hash
from provenance import values as labels_of
from provenance.moments import Commit, Moment
from provenance.samples import RAW, UnknownSample, find
from provenance.trainings import Training, trainings
from provenance.values import Value
from reasons import Reason
from store import Store, hash_file

__all__ = ["Step", "Trail", "UnknownSample", "Verdict", "why"]

READINGS, STATISTICS, CORRECTIONS, OVERRIDES = "au_annotation", "au_statistics", "au_corrections", "overrides"
ACCEPTANCES, MODELS, MEMBERS, LAST = "acceptances", "models", "archive_members", "training_set"
_MEMBER = re.compile(r"(.+)-(\d+)-[0-9A-Fa-f]*-\d+-\d+-\d+")
"""The key of a member in its memo: name, bytes, checksum, and how it was judged."""


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
class Model:
    """Who answered: its name, the fingerprint of all that decides its answers, what that is made of (weights,
    id and revision, precision, code), and the packages that it ran with. The last two are empty where it was
    asked before they were noted."""

    name: str | None
    fingerprint: str | None
    parts: Mapping[str, Any] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """A sample at one stage. `version` is None when the table was never written; `row` is None when the
    table has no row of the sample. `metadata` is that of the commit, `stale` names the inputs that have
    newer versions now, `labels` are the overrides people gave, oldest first, `acceptances` what people
    accepted of this version of the table."""

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
    answered: Model | None = None

    @property
    def model(self) -> str | None:
        """The model behind the row as its table names it, if one was asked."""
        return (self.row or {}).get("model") or self.metadata.get("model")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that the table was made with."""
        return Commit(self.stage, -1, datetime.min, self.metadata).settings


@dataclass(frozen=True)
class Verdict:
    """Whether a sample is trained on, and by which stage that was settled.

    state: "kept", "dropped", or "unsettled" for one that reached the end of what is written so far; "gone"
    for one that only older versions have. `reason_*` and `model` are those of the stage.
    """

    state: Literal["kept", "dropped", "unsettled", "gone", "forgotten"]
    stage: str
    reason_code: str | None = None
    reason_detail: str | None = None
    model: str | None = None
    split: str | None = None

    @property
    def keep(self) -> bool | None:
        """None where that is not settled."""
        return {"kept": True, "dropped": False}.get(self.state)


@dataclass(frozen=True)
class Member:
    """The member of an archive that a picture was unpacked from: its name there and its unpacked bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Earlier:
    """What a version of the training set says of the sample: the verdict, and its intensities by AU."""

    version: int
    timestamp: datetime
    run_id: str | None
    verdict: Verdict
    intensities: Mapping[str, float | None]


@dataclass(frozen=True)
class Trail:
    """The life of a sample: `steps`, first to last; `values`, an AU each, from reading to label; `trainings`
    that had it, and what followed.

    at: the moment, in words. found_by: what it was looked up by. member: where it lay in an archive. earlier:
    what former versions of the training set say of it, newest first, where that was asked for. tombstone:
    what is kept of one that was forgotten, which has no steps. gone: whether only older versions than those
    asked for have it.
    """

    sample_id: str
    steps: tuple[Step, ...]
    values: tuple[Value, ...] = ()
    trainings: tuple[Training, ...] = ()
    at: str = "now"
    found_by: str = "id"
    member: Member | None = None
    earlier: tuple[Earlier, ...] = ()
    gone: bool = False
    tombstone: Mapping[str, Any] | None = None

    @property
    def dropped(self) -> Step | None:
        """The step at which the sample was dropped, None if it was not."""
        return next((step for step in self.steps if step.row and step.row.get("keep") is False), None)

    @property
    def verdict(self) -> Verdict:
        """Kept or dropped, and by what."""
        if self.tombstone is not None:
            who = f"{self.tombstone['author']} on {self.tombstone['time']:%Y-%m-%d}"
            return Verdict("forgotten", TOMBSTONES, Reason.FORGOTTEN, f"{who}: {self.tombstone['reason']}")
        seen = [step for step in self.steps if step.row]
        last = self.dropped or next((step for step in seen if step.stage == LAST), seen[-1])
        row = last.row or {}
        state: Literal["kept", "dropped", "unsettled", "gone", "forgotten"]
        if self.gone:
            state = "gone"
        elif self.dropped:
            state = "dropped"
        else:
            state = "kept" if last.stage == LAST else "unsettled"
        return Verdict(
            state, last.stage, row.get("reason_code"), row.get("reason_detail"), last.model, row.get("split")
        )

    def __getitem__(self, stage: str) -> Step:
        for step in self.steps:
            if step.stage == stage:
                return step
        raise KeyError(stage)

    def as_dict(self) -> dict[str, Any]:
        """All of it, as plain values."""
        verdict = asdict(self.verdict) | {"keep": self.verdict.keep}
        steps = [asdict(step) | {"settings": step.settings} for step in self.steps]
        return {"sample_id": self.sample_id, "verdict": verdict, **asdict(self), "steps": steps}

    def as_json(self) -> str:
        """All of it, for machines."""
        return json.dumps(self.as_dict(), indent=2, default=str)


def why(
    store: Store,
    said: str,
    at: str | int | datetime | Moment | None = None,
    *,
    aus: Iterable[int] | None = None,
    history: bool = False,
) -> Trail:
    """The trail of the sample that `said` names (its id, the path or name of its file, a content hash)
    through the stages of its source, at a moment (`provenance.moments`).

    `aus` leaves out all other AUs' values; `history` also tells what every version of the training set said.
    Missing tables and missing rows are steps too. A sample that only older versions have is told as the
    newest of them has it. Raises UnknownSample, naming what is near, UnknownMoment, and MissingTable for a
    version that is not kept.
    """
    moment = at if isinstance(at, Moment) else Moment(store, at)
    gone = False
    try:
        found = find(moment, said)
    except UnknownSample:
        if (tombstone := _tombstone(moment, said)) is not None:
            return Trail(said, (), at=moment.told, tombstone=tombstone)
        if (older := _last_seen(moment, said)) is None:
            raise
        moment, found, gone = *older, True
    trail = _trail(moment, found.sample_id)
    wanted = None if aus is None else set(aus)
    return replace(
        trail,
        values=tuple(value for value in trail.values if wanted is None or value.au in wanted),
        trainings=tuple(trainings(moment, found.sample_id)),
        at=moment.told,
        found_by=found.by,
        member=_member(store, trail),
        earlier=tuple(_earlier(moment, found.sample_id)) if history else (),
        gone=gone,
    )


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


def _trail(moment: Moment, sample_id: str) -> Trail:
    steps: tuple[Step, ...] = ()
    said = {table: _said(moment, table, sample_id) for table in (OVERRIDES, ACCEPTANCES)}
    for stage in stages_of(sample_id):
        readings = next((step.row for step in steps if step.stage == READINGS), None)
        steps += (_step(moment, stage, sample_id, readings or {}, said),)
    raw = {step.stage for step in steps if step.stage.startswith("raw_")}
    if any(step.stage in raw for step in steps if step.row):
        steps = tuple(step for step in steps if step.stage not in raw or step.row)
    steps = _with_models(moment.store, steps)
    statistics = next((step for step in steps if step.stage == STATISTICS), Step(STATISTICS))
    scales = moment.where(STATISTICS, pl.lit(True)) if statistics.version is not None else None
    rows = {step.stage: step for step in steps}
    return Trail(sample_id, steps, values=labels_of.values(rows, scales))


def _tombstone(moment: Moment, said: str) -> dict[str, Any] | None:
    """What is kept of a sample that was forgotten, by its id, its picture's hash, or its picture."""
    if not moment.history(TOMBSTONES):
        return None
    path = Path(said).expanduser()
    content = hash_file(path) if path.is_file() else said
    mine = (pl.col("sample_hash") == sample_hash(said)) | pl.col("content_hashes").list.contains(content)
    rows = moment.at(TOMBSTONES, moment.history(TOMBSTONES)[0].version, mine)
    return rows.sort("time").row(-1, named=True) if rows.height else None


def _last_seen(moment: Moment, said: str) -> tuple[Moment, Any] | None:
    """The newest moment before this one that had the sample, and what was found."""
    versions = [(one.timestamp, stage, one.version) for stage in RAW for one in moment.history(stage)]
    for _, stage, version in sorted(versions, reverse=True):
        now = moment.version(stage)
        if now is None or version >= now:
            continue
        older = Moment(moment.store, f"{stage}@{version}")
        try:
            return older, find(older, said)
        except LookupError:
            continue
    return None


def _earlier(moment: Moment, sample_id: str) -> Iterable[Earlier]:
    for commit in moment.history(LAST):
        then = Moment(moment.store, f"{LAST}@{commit.version}")
        trail = _trail(then, sample_id)
        if not any(step.row for step in trail.steps):
            continue
        row = trail[LAST].row or {}
        intensities = {name: row.get(name) for name in facs.COLUMNS if name in row}
        yield Earlier(commit.version, commit.timestamp, commit.run_id, trail.verdict, intensities)


def _step(
    moment: Moment,
    stage: str,
    sample_id: str,
    readings: Mapping[str, Any],
    said: Mapping[str, pl.DataFrame],
) -> Step:
    commit = moment.commit(stage)
    if commit is None:
        return Step(stage)
    stale = {}
    for upstream, used in commit.upstream.items():
        newest = moment.history(upstream)[0].version if moment.history(upstream) else None
        if newest is not None and newest > used:
            stale[upstream] = (used, newest)
    row: dict[str, Any] | None = None
    setters: tuple[Setter, ...] = ()
    maps: tuple[Map, ...] = ()
    if stage == STATISTICS:
        statistics = moment.where(stage, pl.lit(True))
        assert statistics is not None
        mapping = pl.col("step").is_in(["knot", "identity"])
        setters = tuple(_setters(statistics.filter(~mapping)))
        maps = tuple(_maps(statistics.filter(mapping), readings))
    else:
        rows = moment.where(stage, pl.col("sample_id") == sample_id)
        row = rows.row(0, named=True) if rows is not None and rows.height else None
    return Step(
        stage,
        commit.version,
        commit.timestamp,
        commit.metadata,
        row,
        setters,
        maps,
        stale,
        tuple(said[OVERRIDES].filter(stage=stage).to_dicts()),
        _accepted(said[ACCEPTANCES], stage, commit.metadata),
    )


def _accepted(
    acceptances: pl.DataFrame, stage: str, metadata: Mapping[str, str]
) -> tuple[Mapping[str, Any], ...]:
    """Those of the version's content, whatever run came to it."""
    rows = acceptances.filter(stage=stage).to_dicts()
    contents = {metadata.get("content_hash"), metadata.get("data_version")}
    return tuple(row for row in rows if row.get("content") in contents)


def _said(moment: Moment, table: str, sample_id: str) -> pl.DataFrame:
    """What people wrote about this sample, or, where a table is not about samples, about stages; oldest
    first."""
    if not moment.history(table):
        return pl.DataFrame(schema={"stage": pl.String})
    latest = moment.history(table)[0].version
    if table == OVERRIDES:
        return overrides.complete(moment.at(table, latest, pl.col("sample_id") == sample_id))
    return moment.at(table, latest, pl.lit(True)).sort("time")


def _with_models(store: Store, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with what is known of the models behind their rows."""
    marks = {mark for step in steps if step.row and (mark := step.row.get("fingerprint"))}
    rows = store.memo(MODELS).read(pl.Series(sorted(marks), dtype=pl.String)) if marks else pl.DataFrame()
    known = {row["key"]: row for row in rows.to_dicts()}
    found = []
    for step in steps:
        row = step.row or {}
        if row.get("model") is None:
            found.append(step)
            continue
        noted = known.get(row.get("fingerprint"), {})
        parts, packages = (json.loads(noted.get(name) or "{}") for name in ("parts", "packages"))
        found.append(replace(step, answered=Model(row["model"], row.get("fingerprint"), parts, packages)))
    return tuple(found)


def _member(store: Store, trail: Trail) -> Member | None:
    """Of a picture out of an archive, which member it was: found by its content."""
    raw = trail.steps[0].row or {}
    if (
        raw.get("source") != "affectnet"
        or raw.get("file_kind") == "raw_affectnet"
        or not raw.get("content_hash")
    ):
        return None
    rows = store.memo(MEMBERS).where(pl.col("content_hash") == raw["content_hash"])
    listed = trail.sample_id.partition("/")[2]
    members = [Member(match[1], int(match[2])) for key in rows["key"] if (match := _MEMBER.fullmatch(key))]
    return next((one for one in members if one.name.endswith(listed)), members[0] if members else None)


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
