"""Samples that were forgotten: what is kept of each (no name, no picture: hashes and the reason), and how raw
rows of one that comes back are dropped. Forgetting itself is `provenance.forgetting`.
"""

import polars as pl

import reasons
from reasons import Reason
from store.hashing import hash_bytes

TABLE = "forgotten"
SCHEMA = pl.Schema(
    {
        "sample_hash": pl.String(),
        "content_hashes": pl.List(pl.String()),
        "source": pl.String(),
        "author": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "reason": pl.String(),
        "trained_on": pl.List(pl.String()),
    }
)
NAMED = ("sample_id", "source", "keep", *reasons.COLUMNS)
"""What a raw row of a forgotten sample still says; all else of it is null."""


def sample_hash(sample_id: str) -> str:
    """What a tombstone has in the place of an id: it can be recognised, and not be read back."""
    return hash_bytes(f"sample {sample_id}".encode())


def pseudonym(sample_id: str) -> str:
    """What tables call a forgotten sample."""
    return f"{sample_id.split('/')[0]}/forgotten/{sample_hash(sample_id)[:12]}"


def returned(rows: pl.DataFrame, tombstones: pl.DataFrame) -> pl.DataFrame:
    """Those raw rows (sample_id, content_hash) that are of forgotten samples, by id or by content."""
    if tombstones.is_empty():
        return rows.clear()
    contents = tombstones["content_hashes"].explode().drop_nulls().unique()
    hashes = rows.select(pl.col("sample_id").map_elements(sample_hash, return_dtype=pl.String)).to_series()
    return rows.filter(
        hashes.is_in(tombstones["sample_hash"].implode()) | rows["content_hash"].is_in(contents.implode())
    )


def drop(rows: pl.DataFrame, tombstones: pl.DataFrame) -> pl.DataFrame:
    """The raw table in which rows of forgotten samples are dropped for that reason, under their pseudonym and
    with nothing else of theirs."""
    gone = returned(rows, tombstones)
    if gone.is_empty():
        return rows
    nothing = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in rows.schema.items() if name not in NAMED
    ]
    dropped = gone.with_columns(
        pl.col("sample_id").map_elements(pseudonym, return_dtype=pl.String),
        pl.lit(False).alias("keep"),
        pl.lit(Reason.FORGOTTEN.value).alias("reason_code"),
        pl.lit(None, dtype=pl.String).alias("reason_detail"),
        *nothing,
    )
    rest = rows.join(gone, on="sample_id", how="anti", maintain_order="left")
    return pl.concat([rest, dropped.select(rows.columns)]).unique("sample_id").sort("sample_id")
