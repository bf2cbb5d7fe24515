"""How edited pictures are measured against what was asked for and against their source. Intervals resample
source pictures, whose edits are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from evaluation import bootstrap, metrics
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


def text(found: pl.DataFrame, kinds: Sequence[str] = ("individual", "combination", "unchanged")) -> str:
    """The measures at strength 1 for people: a line an editor, kind and judge."""
    lines = []
    for (editor,), part in found.filter(strength=1.0).group_by("editor", maintain_order=True):
        lines.append(str(editor))
        for kind in kinds:
            told = [
                f"{metric} {value:.3g} [{low:.3g}, {high:.3g}]" + (f" ({judge})" if "au_" in metric else "")
                for judge, metric, value, low, high in part.filter(kind=kind)
                .select("judge", "metric", "value", "low", "high")
                .drop_nulls("value")
                .iter_rows()
            ]
            lines.append(f"  {kind}: " + ", ".join(told))
    return "\n".join(lines)
