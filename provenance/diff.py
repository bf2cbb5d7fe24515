"""Two data sets, runs or experiments side by side: what `fineface diff` finds. How tables differ is said in
`provenance.difference`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from provenance import difference
from provenance.difference import Difference
from provenance.moments import Moment, UnknownMoment
from provenance.replay import READ
from settings import nearest
from store import Store

TRAINED, RESULTS = "trained_model", "results"


@dataclass(frozen=True)
class Setting:
    """A setting that differs, by its dotted name; null where one side has none."""

    name: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Answered:
    """A stage whose model differs: the names and fingerprints of those behind its rows."""

    stage: str
    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """A measure on both sides, with its interval; null where a side has none."""

    experiment: str
    judge: str | None
    kind: str
    metric: str
    first: float | None
    second: float | None
    first_interval: tuple[float | None, float | None]
    second_interval: tuple[float | None, float | None]


@dataclass(frozen=True)
class Sides:
    """What differs between `first` and `second`, as they were called. `data_set` is null where a side has no
    data set; `versions` are those tables whose version differs."""

    first: str
    second: str
    data_set: Difference | None
    settings: tuple[Setting, ...]
    models: tuple[Answered, ...]
    scores: tuple[Scored, ...]
    versions: Mapping[str, tuple[int | None, int | None]]


def diff(store: Store, first: str, second: str) -> Sides:
    """Two versions of the data set, runs, times (`provenance.moments`), or two experiments.

    Raises UnknownMoment for what is none of these, and for an experiment beside what is none.
    """
    experiments = [stage.partition("/")[2] for stage in store.stages(TRAINED)]
    named = [one for one in (first, second) if one in experiments]
    if len(named) == 2:
        return _experiments(store, first, second)
    if named:
        (other,) = {first, second} - set(named)
        raise UnknownMoment(
            f"{named[0]!r} is an experiment, {other!r} is none{nearest.hint(other, experiments)}: "
            "two experiments, or two versions, runs or times"
        )
    return _moments(Moment(store, first), Moment(store, second), first, second)


def _moments(old: Moment, new: Moment, first: str, second: str) -> Sides:
    names = old.store.stages()
    versions = {stage: (old.version(stage), new.version(stage)) for stage in names}
    moved = {stage: pair for stage, pair in versions.items() if pair[0] != pair[1]}
    told = [{stage: one.settings for stage in moved if (one := side.commit(stage))} for side in (old, new)]
    return Sides(
        f"{first} ({old.told})",
        f"{second} ({new.told})",
        _data_set(old, new),
        tuple(_settings(*(_by_name(settings) for settings in told))),
        tuple(_models(old, new, moved)),
        tuple(_scores(old.read(RESULTS), new.read(RESULTS))),
        moved,
    )


def _experiments(store: Store, first: str, second: str) -> Sides:
    now = Moment(store)
    commits = [now.commit(f"{TRAINED}/{name}") for name in (first, second)]
    told, moments = [], []
    for name, commit in zip((first, second), commits, strict=True):
        assert commit is not None
        settings = dict(commit.settings)
        settings |= settings.pop("experiments", {}).get(name, {})
        told.append(dict(_flat(settings)))
        used = commit.upstream.get("training_set")
        moments.append(now if used is None else Moment(store, f"training_set@{used}"))
    results = now.read(RESULTS)
    sides: list[pl.DataFrame | None] = [None, None]
    if results is not None:
        both = f"{first} | {second}"
        sides = [
            results.filter(experiment=name).with_columns(experiment=pl.lit(both)) for name in (first, second)
        ]
    names = sorted({stage for one in commits if one for stage in one.upstream})
    versions = {
        stage: (commits[0].upstream.get(stage), commits[1].upstream.get(stage))  # type: ignore[union-attr]
        for stage in names
    }
    models = []
    rows = [now.where(f"{TRAINED}/{name}", pl.lit(True)) for name in (first, second)]
    hashes = [
        (one["model_hash"][0] if one is not None and one.height else None) or "nothing trained"
        for one in rows
    ]
    if hashes[0] != hashes[1]:
        models = [Answered(TRAINED, (hashes[0],), (hashes[1],))]
    return Sides(
        first,
        second,
        _data_set(*moments),
        tuple(_settings(*told)),
        tuple(models),
        tuple(_scores(*sides)),
        {stage: pair for stage, pair in versions.items() if pair[0] != pair[1]},
    )


def _data_set(old: Moment, new: Moment) -> Difference | None:
    tables = []
    for side in (old, new):
        columns = {stage: side.read(stage) for stage in READ}
        tables.append({stage: table for stage, table in columns.items() if table is not None})
    if not all(difference.LAST in one for one in tables):
        return None
    return difference.compare(*tables)


def _by_name(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings of several stages by dotted name; most are the same in all that read them."""
    found: dict[str, Any] = {}
    for said in settings.values():
        found |= dict(_flat(said))
    return found


def _flat(said: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(said, Mapping) and said:
        for key, value in said.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(said, list) and said and all(isinstance(one, Mapping) and "au" in one for one in said):
        for one in said:
            yield from _flat(
                {key: value for key, value in one.items() if key != "au"}, f"{name}.AU{one['au']}"
            )
    else:
        yield name, said


def _settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Setting]:
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name):
            yield Setting(name, first.get(name), second.get(name))


def _models(old: Moment, new: Moment, stages: Mapping[str, Any]) -> Iterator[Answered]:
    for stage in stages:
        sides = [_answered(side, stage) for side in (old, new)]
        if sides[0] != sides[1] and all(sides):
            yield Answered(stage, *sides)


def _answered(side: Moment, stage: str) -> tuple[str, ...]:
    if side.version(stage) is None:
        return ()
    rows = side.where(stage, pl.lit(True))
    assert rows is not None
    if not {"model", "fingerprint"} <= set(rows.columns):
        return tuple(sorted(set(rows["model_hash"].drop_nulls()))) if "model_hash" in rows.columns else ()
    found = rows.select("model", "fingerprint").drop_nulls("model").unique().sort("model", "fingerprint")
    return tuple(f"{model} ({mark})" for model, mark in found.iter_rows())


def _scores(first: pl.DataFrame | None, second: pl.DataFrame | None) -> Iterator[Scored]:
    on = ["experiment", "judge", "kind", "metric"]
    given = [table for table in (first, second) if table is not None]
    if not given:
        return
    # Results of before there were two judges do not name theirs.
    nobody = pl.lit(None, dtype=pl.String).alias("judge")
    left, right = (
        table if "judge" in table.columns else table.with_columns(nobody)
        for table in (given[0].clear() if table is None else table for table in (first, second))
    )
    both = left.join(right, on=on, how="full", suffix="_after", coalesce=True, nulls_equal=True)
    for row in both.sort(*on).to_dicts():
        yield Scored(
            row["experiment"],
            row["judge"],
            row["kind"],
            row["metric"],
            row["value"],
            row["value_after"],
            (row["low"], row["high"]),
            (row["low_after"], row["high_after"]),
        )
