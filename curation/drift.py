"""Whether new data look like those accepted before: the share that a filter keeps, the distributions of AUs.

Pure counting; which tables are watched, and what was accepted, is the business of the stages' checks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import polars as pl

import facs

BINS = 11
"""Intensities are counted in steps of a half; the last bin holds 5 and all above."""
Z = 3.0
"""Standard errors that chance explains (3: one time in 370)."""
KS = 1.95
"""The Kolmogorov-Smirnov distance of two samples of n and m that chance exceeds one time in a thousand, times
the root of nm / (n + m)."""

Shares = Mapping[str, Sequence[int]]
"""Rows kept and rows in all, by source."""
Histograms = Mapping[str, Mapping[str, Sequence[int]]]
"""Kept rows by bin of intensity, by source and AU column."""


def shares(table: pl.DataFrame) -> dict[str, list[int]]:
    """The Shares of a stage's table (source, keep)."""
    counts = table.group_by("source").agg(pl.col("keep").sum(), pl.len()).sort("source")
    return {source: [kept, rows] for source, kept, rows in counts.iter_rows()}


def moved(now: Shares, before: Shares, limit: float) -> list[str]:
    """A line for every source of which the kept share has moved by more than `limit` and what chance explains
    for so few rows, or of which nothing is left."""
    found = []
    for source, (kept_before, rows_before) in before.items():
        kept, rows = now.get(source, (0, 0))
        if not rows_before:
            continue
        if not rows:
            found.append(f"{source}: no rows, there were {rows_before:,}")
            continue
        share, share_before = kept / rows, kept_before / rows_before
        pooled = (kept + kept_before) / (rows + rows_before)
        chance = Z * math.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / rows_before))
        if abs(share - share_before) > limit + chance:
            found.append(
                f"{source}: keeps {share:.3f} of {rows:,} rows, {share_before:.3f} of {rows_before:,} before"
            )
    return found


def histograms(table: pl.DataFrame) -> dict[str, dict[str, list[int]]]:
    """The Histograms of a table's kept rows (source, keep, au1 …)."""
    found: dict[str, dict[str, list[int]]] = {}
    for (source,), rows in table.filter("keep").sort("source").group_by("source", maintain_order=True):
        found[str(source)] = {
            column: _counts(rows[column].drop_nulls()) for column in facs.COLUMNS if column in rows.columns
        }
    return found


def _counts(values: pl.Series) -> list[int]:
    bins = (values * 2).floor().clip(0, BINS - 1).cast(pl.Int64)
    counts = dict(bins.value_counts().iter_rows())
    return [counts.get(number, 0) for number in range(BINS)]


def drifted(now: Histograms, before: Histograms, limit: float) -> list[str]:
    """A line for every AU of a source whose distribution has moved by more than `limit` and what chance
    explains: the largest difference of the cumulated shares (Kolmogorov-Smirnov). One side without a value
    says nothing."""
    found = []
    for source, columns in before.items():
        for column, counts_before in columns.items():
            counts = now.get(source, {}).get(column, [])
            many, many_before = sum(counts), sum(counts_before)
            if not many or not many_before:
                continue
            pairs = zip(accumulate(counts), accumulate(counts_before), strict=True)
            distance = max(abs(one / many - other / many_before) for one, other in pairs)
            if distance > limit + KS * math.sqrt((many + many_before) / (many * many_before)):
                beside = f"{many:,} values beside {many_before:,}"
                found.append(f"{source} {column.upper()}: moved by {distance:.3f}, {beside}")
    return found
