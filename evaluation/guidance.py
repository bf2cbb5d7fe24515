"""Which guidance scale an experiment is drawn with: the curve over the candidates, and the rule that chooses.

The rule stands in docs/evaluation.md and is applied to validation samples, before any of the protocol's
pictures is drawn. Nothing is drawn or read here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from evaluation import bootstrap, metrics, partners
from evaluation.metrics import Scores

FACES_MARGIN = 0.05
"""A candidate may lose this share of faces more than the candidate that loses fewest."""

RULE = (
    "Of the candidates that lose at most 5 % of the faces more than the one that loses fewest, the one with "
    "the lowest AU-MSE prompted, where a picture without a face counts as the reading farthest from its "
    "prompt. The lower scale where two are equal."
)

CURVE = pl.Schema(
    {
        "guidance": pl.Float64,
        "au_mse_prompted": pl.Float64,
        "au_mse_all": pl.Float64,
        "au_mse_worst_case": pl.Float64,
        "clip_i": pl.Float64,
        "face_failure_rate": pl.Float64,
        "samples": pl.Int64,
        "admitted": pl.Boolean,
        "chosen": pl.Boolean,
    }
)


def curve(measured: Mapping[float, pl.DataFrame]) -> pl.DataFrame:
    """What each candidate gives on the validation samples, and which one RULE chooses: CURVE, by guidance.

    `measured` holds an au_scores frame a candidate, all of the same samples, with `clip_i` (the cosine to the
    no-AU partner) if it was measured. Pictures without a face count as faces without expression, but in
    `au_mse_worst_case`, which the choice is made by. `admitted` says that
    enough faces were found. Raises ValueError for candidates that were given different samples.
    """
    read = metrics.aus_read(pl.concat(measured.values(), how="diagonal_relaxed"))
    scores = {scale: Scores.of(frame.sort("sample_id"), read) for scale, frame in sorted(measured.items())}
    first = next(iter(scores.values()))
    if any(list(s.sample_id) != list(first.sample_id) for s in scores.values()):
        raise ValueError("the guidance candidates were not given the same samples")
    rows = [
        (
            scale,
            _value(metrics.au_mse_prompted(scored)),
            _value(metrics.au_mse_all(scored)),
            _value(metrics.au_mse_worst_case(scored)),
            _value(partners.mean(measured[scale], "clip_i")) if "clip_i" in measured[scale].columns else None,
            _value(metrics.face_failure_rate(scored)),
            len(scored),
        )
        for scale, scored in scores.items()
    ]
    found = pl.DataFrame(rows, schema=list(CURVE.items())[:7], orient="row").with_columns(
        admitted=pl.col("face_failure_rate") <= pl.col("face_failure_rate").min() + FACES_MARGIN + 1e-9
    )
    best = found.filter("admitted").sort("au_mse_worst_case", "guidance")["guidance"][0]
    return found.with_columns(chosen=pl.col("guidance") == best).match_to_schema(CURVE)


def untried(guidance: float) -> pl.DataFrame:
    """The curve of a single candidate, which is taken unseen: CURVE, one row without values."""
    return pl.DataFrame([{"guidance": guidance, "admitted": True, "chosen": True}], schema=CURVE)


def chosen(curve: pl.DataFrame) -> float:
    """The scale that was chosen in a CURVE."""
    return float(curve.filter("chosen")["guidance"].item())


def _value(sums: bootstrap.Sums) -> float | None:
    return float(np.sum(sums.total) / sums.n) if sums.n else None
