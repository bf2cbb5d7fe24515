"""Why rows were dropped, as one text a row: "code: detail", or the code alone; None where there is none."""

import polars as pl

from curation import frames

TOLD = pl.when(pl.col("reason_code").is_not_null()).then(
    pl.concat_str(["reason_code", "reason_detail"], separator=": ", ignore_nulls=True)
)


def told(table: pl.DataFrame) -> list[str | None]:
    return table.select(TOLD.alias("told"))["told"].to_list()


def counts(table: pl.DataFrame) -> dict[str, int]:
    """Dropped rows by code."""
    return dict(frames.counts_by_reason(table).select("reason_code", "samples").iter_rows())
