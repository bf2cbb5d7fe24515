"""The trainings that had a sample, how often each drew it, and the scores of what came out."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from provenance.moments import Commit, Moment
from store import Store, file_system

MODELS, RESULTS, DRAWS, JOB = "trained_model", "results", "draws.parquet", "job.json"
EDITORS, EDITED = "trained_editors", "edit_results"
TRAINED_ON = "train"


@dataclass(frozen=True)
class Score:
    """A measure of an experiment with its 95 % interval."""

    judge: str | None
    kind: str
    metric: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Training:
    """One trained model and the experiments that use it, or the editor that it is, whose `table` says so.

    split: the part of the training set that the sample was in: of "train" it was trained on, of "validation"
    only its loss was watched. drawn: how often it was drawn, null where the training did not note it; it then
    was at least `least` and at most `most` times. `samples` is how many were trained on, `training_set` the
    version of that table.
    """

    key: str
    experiments: tuple[str, ...]
    method: str
    model_hash: str | None
    steps: int
    samples: int | None
    split: str
    drawn: int | None
    least: int | None
    most: int | None
    training_set: int
    timestamp: datetime
    run_id: str | None
    scores: dict[str, tuple[Score, ...]]
    table: str = MODELS


def trainings(moment: Moment, sample_id: str) -> Iterable[Training]:
    """Every training behind the experiments and editors of this moment that had the sample; by the
    experiment's name, then as the profile names editors."""
    found: dict[str, list[tuple[str, dict[str, Any], Commit, str]]] = {}
    splits: dict[tuple[int | None, int | None], str | None] = {}
    for stage in experiments(moment.store, MODELS):
        commit = moment.commit(stage)
        if commit is None or (used := commit.upstream.get("training_set")) is None:
            continue
        versions = used, commit.upstream.get("latents")
        if versions not in splits:
            splits[versions] = _split(moment, sample_id, *versions)
        split = splits[versions]
        rows = moment.where(stage, pl.lit(True)) if split else None
        row = rows.row(0, named=True) if rows is not None and rows.height else None
        if split and row and row["key"]:
            found.setdefault(row["key"], []).append((stage.partition("/")[2], row, commit, split))
    for models in found.values():
        names = tuple(name for name, *_ in models)
        _, row, commit, split = models[0]
        measured = {name: scores(moment, name) for name in names}
        yield _training(moment, sample_id, names, row, commit, split, measured, MODELS)
    yield from _editors(moment, sample_id)


def _editors(moment: Moment, sample_id: str) -> Iterable[Training]:
    """The trainings of editors that had the sample; who edits with an experiment's adapter has none."""
    commit = moment.commit(EDITORS)
    if commit is None or (used := commit.upstream.get("training_set")) is None:
        return
    if (split := _split(moment, sample_id, used, None)) is None:
        return
    settings = commit.settings.get("editing.editors", {})
    for row in moment.at(EDITORS, commit.version, pl.col("folder").is_not_null()).to_dicts():
        name = row["editor"]
        if "experiment" in settings.get(name, {}):
            continue
        measured = {name: _scores(moment, EDITED, (pl.col("editor") == name) & (pl.col("strength") == 1))}
        yield _training(moment, sample_id, (name,), row, commit, split, measured, EDITORS)


def _training(
    moment: Moment,
    sample_id: str,
    names: tuple[str, ...],
    row: dict[str, Any],
    commit: Commit,
    split: str,
    measured: dict[str, tuple[Score, ...]],
    table: str,
) -> Training:
    """The training that `row` of `table` tells of, which had the sample in `split` of its training set."""
    key = row["key"]
    drawn = _drawn(moment.store, key, sample_id) if split == TRAINED_ON else 0
    least, most = _bounds(moment.store, key, row) if split == TRAINED_ON else (0, 0)
    return Training(
        key,
        names,
        row["method"],
        row["model_hash"],
        row["steps"],
        row["samples"],
        split,
        drawn,
        least,
        most,
        commit.upstream["training_set"],
        commit.timestamp,
        commit.run_id,
        measured,
        table,
    )


def experiments(store: Store, stage: str) -> list[str]:
    """The tables of a stage that has one an experiment."""
    return store.stages(stage)


def scores(moment: Moment, experiment: str) -> tuple[Score, ...]:
    """What was measured of an experiment, where there are results."""
    return _scores(moment, RESULTS, pl.col("experiment") == experiment)


def _scores(moment: Moment, table: str, which: pl.Expr) -> tuple[Score, ...]:
    rows = moment.where(table, which)
    if rows is None:
        return ()
    return tuple(
        Score(row.get("judge"), row["kind"], row["metric"], row["value"], row["low"], row["high"])
        for row in rows.to_dicts()
    )


def _split(moment: Moment, sample_id: str, training_set: int, latents: int | None) -> str | None:
    """The split of the sample in that version of the training set, if it has latents in that of theirs."""
    mine = pl.col("sample_id") == sample_id
    rows = moment.at("training_set", training_set, mine & pl.col("keep"), ["split"])
    if rows.is_empty() or rows["split"][0] not in (TRAINED_ON, "validation"):
        return None
    if latents is not None:
        places = moment.at("latents", latents, mine, ["file"])
        if places["file"].drop_nulls().is_empty():
            return None
    return rows["split"][0]


def _drawn(store: Store, key: str, sample_id: str) -> int | None:
    path = store.home / "files" / "adapters" / key / "output" / DRAWS
    if not file_system.local(path).is_file():
        return None
    rows = pl.scan_parquet(path, glob=False).filter(pl.col("sample_id") == sample_id).collect()
    return int(rows["draws"][0]) if rows.height else 0


def _bounds(store: Store, key: str, row: dict[str, Any]) -> tuple[int | None, int | None]:
    """How often each sample is drawn: an epoch is a permutation, so the numbers differ by one at most."""
    try:
        job = json.loads(file_system.read(store.home / "files" / "adapters" / key / JOB))
        drawn = int(row["steps"]) * int(job["train"]["batch_size"])
        return drawn // row["samples"], -(-drawn // row["samples"])
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
        return None, None
