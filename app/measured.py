"""What the experiments measured, for the page of results: tables, leakage, fronts, pictures behind a cell.
Numbers come from `evaluation`; none is made here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

import facs
from evaluation import metrics, tables
from evaluation.metrics import MEASURED, Scores
from store import Store

CLIP = "clip"
"""The judge of likeness in `results`."""
SHOWN = 24
"""Pictures that are shown of a cell."""


@dataclass(frozen=True)
class Cell:
    """A number of the table of results: what it says in print, and what it is of."""

    experiment: str
    kind: str
    metric: str
    text: str
    best: bool = False


@dataclass(frozen=True)
class Point:
    """An experiment, or one guidance scale of it, on a front: how well faces follow, and what stays of them.

    error: AU-MSE prompted; likeness: CLIP-I to the no-AU partner. front: no other point is better in both.
    """

    experiment: str
    error: float
    likeness: float
    guidance: float | None = None
    chosen: bool = False
    front: bool = False


@dataclass(frozen=True)
class Pair:
    """A generated picture beside its no-AU partner: names of files, what was asked, and what was measured."""

    sample_id: str
    file: str | None
    partner: str | None
    prompt: str
    asked: str
    measured: str
    error: float | None


def experiments(store: Store) -> list[str]:
    """Those with measured pictures, sorted."""
    return [name.partition("/")[2] for name in store.stages("au_scores")]


def kinds(results: pl.DataFrame) -> list[str]:
    """The parts of the protocol that were measured, in order."""
    return results["kind"].unique(maintain_order=True).to_list()


def judges(results: pl.DataFrame) -> list[str]:
    """Who measured action units, in order."""
    return [name for name in results["judge"].unique(maintain_order=True) if name != CLIP]


def by(results: pl.DataFrame, judge: str) -> pl.DataFrame:
    """What one judge measured, and CLIP, which measures beside all of them."""
    return results.filter(pl.col("judge").is_in([judge, CLIP]))


def table(results: pl.DataFrame, kind: str) -> dict[str, list[Cell]]:
    """A row a metric of one part of the protocol, by one judge: a cell an experiment; the best of the row is
    marked."""
    part = results.filter(kind=kind)
    names = part["experiment"].unique(maintain_order=True).to_list()
    found = {(row["experiment"], row["metric"]): row for row in part.iter_rows(named=True)}
    rows = {}
    for metric, definition in tables.DEFINITIONS.items():
        values = {name: found[name, metric] for name in names if (name, metric) in found}
        if not values:
            continue
        known = {n: row["value"] for n, row in values.items() if row["value"] is not None}
        best = None
        if definition.better and len(known) > 1:
            best = (max if definition.better > 0 else min)(known.values())
        rows[metric] = [
            Cell(
                name, kind, metric, tables.format_estimate(metric, values.get(name)), known.get(name) == best
            )
            if best is not None and name in known
            else Cell(name, kind, metric, tables.format_estimate(metric, values.get(name)))
            for name in names
        ]
    return rows


def scores_of(store: Store, experiment: str, judge: str | None = None) -> pl.DataFrame | None:
    """The au_scores of an experiment by one judge (default: the first); None where it was not measured."""
    name = f"au_scores/{experiment}"
    if store.version(name) is None:
        return None
    scores = store.read(name)
    return scores.filter(judge=judge or scores["judge"][0]) if scores.height else None


def leakage(scores: pl.DataFrame) -> np.ndarray:
    """[12, 12] of `metrics.leakage`: rows asked, columns measured, of one judge's au_scores."""
    return metrics.leakage(Scores.of(scores.filter(kind="individual"), metrics.aus_read(scores)))


def front(results: pl.DataFrame, kind: str) -> list[Point]:
    """A point an experiment: AU-MSE prompted, by one judge, against CLIP-I, on one part of the protocol."""
    part = results.filter(pl.col("metric").is_in(["au_mse_prompted", "clip_i"]), kind=kind)
    values = {(row["experiment"], row["metric"]): row["value"] for row in part.iter_rows(named=True)}
    points = [
        Point(name, values.get((name, "au_mse_prompted")), values.get((name, "clip_i")))  # type: ignore[arg-type]
        for name in part["experiment"].unique(maintain_order=True)
    ]
    return _marked(points)


def guidance_front(store: Store) -> list[Point]:
    """A point a guidance scale that was tried on the validation prompts, of each experiment."""
    points = []
    for name in store.stages("guidance_curve"):
        for row in store.read(name).sort("guidance").iter_rows(named=True):
            experiment = name.partition("/")[2]
            points.append(
                Point(experiment, row["au_mse_prompted"], row["clip_i"], row["guidance"], row["chosen"])
            )
    return _marked(points)


def _marked(points: Sequence[Point]) -> list[Point]:
    """The points that were measured, those on the front marked: lower error, higher likeness."""
    known = [
        one
        for one in points
        if None not in (one.error, one.likeness) and math.isfinite(one.error + one.likeness)
    ]

    def beaten(one: Point) -> bool:
        return any(
            other.error <= one.error
            and other.likeness >= one.likeness
            and (other.error, other.likeness) != (one.error, one.likeness)
            for other in known
        )

    return [Point(o.experiment, o.error, o.likeness, o.guidance, o.chosen, not beaten(o)) for o in known]


def pictures(scores: pl.DataFrame, kind: str, au: int | None = None, read: int | None = None) -> list[Pair]:
    """The pictures behind a number of an experiment, each beside its no-AU partner; `scores` is one judge's.

    With `au`, those that ask for it alone, by prompt and intensity; what is told is that AU's measure, or
    that of `read`, another one. Else those of the part of the protocol, from the best to the worst error on
    what was asked, evenly taken.
    """
    files = dict(scores.select("sample_id", "file").iter_rows())
    part = scores.filter(kind=kind)
    if au is not None:
        part = part.filter(pl.col("prompted") == str(au)).sort("prompt_index", f"au{au}")
    else:
        error = pl.mean_horizontal(
            pl.when(pl.col(asked) > 0).then((pl.col(asked) - pl.col(seen).fill_null(0.0)) ** 2)
            for asked, seen in zip(facs.COLUMNS, MEASURED, strict=True)
        )
        part = part.with_columns(_error=error).sort("_error", "sample_id").drop("_error")
        part = part.gather_every(max(1, -(-part.height // SHOWN)))
    return [
        _pair(row, files, read if read is not None else au) for row in part.head(SHOWN).iter_rows(named=True)
    ]


def _pair(row: dict, files: dict[str, str | None], shown: int | None) -> Pair:
    asked = {au: row[f"au{au}"] for au in facs.ACTION_UNITS if row[f"au{au}"]}
    measured = {au: row[f"measured_au{au}"] for au in ([shown] if shown is not None else asked)}
    faceless = all(row[name] is None for name in MEASURED)
    said = ", ".join(
        "AU{} {}".format(au, "–" if value is None else f"{value:.1f}") for au, value in measured.items()
    )
    errors = [(value - (row[f"measured_au{au}"] or 0.0)) ** 2 for au, value in asked.items()]
    return Pair(
        row["sample_id"],
        row["file"],
        files.get(row["partner_id"] or ""),
        row["prompt"],
        facs.describe([row[column] for column in facs.COLUMNS]),
        "no face" if faceless else said,
        sum(errors) / len(errors) if errors else None,
    )
