"""How many samples each stage kept and dropped, and why: counted from the stage tables. Pure polars."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

COUNTS = pl.Schema({"source": pl.String, "stage": pl.String, "kept": pl.Int64, "dropped": pl.Int64})
REASONS = pl.Schema({"source": pl.String, "stage": pl.String, "reason_code": pl.String, "count": pl.Int64})


def counts(stages: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Rows kept and dropped by each stage, a source at a time, stages in the order given, in COUNTS.

    Each stage table needs source and keep. A stage that saw no row of a source has no row there.
    """
    parts = [
        table.group_by("source")
        .agg(kept=pl.col("keep").sum().cast(pl.Int64), dropped=(~pl.col("keep")).sum().cast(pl.Int64))
        .select("source", pl.lit(stage).alias("stage"), "kept", "dropped")
        for stage, table in stages.items()
        if table.height
    ]
    return _sorted(parts, COUNTS)


def reasons(stages: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Why rows were dropped, most frequent first within source and stage, in REASONS."""
    parts = [
        table.filter(~pl.col("keep"))
        .group_by("source", "reason_code")
        .agg(count=pl.len().cast(pl.Int64))
        .sort("count", "reason_code", descending=[True, False])
        .select("source", pl.lit(stage).alias("stage"), "reason_code", "count")
        for stage, table in stages.items()
        if table.height
    ]
    return _sorted(parts, REASONS)


def _sorted(parts: list[pl.DataFrame], schema: pl.Schema) -> pl.DataFrame:
    return pl.concat([schema.to_frame(), *parts]).sort("source", maintain_order=True)
