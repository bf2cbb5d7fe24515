"""Which pictures are edited, and to show what: held-out photographs × AU vectors. Nothing is measured.

The AU vectors are those that faces are drawn with (`evaluation.protocol`), so that editors and adapters are
asked for the same; a row begins with a picture where those begin with noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

import facs
from evaluation.protocol import INTENSITIES, combinations
from stages import RENDERED

SOURCE = tuple(f"source_{column}" for column in facs.COLUMNS)
"""The intensities that the source picture shows, by its label."""

SCHEMA = pl.Schema(
    {
        "sample_id": pl.String,
        "kind": pl.String,  # individual | combination | transferred | unchanged
        "source_index": pl.Int64,  # of the picture; intervals resample these
        "source_id": pl.String,
        "file_kind": pl.String,
        "file": pl.String,
        "content_hash": pl.String,
        **dict.fromkeys(SOURCE, pl.Float64),
        **dict.fromkeys(facs.COLUMNS, pl.Float64),  # asked for
        "prompted": pl.String,  # "6+12"
        "strength": pl.Float64,
    }
)


def sources(training_set: pl.DataFrame, pictures: int, seed: int) -> pl.DataFrame:
    """`pictures` of the split "test" in an order that nothing but `seed` and their content decides; none that
    is rendered, so that with these and without the same are edited.

    Raises ValueError where there are fewer.
    """
    photographs = training_set.filter("keep", pl.col("source") != RENDERED, split="test")
    held_out = photographs.unique("content_hash", keep="first")
    if held_out.height < pictures:
        raise ValueError(
            f"editing.pictures: {pictures} of the split “test” are asked for, it has {held_out.height}: ask "
            "for fewer, or hold out more (split.test)"
        )
    order = [_hash(seed, content) for content in held_out["content_hash"]]
    labels = [pl.col(column).fill_null(0.0).cast(pl.Float64) for column in facs.COLUMNS]
    ordered = held_out.with_columns(pl.Series("order", order), *labels).sort("order").head(pictures)
    return ordered.select(
        pl.int_range(pictures, dtype=pl.Int64).alias("source_index"),
        pl.col("sample_id").alias("source_id"),
        "file_kind",
        "file",
        "content_hash",
        *facs.COLUMNS,
    )


def build(found: pl.DataFrame, strengths: Sequence[float] = ()) -> pl.DataFrame:
    """The edits of the pictures of `sources`: SCHEMA, sorted by id.

    Of each picture: one AU alone at 1 to 5 (60 "individual"), the 50 combinations, what the next picture
    shows ("transferred"), and what it shows itself ("unchanged": the change is 0). What is not asked for is
    asked to be 0. The individual ones are there at each of `strengths` and at 1.
    """
    rows = []
    pictures = found.to_dicts()
    for place, picture in enumerate(pictures):
        for strength in sorted({1.0, *strengths}):
            for au in facs.ACTION_UNITS:
                for intensity in INTENSITIES:
                    name = f"au{au:02d}/{intensity}"
                    rows.append(_row("individual", picture, facs.parse({au: intensity}), name, strength))
        for k, vector in enumerate(combinations()):
            rows.append(_row("combination", picture, facs.parse(vector), f"{k:02d}"))
        other = pictures[(place + 1) % len(pictures)]
        rows.append(_row("transferred", picture, _aus(other), f"from/{other['source_index']:03d}"))
        rows.append(_row("unchanged", picture, _aus(picture), "same"))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("sample_id")


def targets(edits: pl.DataFrame) -> pl.DataFrame:
    """`edits` with `target`, the twelve intensities that an editor is told: the source's, changed by
    `strength` times what would lead to those asked for."""
    moved = [
        pl.col(source) + pl.col("strength") * (pl.col(column) - pl.col(source))
        for source, column in zip(SOURCE, facs.COLUMNS, strict=True)
    ]
    return edits.with_columns(pl.concat_list(moved).alias("target"))


def _aus(picture: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(picture[column] for column in facs.COLUMNS)


def _row(
    kind: str, picture: Mapping[str, Any], asked: Sequence[float], name: str, strength: float = 1.0
) -> tuple[object, ...]:
    at = "" if strength == 1 else f"/x{strength:g}"
    active = [au for au, value in zip(facs.ACTION_UNITS, asked, strict=True) if value > 0]
    return (
        f"{kind}/{picture['source_index']:03d}/{name}{at}",
        kind,
        picture["source_index"],
        picture["source_id"],
        picture["file_kind"],
        picture["file"],
        picture["content_hash"],
        *_aus(picture),
        *asked,
        "+".join(map(str, active)),
        strength,
    )


def _hash(seed: int, content: str) -> bytes:
    return hashlib.blake2b(f"edited {seed} {content}".encode(), digest_size=8).digest()
