"""The data set as a whole: its funnel, how its labels are spread, what moved between versions. Pure polars.

One sample's story is told by `provenance`; here samples are only counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import polars as pl

import facs
import stages
from evaluation import funnel
from store import Store

TABLE = "training_set"
EDGES = tuple(np.arange(0, 5.01, 0.5).tolist())
"""Of the histograms of intensities; the last bin takes what lies above."""
ACTIVE = 1.0
"""From this intensity an AU counts as there."""


@dataclass(frozen=True)
class Version:
    """A version of the training set: when it was written, by which run, with how many rows."""

    number: int
    time: datetime
    run: str
    rows: int

    @property
    def told(self) -> str:
        """ "3 · 2026-03-01 12:00 · 1,650 rows"."""
        return f"{self.number} · {self.time:%Y-%m-%d %H:%M} · {self.rows:,} rows"


@dataclass(frozen=True)
class Spread:
    """How an AU's intensities are spread: counts by EDGES, mean, and the share of samples that have it."""

    au: int
    counts: tuple[int, ...]
    mean: float | None
    active: float | None
    known: int


@dataclass(frozen=True)
class Drift:
    """How an AU moved from one version to another: means and shares of active samples of both, and the
    largest difference of their distribution functions (Kolmogorov-Smirnov), 0-1; null where a version has no
    value."""

    au: int
    mean: tuple[float | None, float | None]
    active: tuple[float | None, float | None]
    distance: float | None


@dataclass(frozen=True)
class Change:
    """What differs between two versions: samples that came and went, that moved, and each AU's drift."""

    came: int
    went: int
    stayed: int
    relabelled: int
    by_reason: tuple[tuple[str, int], ...]
    drifts: tuple[Drift, ...]


def counts(store: Store) -> pl.DataFrame:
    """Rows kept and dropped by each stage of the funnel that is written, a source at a time."""
    return funnel.counts(_tables(store))


def reasons(store: Store) -> pl.DataFrame:
    """How often each reason dropped a row, by source and stage."""
    return funnel.reasons(_tables(store))


def _tables(store: Store) -> dict[str, pl.DataFrame]:
    columns = ["source", "keep", "reason_code"]
    written = (name for name in stages.FUNNEL if store.version(name) is not None)
    return {name: store.read(name, columns=columns) for name in written}


def spreads(labels: pl.DataFrame) -> list[Spread]:
    """An AU each, over rows of the training set; samples without a label of it are left out."""
    return [
        _spread(au, labels[column].drop_nulls())
        for au, column in zip(facs.ACTION_UNITS, facs.COLUMNS, strict=True)
    ]


def _spread(au: int, values: pl.Series) -> Spread:
    bins = [
        int(((values >= low) & ((values < high) if high < EDGES[-1] else True)).sum())
        for low, high in pairwise(EDGES)
    ]
    active = (values >= ACTIVE).mean()
    return Spread(au, tuple(bins), _float(values.mean()), _float(active), len(values))


def versions(store: Store) -> list[Version]:
    """Every version of the training set, newest first."""
    if store.version(TABLE) is None:
        return []
    return [
        Version(
            entry["version"],
            entry["timestamp"],
            entry["metadata"].get("run_id", ""),
            int(entry["metadata"].get("rows", 0)),
        )
        for entry in store.history(TABLE)
    ]


def labels(store: Store, version: int | None = None, source: str | None = None) -> pl.DataFrame:
    """The kept rows of a version of the training set: sample_id, source, split, au1 … au26."""
    columns = ["sample_id", "source", "split", "keep", "reason_code", *facs.COLUMNS]
    table = store.read(TABLE, version, columns=columns).filter("keep")
    return table if source is None else table.filter(source=source)


def change(store: Store, before: int, after: int) -> Change:
    """What differs between two versions of the training set."""
    old, new = labels(store, before), labels(store, after)
    both = old.join(new, on="sample_id", suffix="_after")
    moved = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_after")) for name in facs.COLUMNS)
    gone = old.join(new, on="sample_id", how="anti").select("sample_id")
    now = store.read(TABLE, after, columns=["sample_id", "reason_code"])
    why = gone.join(now, on="sample_id", how="left").group_by(
        pl.col("reason_code").fill_null("before the training set")
    )
    by_reason = why.len().sort("len", descending=True).iter_rows()
    return Change(
        came=new.join(old, on="sample_id", how="anti").height,
        went=gone.height,
        stayed=both.height,
        relabelled=int(both.select(moved.sum()).item()),
        by_reason=tuple((str(code), int(count)) for code, count in by_reason),
        drifts=tuple(drifts(old, new)),
    )


def drifts(old: pl.DataFrame, new: pl.DataFrame) -> list[Drift]:
    """An AU each: how its intensities moved from one table to another."""
    found = []
    for before, after, column in zip(spreads(old), spreads(new), facs.COLUMNS, strict=True):
        distance = _distance(old[column].drop_nulls(), new[column].drop_nulls())
        found.append(Drift(before.au, (before.mean, after.mean), (before.active, after.active), distance))
    return found


def _distance(old: pl.Series, new: pl.Series) -> float | None:
    """The largest difference of two empirical distribution functions."""
    if old.is_empty() or new.is_empty():
        return None
    a, b = np.sort(old.to_numpy()), np.sort(new.to_numpy())
    every = np.unique(np.concatenate([a, b]))
    below = [np.searchsorted(values, every, side="right") / len(values) for values in (a, b)]
    return float(np.abs(below[0] - below[1]).max())


def _float(value: Sequence | object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]
