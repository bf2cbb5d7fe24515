"""How far two annotators agree about the same pictures, an AU. Definitions and table; charts in `figures`.

An annotator is an estimator, or the coders behind manual labels. What one of them does not read is never
counted as 0: such an AU has no figures, and a note that says who does not read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

import facs

PRESENT = 1.0
"""From this intensity on (FACS level A) an annotator says that the AU is present."""
CONSTANT = 1e-12
"""A smaller variance is none."""
FEW = 30
"""With fewer pictures than this in which the second annotator says present, figures are marked."""

AGREEMENT = pl.Schema(
    {
        "pictures": pl.String,
        "first": pl.String,
        "second": pl.String,
        "au": pl.Int64,
        "pearson": pl.Float64,
        "icc": pl.Float64,
        "mae": pl.Float64,
        "opposite": pl.Float64,
        "n": pl.Int64,
        "first_present": pl.Int64,
        "second_present": pl.Int64,
        "note": pl.String,
    }
)


class Agreement(NamedTuple):
    """Two annotators on one AU. pearson and icc: -1 to 1, NaN where undefined; mae: mean absolute difference
    of intensities 0-5; opposite: share of pictures that one calls present and the other absent; n: pictures
    that both read; then how many of them each calls present."""

    pearson: float
    icc: float
    mae: float
    opposite: float
    n: int
    first_present: int
    second_present: int


def agree(first: np.ndarray, second: np.ndarray) -> Agreement:
    """The agreement of two annotators' intensities [N] (NaN: not read), over the pictures that both read.

    icc is ICC(3,1), two-way mixed, single rater, consistency (Shrout and Fleiss 1979): for two raters
    (BMS - EMS) / (BMS + EMS), which is twice the covariance over the sum of the variances. Unlike Pearson's r
    it falls when one of them uses the scale more widely; like it, it forgives a constant offset.
    """
    both = ~(np.isnan(first) | np.isnan(second))
    a, b = first[both].astype(np.float64), second[both].astype(np.float64)
    n, a_present, b_present = len(a), int((a >= PRESENT).sum()), int((b >= PRESENT).sum())
    if not n:
        return Agreement(np.nan, np.nan, np.nan, np.nan, 0, 0, 0)
    x, y = a - a.mean(), b - b.mean()
    covariance, spread = (x * y).mean(), ((x * x).mean(), (y * y).mean())
    pearson = covariance / np.sqrt(spread[0] * spread[1]) if min(spread) > CONSTANT else np.nan
    icc = 2 * covariance / sum(spread) if max(spread) > CONSTANT else np.nan
    opposite = ((a >= PRESENT) != (b >= PRESENT)).mean()
    return Agreement(
        float(np.clip(pearson, -1, 1)),
        float(np.clip(icc, -1, 1)),
        float(np.abs(a - b).mean()),
        float(opposite),
        n,
        a_present,
        b_present,
    )


def compare(
    pictures: str, readings: Mapping[str, pl.DataFrame], pairs: Sequence[tuple[str, str]]
) -> pl.DataFrame:
    """`agree` for every AU of each pair of annotators, in AGREEMENT.

    `readings` holds a frame an annotator with au1 ... au26, the same pictures row by row (null: not read);
    `pictures` says which ones. In `note`: who does not read the AU, or how few positives there are.
    """
    values = {
        name: frame.select(pl.col(facs.COLUMNS).cast(pl.Float64).fill_null(float("nan"))).to_numpy()
        for name, frame in readings.items()
    }
    rows = []
    for first, second in pairs:
        for place, au in enumerate(facs.ACTION_UNITS):
            a, b = values[first][:, place], values[second][:, place]
            silent = [name for name, column in ((first, a), (second, b)) if np.isnan(column).all()]
            found = agree(a, b)
            rows.append((pictures, first, second, au, *found, _note(silent, found, second)))
    return pl.DataFrame(rows, schema=AGREEMENT, orient="row").with_columns(
        pl.col("pearson", "icc", "mae", "opposite").fill_nan(None)
    )


def _note(silent: list[str], found: Agreement, second: str) -> str | None:
    if silent:
        return f"not read by {' and '.join(silent)}"
    if found.second_present < FEW:
        return f"few positives: {found.second_present} of {found.n} by {second}"
    return None
