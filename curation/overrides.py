"""A person's word over a model's verdict: the rows of the table `overrides`, and what follows from them.

Writing them is the business of `fineface label`.
"""

from datetime import datetime

import polars as pl

import reasons
from reasons import Reason
from settings import nearest

TABLE = "overrides"
SCHEMA = pl.Schema(
    {
        "sample_id": pl.String(),
        "stage": pl.String(),
        "verdict": pl.String(),
        "author": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "reason": pl.String(),
    }
)
STAGES = ("photorealism",)
VERDICTS = ("keep", "drop", "undo")
"""`undo` takes an override back: the model's verdict stands again."""


def override(
    sample_id: str, stage: str, verdict: str, author: str, reason: str, time: datetime
) -> pl.DataFrame:
    """One row of the table. `time` has a time zone. Raises ValueError, naming what was close, for an unknown
    stage or verdict, and for an empty author or reason.
    """
    for what, value, known in (("stage", stage, STAGES), ("verdict", verdict, VERDICTS)):
        if value not in known:
            close = nearest.hint(value, known) or f"; there are {', '.join(known)}"
            raise ValueError(f"no {what} {value!r} to label{close}")
    for what, value in (("author", author), ("reason", reason)):
        if not value.strip():
            raise ValueError(f"an override needs {'an' if what == 'author' else 'a'} {what}")
    row = (sample_id, stage, verdict, author.strip(), time, reason.strip())
    return pl.DataFrame([row], schema=SCHEMA, orient="row")


def standing(overrides: pl.DataFrame, stage: str) -> pl.DataFrame:
    """The latest row of each sample of `stage`, undone ones left out; sorted by sample id."""
    return (
        overrides.filter(stage=stage)
        .sort("time", maintain_order=True)
        .unique("sample_id", keep="last", maintain_order=True)
        .filter(pl.col("verdict") != "undo")
        .sort("sample_id")
    )


def apply(judged: pl.DataFrame, overrides: pl.DataFrame, stage: str) -> pl.DataFrame:
    """`judged` (sample_id, keep and its reason) with the standing overrides of `stage` on top.

    Added are the verdict below (`model_keep`, `model_reason_code`, `model_reason_detail`) and what overruled
    it (`override`, `overruled_by`, `overruled_at`, `override_reason`; null where nobody did). The reason then
    is OVERRULED and says who and why.
    """
    said = standing(overrides, stage).select(
        "sample_id",
        pl.col("verdict").alias("override"),
        pl.col("author").alias("overruled_by"),
        pl.col("time").alias("overruled_at"),
        pl.col("reason").alias("override_reason"),
    )
    overruled = pl.col("override").is_not_null()
    return (
        judged.with_columns(pl.col("keep", *reasons.COLUMNS).name.prefix("model_"))
        .join(said, on="sample_id", how="left", maintain_order="left")
        .with_columns(
            pl.when(overruled).then(pl.col("override") == "keep").otherwise(pl.col("keep")).alias("keep"),
            pl.when(overruled)
            .then(pl.lit(Reason.OVERRULED))
            .otherwise(pl.col("reason_code"))
            .alias("reason_code"),
            pl.when(overruled)
            .then(pl.format("{} says {}: {}", "overruled_by", "override", "override_reason"))
            .otherwise(pl.col("reason_detail"))
            .alias("reason_detail"),
        )
    )
