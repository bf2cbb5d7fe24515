"""What rests on a sample, a file, a model or a run: labels, versions of the data set, models, scores.
Exposure: that something was made from it, not how much it changed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

import stages
from provenance.moments import Commit, Moment, UnknownMoment, of_run
from provenance.samples import RAW, UnknownSample, every, near
from provenance.trainings import Training, trainings
from store import MissingTable, Store

LAST, STATISTICS, TRAINED = "training_set", "au_statistics", "trained_model"
MOST = 50
"""Samples of a file whose trainings are looked up one by one."""


@dataclass(frozen=True)
class Scale:
    """An end of the scale of an AU that a sample sets, and how many labels are corrected with it."""

    au: int
    step: str
    end: str
    sample_id: str
    labels: int


@dataclass(frozen=True)
class Holds:
    """Rows of one table that rest on what was asked about: how many of how many, and its version."""

    stage: str
    version: int
    rows: int
    of: int


@dataclass(frozen=True)
class Impact:
    """What rests on `said`, which is a `kind`: "sample", "file", "model", "run".

    samples: those that are meant. holds: tables of now with rows of it. versions: those of the training set
    that have or had it. scales: ends of scales that its samples set, by which labels of others are corrected.
    duplicates: samples left out because they repeat it. trainings: models made from it, by experiment.
    tables: all versions of all tables that were made from it, directly or not.
    """

    said: str
    kind: str
    samples: tuple[str, ...] = ()
    holds: tuple[Holds, ...] = ()
    versions: tuple[int, ...] = ()
    scales: tuple[Scale, ...] = ()
    duplicates: tuple[str, ...] = ()
    trainings: tuple[Training, ...] = ()
    tables: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def impact(store: Store, said: str, at: str | None = None) -> Impact:
    """What rests on the sample, file, model or run that `said` names.

    A sample by its id or hash; a file by path or name, also a list or label file whose lines samples come
    from; a model by its name, its fingerprint, a trained model's key or hash, or an experiment; a run by its
    id. Raises UnknownSample, naming what is near, for none of these.
    """
    moment = Moment(store, at)
    if found := every(moment, said):
        kind = "sample" if found[0] in ("id", "content hash") else "file"
        return _of_samples(moment, said, kind, found[1])
    if samples := _listed(moment, said):
        return _of_samples(moment, said, "file", samples)
    if (answered := list(_answered(moment, said))) or (trained := _trained(moment, said)):
        return _of_model(moment, said, answered, [] if answered else trained)
    try:
        commits = of_run(store, said) if len(said) >= 4 else []
    except UnknownMoment as error:
        raise UnknownSample(str(error)) from None
    if commits:
        return _of_commits(moment, said, "run", commits)
    raise UnknownSample(
        f"nothing in {store.home} is called {said!r}: no sample, file, model or run{near(moment, said)}"
    )


def forward(moment: Moment, roots: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    """All versions of all tables that were made from the versions `roots`, themselves included."""
    children: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for stage in moment.store.stages():
        for commit in moment.history(stage):
            for used in commit.upstream.items():
                children.setdefault(used, []).append((stage, commit.version))
    seen, waiting = set(), list(roots)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += children.get(node, [])
    tables: dict[str, list[int]] = {}
    for stage, version in sorted(seen):
        tables.setdefault(stage, []).append(version)
    return {stage: tuple(versions) for stage, versions in tables.items()}


def _of_samples(moment: Moment, said: str, kind: str, samples: list[str]) -> Impact:
    mine = pl.col("sample_id").is_in(samples)
    names = [one.name for one in stages.STAGES if one.group == stages.Group.DATA_SET]
    edits = [one.name for one in stages.STAGES if "source_id" in one.columns]
    holds = (*_holds(moment, names, mine), *_holds(moment, edits, pl.col("source_id").is_in(samples)))
    versions, roots = [], []
    for commit in moment.history(LAST):
        try:
            rows = moment.at(LAST, commit.version, mine & pl.col("keep"), ["sample_id"])
        except MissingTable:  # a version that was pruned
            continue
        if rows.height:
            versions.append(commit.version)
            roots.append((LAST, commit.version))
    trained: dict[str, Training] = {}
    for sample in samples[:MOST]:
        trained |= {one.key: one for one in trainings(moment, sample)}
    repeats = moment.where(LAST, pl.col("duplicate_of").is_in(samples) & ~pl.col("keep"), ["sample_id"])
    scales = tuple(_scales(moment, set(samples)))
    if scales and (version := moment.version(STATISTICS)) is not None:
        roots.append((STATISTICS, version))
    return Impact(
        said,
        kind,
        tuple(samples),
        holds,
        tuple(sorted(versions)),
        scales,
        () if repeats is None else tuple(repeats["sample_id"].sort()),
        tuple(trained.values()),
        forward(moment, roots),
    )


def _listed(moment: Moment, said: str) -> list[str]:
    """The samples that come from the lines of a list, or the frames of a film."""
    name = said.rstrip("/").rpartition("/")[2]
    origin = pl.col("origin")
    found: list[str] = []
    for stage in RAW:
        rows = moment.where(
            stage, origin.str.starts_with(f"{name}:") | origin.str.starts_with(f"{name}#"), ["sample_id"]
        )
        found += [] if rows is None else rows["sample_id"].to_list()
    return found


def _holds(moment: Moment, names: Iterable[str], which: pl.Expr) -> Iterator[Holds]:
    for stage in names:
        if (commit := moment.commit(stage)) is None:
            continue
        needed = which.meta.root_names()
        if not set(needed) <= moment.columns(stage, commit.version):
            continue  # a table that is not about samples, or asks no model
        rows = moment.where(stage, which, needed[:1])
        if rows is not None and rows.height:
            yield Holds(stage, commit.version, rows.height, int(commit.metadata.get("rows", 0)))


def _scales(moment: Moment, samples: set[str]) -> Iterator[Scale]:
    rows = moment.where(STATISTICS, pl.lit(True))
    for row in [] if rows is None else rows.to_dicts():
        for end in ("minimum", "maximum"):
            if row[f"{end}_sample_id"] in samples:
                column = f"au{row['au']}"
                kept = moment.where("au_corrections", pl.col("keep") & pl.col(column).is_not_null(), [column])
                labels = 0 if kept is None else kept.height
                yield Scale(row["au"], row["step"], end, row[f"{end}_sample_id"], labels)


def _answered(moment: Moment, said: str) -> Iterator[Holds]:
    """Tables of now with answers of the model that has that name or fingerprint."""
    names = [
        table
        for stage in stages.STAGES
        if "fingerprint" in stage.columns
        for table in (moment.store.stages(stage.name) if stage.per_experiment else [stage.name])
    ]
    yield from _holds(moment, names, (pl.col("model") == said) | (pl.col("fingerprint") == said))


def _trained(moment: Moment, said: str) -> list[Commit]:
    """The trained models of that experiment, key or hash, at whatever version."""
    found = []
    for stage in moment.store.stages(TRAINED):
        for commit in moment.history(stage):
            try:
                row = moment.at(stage, commit.version, pl.lit(True)).row(0, named=True)
            except MissingTable:
                continue
            if said in (row["experiment"], row["key"], row["model_hash"]):
                found.append(commit)
    return found


def _of_model(moment: Moment, said: str, holds: list[Holds], trained: list[Commit]) -> Impact:
    if trained:
        return _of_commits(moment, said, "model", trained)
    tables = forward(moment, [(one.stage, one.version) for one in holds])
    versions = tables.get(LAST, ())
    return Impact(said, "model", holds=tuple(holds), versions=versions, tables=tables)


def _of_commits(moment: Moment, said: str, kind: str, commits: list[Commit]) -> Impact:
    tables = forward(moment, [(one.stage, one.version) for one in commits])
    holds = tuple(
        Holds(one.stage, one.version, int(one.metadata.get("rows", 0)), int(one.metadata.get("rows", 0)))
        for one in sorted(commits, key=lambda one: one.timestamp)
    )
    return Impact(said, kind, holds=holds, versions=tables.get(LAST, ()), tables=tables)
