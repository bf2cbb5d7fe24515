"""How edited pictures are measured against what was asked for and against their source. Intervals resample
source pictures, whose edits are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from evaluation import bootstrap, metrics, partners, realism, tables
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
BY = ("editor", "kind", "strength")
"""What a value is of."""
AU_MEASURES: dict[str, Callable[[metrics.Scores], Sums]] = {
    name: metrics.AU_METRICS[name]
    for name in ("au_mse_prompted", "au_mse_all", "au_mse_unprompted", "face_failure_rate")
}
REALISM = pl.Schema(
    {"editor": pl.String(), "kind": pl.String(), "strength": pl.Float64(), **realism.MEASURED}
)
FIDELITY = ("clip_i", *partners.PIXEL_METRICS)
"""Columns of an edit_fidelity frame that are measures."""
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


def realisms(embedded: pl.DataFrame, real: pl.DataFrame) -> pl.DataFrame:
    """How far the edits of every editor, kind and strength as a whole lie from real pictures: REALISM.

    `embedded` has the columns of edited_samples and `embedding`, `real` has `embedding`: see
    `realism.measured`, whose prompts are source pictures here. Edits of one are no pairs of KID: sources that
    nobody edits would else be far from real ones, the more edits each has.
    """
    rows = []
    groups = embedded.rename({"source_index": "prompt_index"}).group_by(BY, maintain_order=True)
    for key, part in groups:
        who = part.row(0, named=True)
        for metric, estimate in realism.measured(part, real, within=False).items():
            rows.append((*key, metric, *estimate, real.height, who["model"], who["fingerprint"]))
    return pl.DataFrame(rows, schema=REALISM, orient="row").with_columns(
        pl.col("value", "low", "high").fill_nan(None)
    )


def results(
    scores: pl.DataFrame,
    fidelities: pl.DataFrame,
    identities: pl.DataFrame | None = None,
    realism_scores: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Every measure of every editor with its 95 % interval: RESULTS.

    `scores` is an edit_scores table, `fidelities` an edit_fidelity, `identities` an edit_identity and
    `realism_scores` an edit_realism table; without the last two their measures are missing. Who measured what
    no judge measures says `tables.WITNESSES`.
    """
    rows: list[tuple[object, ...]] = []
    for (editor, judge), measured in scores.group_by("editor", "judge", maintain_order=True):
        read = metrics.aus_read(measured)
        for (kind, strength), part in measured.group_by("kind", "strength", maintain_order=True):
            as_scores = metrics.Scores.of(part.rename({"source_index": "prompt_index"}), read)
            for name, measure in AU_MEASURES.items():
                rows.append((editor, judge, kind, strength, name, *bootstrap.mean(measure(as_scores))))
    for beside, names in ((fidelities, FIDELITY), (identities, partners.IDENTITY_METRICS)):
        if beside is None:
            continue
        of_sources = beside.rename({"source_index": "prompt_index"})
        for (editor, kind, strength), part in of_sources.group_by(BY, maintain_order=True):
            for name in names:
                estimate = bootstrap.mean(partners.mean(part, name))
                rows.append((editor, tables.WITNESSES[name], kind, strength, name, *estimate))
    found = pl.DataFrame(rows, schema=RESULTS, orient="row").with_columns(
        pl.col("value", "low", "high").fill_nan(None)
    )
    if realism_scores is None:
        return found
    as_whole = realism_scores.with_columns(judge=pl.lit(tables.CLIP))
    return pl.concat([found, as_whole.select(*RESULTS)])


def likenesses(found: pl.DataFrame) -> list[str]:
    """The measures of what is kept of the person that `found`, `results`, has: a front each."""
    return [name for name in ("clip_i", "identity_distance") if name in found["metric"]]


def fronts(found: pl.DataFrame, judge: str, likeness: str = "clip_i") -> pl.DataFrame:
    """editor, strength, au_mse_all and `likeness` of the individual edits, by editor and strength."""
    individual = found.filter(pl.col("judge").is_in([judge, tables.WITNESSES[likeness]]), kind="individual")
    wide = individual.filter(pl.col("metric").is_in(["au_mse_all", likeness])).pivot(
        "metric", index=["editor", "strength"], values="value"
    )
    return wide.select("editor", "strength", "au_mse_all", likeness).sort("editor", "strength")


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
    Column(None, "identity_distance", "identity distance to source", 3),
    Column(None, "same_person", "same person"),
    Column(None, "outside_l1", "L1 outside the face", 3),
    Column(None, "kept", "kept by the mask"),
    Column("unchanged", "l1", "L1 where no change is asked", 4),
    Column(None, "kid", "KID", 3),
    Column(None, "fid", "FID"),
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
    value, *ends = (
        f"{row[name]:.{decimals}f}".replace("-", "−")
        for name in ("value", "low", "high")
        if row[name] is not None
    )
    return f"{value} [{', '.join(ends)}]" if ends else value


def text(found: pl.DataFrame) -> str:
    """The tables of all KINDS for a terminal, some columns at a time."""
    blocks = []
    for kind in KINDS:
        lines = table(found, kind)
        for first in range(1, len(lines[0]), tables.ABREAST):
            part = [[line[0], *line[first : first + tables.ABREAST]] for line in lines]
            part[0][0] = kind
            blocks.append(tables.aligned(part))
    return "\n\n".join(blocks)
