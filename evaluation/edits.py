"""How edited pictures are measured against what was asked for and against their source. Intervals resample
source pictures, whose edits are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from evaluation import bootstrap, metrics, tables
from evaluation.bootstrap import Sums

RESULTS = pl.Schema(
    {
        "editor": pl.String,
        "judge": pl.String,
        "kind": pl.String,
        "strength": pl.Float64,
        "metric": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "n": pl.Int64,
    }
)
AU_MEASURES: dict[str, Callable[[metrics.Scores], Sums]] = {
    name: metrics.AU_METRICS[name]
    for name in ("au_mse_prompted", "au_mse_all", "au_mse_unprompted", "face_failure_rate")
}
FIDELITY = ("clip_i", "l1", "outside_l1", "outside_psnr", "kept")
"""Columns that `fidelity` and the embedder give: cosine of the CLIP embeddings of edit and source; mean
absolute difference of all pixels and of those outside the face, 0-1; PSNR outside the face, dB; mean of the
attention mask, the share of the source that is kept."""
PSNR_MOST = 99.0
"""Of pictures that are equal there: the logarithm has no value."""


def fidelity(source: np.ndarray, edited: np.ndarray, face: np.ndarray | None) -> dict[str, float | None]:
    """l1, outside_l1 and outside_psnr of two pictures, uint8 [h, w, 3]; `face`, bool [h, w], is null where
    none was found in the source: then nothing is known of its outside."""
    difference = np.abs(source.astype(np.float64) - edited) / 255
    found: dict[str, float | None] = {
        "l1": float(difference.mean()),
        "outside_l1": None,
        "outside_psnr": None,
    }
    if face is not None and not face.all():
        outside = difference[~face]
        squared = float((outside**2).mean())
        found["outside_l1"] = float(outside.mean())
        found["outside_psnr"] = min(PSNR_MOST, -10 * np.log10(squared)) if squared else PSNR_MOST
    return found


def results(scores: pl.DataFrame, fidelities: pl.DataFrame) -> pl.DataFrame:
    """Every measure of every editor with its 95 % interval: RESULTS.

    `scores` is an edit_scores table, `fidelities` an edit_fidelity table. The judge of what no judge measures
    is "pixels", and "clip" that of clip_i.
    """
    rows: list[tuple[object, ...]] = []
    for (editor, judge), measured in scores.group_by("editor", "judge", maintain_order=True):
        read = metrics.aus_read(measured)
        for (kind, strength), part in measured.group_by("kind", "strength", maintain_order=True):
            as_scores = metrics.Scores.of(part.rename({"source_index": "prompt_index"}), read)
            for name, measure in AU_MEASURES.items():
                rows.append((editor, judge, kind, strength, name, *bootstrap.mean(measure(as_scores))))
    for (editor, kind, strength), part in fidelities.group_by(
        "editor", "kind", "strength", maintain_order=True
    ):
        for name in FIDELITY:
            judge = "clip" if name == "clip_i" else "pixels"
            rows.append((editor, judge, kind, strength, name, *bootstrap.mean(_mean(part, name))))
    return pl.DataFrame(rows, schema=RESULTS, orient="row").with_columns(
        pl.col("value", "low", "high").fill_nan(None)
    )


def _mean(part: pl.DataFrame, column: str) -> Sums:
    values = part[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return Sums.of(values, ~np.isnan(values), part["source_index"].to_numpy())


def fronts(found: pl.DataFrame, judge: str) -> pl.DataFrame:
    """editor, strength, au_mse_all and clip_i of the individual edits, by editor and strength."""
    individual = found.filter(pl.col("judge").is_in([judge, "clip"]), kind="individual")
    wide = individual.filter(pl.col("metric").is_in(["au_mse_all", "clip_i"])).pivot(
        "metric", index=["editor", "strength"], values="value"
    )
    return wide.select("editor", "strength", "au_mse_all", "clip_i").sort("editor", "strength")


class Column(NamedTuple):
    """A measure in the table of editors: of which edits, what it is called, and how many decimals it has."""

    kind: str | None
    """None: those that the table is of."""
    metric: str
    label: str
    decimals: int = 2


COLUMNS = (
    Column(None, "au_mse_prompted", "AU-MSE prompted"),
    Column(None, "au_mse_all", "AU-MSE all"),
    Column(None, "clip_i", "CLIP-I to source", 3),
    Column(None, "outside_l1", "L1 outside the face", 3),
    Column(None, "kept", "kept by the mask"),
    Column("unchanged", "l1", "L1 where no change is asked", 4),
)
KINDS = ("individual", "combination", "transferred")
"""Of edits that ask for a change, each a table of editors."""


def table(found: pl.DataFrame, kind: str) -> list[list[str]]:
    """The measures of `results` at strength 1: a row of headings, then a row an editor, values with their
    intervals; "–" where there is none. AU measures have a column a judge."""
    at_once = found.filter(strength=1.0)
    wanted = [
        (column, judge)
        for column in COLUMNS
        for judge in at_once.filter(metric=column.metric)["judge"].unique(maintain_order=True)
    ]
    heads = [f"{one.label} ({judge})" if one.metric in AU_MEASURES else one.label for one, judge in wanted]
    cells = {
        (row["editor"], row["kind"], row["metric"], row["judge"]): row
        for row in at_once.iter_rows(named=True)
    }
    lines = [["editor", *heads]]
    for editor in found["editor"].unique(maintain_order=True):
        keys = [(editor, one.kind or kind, one.metric, judge) for one, judge in wanted]
        shown = [_cell(cells.get(key), one.decimals) for key, (one, _) in zip(keys, wanted, strict=True)]
        lines.append([editor, *shown])
    return lines


def _cell(row: Mapping[str, Any] | None, decimals: int) -> str:
    if row is None or row["value"] is None:
        return "–"
    value, low, high = (f"{row[name]:.{decimals}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def text(found: pl.DataFrame) -> str:
    """The tables of all KINDS for a terminal."""
    blocks = [f"{kind}\n{tables.aligned(table(found, kind))}" for kind in KINDS]
    return "\n\n".join(blocks)
