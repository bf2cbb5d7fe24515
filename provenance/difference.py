"""How two data sets differ: samples that came and went, by reason; labels that moved; scales that others set.

Where the tables are from, versions or a recomputation, is their giver's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

import facs
import stages

LAST, STATISTICS = "training_set", "au_statistics"
ABSENT = "absent"
"""The reason of a sample that no table has: not in the raw data."""
Tables = Mapping[str, pl.DataFrame]
"""Stage tables by name; those that a data set has not are left out."""


@dataclass(frozen=True)
class Count:
    """Samples that came or went: the stage and reason that keeps them out on the other side."""

    stage: str
    reason: str
    samples: int
    example: str


@dataclass(frozen=True)
class Moved:
    """An AU's labels that differ: how many, by how much on the mean (absolute), and the one that moved most.
    `appeared` of them were null before, or are null after, and count in neither figure."""

    au: int
    samples: int
    mean: float | None
    sample_id: str | None
    before: float | None
    after: float | None
    appeared: int


@dataclass(frozen=True)
class ScaleMoved:
    """An end of an AU's scale that differs, and who set it before and after."""

    au: int
    step: str
    end: str
    before: float | None
    after: float | None
    sample_before: str | None
    sample_after: str | None


@dataclass(frozen=True)
class Difference:
    """What differs between two data sets. before, after: how many samples each keeps."""

    before: int
    after: int
    came: tuple[Count, ...]
    went: tuple[Count, ...]
    moved: tuple[Moved, ...]
    scales: tuple[ScaleMoved, ...]
    other_split: int
    other_caption: int

    def __bool__(self) -> bool:
        return bool(
            self.came or self.went or self.moved or self.scales or self.other_split or self.other_caption
        )


def compare(before: Tables, after: Tables) -> Difference:
    """The difference from one data set's tables to another's."""
    fates = fate(before), fate(after)
    old, new = (table.filter("kept") for table in fates)
    came = new.join(old, on="sample_id", how="anti")
    went = old.join(new, on="sample_id", how="anti")
    labels = [_labels(tables) for tables in (before, after)]
    both = labels[0].join(labels[1], on="sample_id", suffix="_after")
    return Difference(
        old.height,
        new.height,
        _counts(came, fates[0]),
        _counts(went, fates[1]),
        tuple(one for au in facs.ACTION_UNITS if (one := _moved(both, au))),
        tuple(_scales(before.get(STATISTICS), after.get(STATISTICS))),
        both.filter(~pl.col("split").eq_missing(pl.col("split_after"))).height,
        both.filter(~pl.col("caption").eq_missing(pl.col("caption_after"))).height,
    )


def fate(tables: Tables) -> pl.DataFrame:
    """`sample_id`, `kept`, and the `stage` and `reason` of the drop, of every sample of a data set."""
    schema = {"sample_id": pl.String, "kept": pl.Boolean, "stage": pl.String, "reason": pl.String}
    parts = [pl.DataFrame(schema=schema)]
    for stage in stages.FUNNEL:
        if stage not in tables:
            continue
        dropped = tables[stage].filter(~pl.col("keep"))
        parts.append(
            dropped.select(
                "sample_id",
                pl.lit(False).alias("kept"),
                pl.lit(stage).alias("stage"),
                pl.col("reason_code").alias("reason"),
            )
        )
    if LAST in tables:
        kept = tables[LAST].filter("keep").select("sample_id", pl.lit(True).alias("kept"))
        nothing = (pl.lit(None, dtype=pl.String).alias(name) for name in ("stage", "reason"))
        parts.append(kept.with_columns(nothing))
    return pl.concat(parts).unique("sample_id", keep="first", maintain_order=True)


def _counts(samples: pl.DataFrame, elsewhere: pl.DataFrame) -> tuple[Count, ...]:
    """`samples` by what keeps them out of the data set whose fates are `elsewhere`."""
    why = (
        samples.select("sample_id")
        .join(elsewhere, on="sample_id", how="left")
        .with_columns(pl.col("stage").fill_null("raw data"), pl.col("reason").fill_null(ABSENT))
    )
    counts = why.group_by("stage", "reason").agg(pl.len(), pl.col("sample_id").min())
    ordered = counts.sort("len", "stage", "reason", descending=[True, False, False])
    return tuple(Count(*row) for row in ordered.iter_rows())


def _labels(tables: Tables) -> pl.DataFrame:
    columns = ("sample_id", "split", "caption", *facs.COLUMNS)
    if LAST not in tables:
        schema = dict.fromkeys(columns[:3], pl.String) | dict.fromkeys(facs.COLUMNS, pl.Float64)
        return pl.DataFrame(schema=schema)
    return tables[LAST].filter("keep").select(columns)


def _moved(both: pl.DataFrame, au: int) -> Moved | None:
    old, new = pl.col(f"au{au}"), pl.col(f"au{au}_after")
    rows = both.filter(~old.eq_missing(new)).with_columns((new - old).abs().alias("by"))
    if rows.is_empty():
        return None
    most = rows.drop_nulls("by").sort("by", "sample_id", descending=[True, False]).head(1)
    appeared = rows["by"].null_count()
    if most.is_empty():
        return Moved(au, rows.height, None, None, None, None, appeared)
    sample, before, after = most.select("sample_id", old, new).row(0)
    mean = rows["by"].mean()
    return Moved(au, rows.height, float(mean), sample, before, after, appeared)  # type: ignore[arg-type]


def _scales(before: pl.DataFrame | None, after: pl.DataFrame | None) -> list[ScaleMoved]:
    if before is None or after is None:
        return []
    on = ["step", "au"]
    ranges = [table.filter(pl.col("step").is_in(["power", "target"])) for table in (before, after)]
    both = ranges[0].join(ranges[1], on=on, how="full", suffix="_after", coalesce=True).sort("au", "step")
    found = []
    for row in both.to_dicts():
        for end in ("minimum", "maximum"):
            ends = row[end], row[f"{end}_after"], row[f"{end}_sample_id"], row[f"{end}_sample_id_after"]
            if ends[0] != ends[1] or ends[2] != ends[3]:
                found.append(ScaleMoved(row["au"], row["step"], end, *ends))
    return found
