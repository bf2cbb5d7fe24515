"""The frames table that every raw reader returns: schema, quarantine, counts by reason.

No raw format lives here (see `curation.sources`), no picture is opened (see `curation.probing`).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

import reasons
from facs import COLUMNS
from reasons import Reason

LABELS: tuple[str, ...] = tuple(f"label_{column}" for column in COLUMNS)

SCHEMA = pl.Schema(
    {
        "sample_id": pl.String,
        "source": pl.String,
        "path": pl.String,  # absolute; null when there is no picture
        "origin": pl.String,  # raw file and its line or frame
        "content_hash": pl.String,
        "width": pl.Int64,  # pixels, as the picture is meant to be seen (EXIF orientation applied)
        "height": pl.Int64,
        "subject": pl.String,
        "frame": pl.Int64,  # 1-based label frame in DISFA, the number in the name in a folder of frames
        "expression": pl.Int64,  # AffectNet 0-10
        "valence": pl.Float64,  # -1 to 1; null where AffectNet says "not applicable" (-2)
        "arousal": pl.Float64,
        "face_x": pl.Float64,
        "face_y": pl.Float64,
        "face_width": pl.Float64,
        "face_height": pl.Float64,
        "landmarks": pl.String,
        **dict.fromkeys(LABELS, pl.Float64),  # manual intensities 0-5
        "raw_caption": pl.String,
        "caption_fault": pl.String,  # why the text beside the picture is no caption
        "keep": pl.Boolean,
        "reason_code": pl.String,  # a member of `reasons.Reason`, null while the row is kept
        "reason_detail": pl.String,
    }
)

KEPT = (
    pl.lit(True).alias("keep"),
    pl.lit(None, dtype=pl.String).alias("reason_code"),
    pl.lit(None, dtype=pl.String).alias("reason_detail"),
)
"""The columns that a filter judges by, of rows that no filter has seen."""

HashFiles = Callable[[Sequence[Path | str]], list[str | None]]
"""Content hashes of files, in order; None for a file that cannot be read (`hash_readable_files`)."""


class RawDataError(Exception):
    """A raw folder that cannot be read as a whole: it names the folder, file or column at fault."""


class Memo(Protocol):
    """The part of `store.Memo` that probing needs."""

    def get_or_compute(
        self,
        requests: pl.DataFrame,
        compute: Callable,
        *,
        chunk: int,
        progress: Any = None,
        partial: bool = False,
    ) -> Any: ...


def quarantine(
    rows: pl.DataFrame, where: pl.Expr, code: pl.Expr | Reason, detail: pl.Expr | str | None = None
) -> pl.DataFrame:
    """Rows still kept for which `where` holds get `keep = false` and the reason; a first reason stays."""
    code = pl.lit(code) if isinstance(code, Reason) else code
    detail = detail if isinstance(detail, pl.Expr) else pl.lit(detail, dtype=pl.String)
    now = pl.col("keep") & where.fill_null(False)
    if not rows.select(now.any()).item():  # then the reasons of all the good rows need not be written
        return rows
    return rows.with_columns(
        pl.when(now).then(code).otherwise("reason_code").alias("reason_code"),
        pl.when(now).then(detail).otherwise("reason_detail").alias("reason_detail"),
        (pl.col("keep") & ~now).alias("keep"),
    )


def judgeable(table: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The table with `keep` and its reason, added if it has none yet (all kept); a null `keep` is false.

    Raises ValueError, naming them, if it lacks one of `columns`.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f"a table without column {', '.join(missing)}")
    table = table.with_columns(new for new in KEPT if new.meta.output_name() not in table.columns)
    return table.with_columns(pl.col("keep").fill_null(False), pl.col(reasons.COLUMNS).cast(pl.String))


def finished(rows: pl.DataFrame | Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The frames table: all columns of SCHEMA (absent ones null), their types, sorted by sample_id.

    Raises ValueError if a sample id is missing or not unique, or a dropped row has no reason: an error of the
    reader, not of the data.
    """
    parts = [rows] if isinstance(rows, pl.DataFrame) else list(rows)
    if parts:
        table = pl.concat([part.lazy() for part in parts], how="diagonal_relaxed").collect()
    else:
        table = pl.DataFrame(schema=SCHEMA)
    lacking = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in SCHEMA.items() if name not in table.columns
    ]
    table = table.with_columns(lacking).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    table, sample_id = table.sort("sample_id"), pl.col("sample_id")
    repeated = table.filter(sample_id.is_null() | (sample_id == sample_id.shift()))
    if repeated.height:
        raise ValueError(f"sample ids are not unique: {repeated['sample_id'].unique().sort().to_list()[:5]}")
    mute = table.filter(~pl.col("keep") & pl.col("reason_code").is_null() | pl.col("keep").is_null())
    if mute.height:
        raise ValueError(f"rows dropped without a reason: {mute['sample_id'].to_list()[:5]}")
    return table


def counts_by_reason(table: pl.DataFrame) -> pl.DataFrame:
    """Of the rows not kept: `reason_code`, `samples`, `example` (a sample id); most frequent first."""
    return (
        table.filter(~pl.col("keep"))
        .group_by("reason_code")
        .agg(pl.len().alias("samples"), pl.col("sample_id").min().alias("example"))
        .sort("samples", "reason_code", descending=[True, False])
    )
