"""A person's word over a model: the rows of the table `overrides`, and what follows from them. A verdict is
overruled at the stage that gave it, an intensity in the training set, whose final label it becomes.

Writing them is the business of `fineface label`.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

import facs
import reasons
from reasons import Reason
from settings import nearest

TABLE = "overrides"
SCHEMA = pl.Schema(
    {
        "sample_id": pl.String(),
        "stage": pl.String(),
        "verdict": pl.String(),
        "au": pl.Int64(),
        "value": pl.Float64(),
        "author": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "reason": pl.String(),
    }
)
VERDICTS = ("keep", "drop", "set", "undo")
"""`set` gives an AU's intensity; `undo` takes an override back: what was below it stands again."""
SAYS = {"photorealism": "keep, drop or undo", "training_set": "AU4=2.5, or AU4=undo"}
"""The stages that can be overruled, and what can be said to each."""
INTENSITIES = "training_set"


def override(sample_id: str, stage: str, said: str, author: str, reason: str, time: datetime) -> pl.DataFrame:
    """One row of the table. `said` is a verdict (keep, drop, undo), or an AU and its intensity 0-5
    ("AU4=2.5", "AU4=undo"). `time` has a time zone. Raises ValueError, naming what was close, for an unknown
    stage, verdict or AU, for one that the stage does not give, and for an empty author or reason.
    """
    if stage not in SAYS:
        close = nearest.hint(stage, SAYS) or f"; there are {', '.join(SAYS)}"
        raise ValueError(f"no stage {stage!r} to label{close}")
    verdict, au, value = _understood(said)
    if (au is None) == (stage == INTENSITIES):
        raise ValueError(f"{stage} takes {SAYS[stage]}, not {said!r}")
    for what, text in (("author", author), ("reason", reason)):
        if not text.strip():
            raise ValueError(f"an override needs {'an' if what == 'author' else 'a'} {what}")
    row = (sample_id, stage, verdict, au, value, author.strip(), time, reason.strip())
    return pl.DataFrame([row], schema=SCHEMA, orient="row")


def said(row: Mapping[str, Any]) -> str:
    """What a row of the table says, as `override` takes it: "keep", "AU4=2.5"."""
    if row.get("au") is None:
        return str(row["verdict"])
    return f"AU{row['au']}={'undo' if row['verdict'] == 'undo' else format(row['value'], 'g')}"


def _understood(said: str) -> tuple[str, int | None, float | None]:
    name, equals, text = said.partition("=")
    if not equals:
        known = [verdict for verdict in VERDICTS if verdict != "set"]
        if said not in known:
            close = nearest.hint(said, known) or f"; there are {', '.join(known)}, and AU4=2.5"
            raise ValueError(f"no verdict {said!r}{close}")
        return said, None, None
    au = facs.number(name)
    if text.strip() == "undo":
        return "undo", au, None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= facs.MAXIMUM:
        raise ValueError(f"AU{au}: an intensity is a number of 0-{facs.MAXIMUM:g}, not {text.strip()!r}")
    return "set", au, value


def complete(overrides: pl.DataFrame) -> pl.DataFrame:
    """Rows of the table in the order of their times. Those of the time when only verdicts could be overruled
    have no AU: null."""
    return pl.concat([SCHEMA.to_frame(), overrides], how="diagonal").sort("time", maintain_order=True)


def standing(overrides: pl.DataFrame, stage: str) -> pl.DataFrame:
    """The latest row of each sample (and AU) of `stage`, undone ones left out; sorted by sample id and AU."""
    return (
        overrides.filter(stage=stage)
        .sort("time", maintain_order=True)
        .unique(["sample_id", "au"], keep="last", maintain_order=True)
        .filter(pl.col("verdict") != "undo")
        .sort("sample_id", "au")
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


def apply_intensities(table: pl.DataFrame, overrides: pl.DataFrame) -> pl.DataFrame:
    """`table` (sample_id, au1 … au26) with the intensities that people gave in the place of its own.

    Added is `overruled`, the AUs of a sample that somebody gave; null where nobody did.
    """
    given = standing(overrides, INTENSITIES)
    by_sample = given.group_by("sample_id").agg(
        *(pl.col("value").filter(au=au).first().alias(f"given_au{au}") for au in facs.ACTION_UNITS),
        pl.col("au").sort().alias("overruled"),
    )
    return (
        table.join(by_sample, on="sample_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce(f"given_{column}", column).alias(column) for column in facs.COLUMNS)
        .drop(f"given_{column}" for column in facs.COLUMNS)
    )
