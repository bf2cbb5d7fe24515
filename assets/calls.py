"""Model calls through the memo: what was asked before is looked up, the rest is computed in chunks and
logged.

A model is loaded by its first `read`, so nothing heavy is imported when every answer is known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import polars as pl

from assets import stage
from assets.annotators import Model
from reasons import Reason
from store import ComputeError, Store
from store.hashing import fingerprint

LOG_SHARE, LOG_SECONDS = 0.05, 2.0
"""Progress is logged when this share more is done and this long has passed."""


def over_images(
    context: dg.AssetExecutionContext,
    store: Store,
    memo: str,
    images: pl.DataFrame,
    model: Model,
    schema: dict[str, pl.DataType | type[pl.DataType]],
    *,
    chunk: int,
    **parts: Any,
) -> tuple[pl.DataFrame, int, int]:
    """`images` with what `model` says about each, asked once a content and remembered for ever.

    `images` has `path` and `content_hash`; `schema` is the columns of an answer. `parts` is all that decides
    an answer besides picture and model: wording, settings. Returns the frame (same rows and order), the
    number of model calls and of answers reused. Added are `schema`, `model` and `fingerprint` (who answered),
    and `problem`: the path of a picture that does not decode and why (the detail of CORRUPT_IMAGE), null
    otherwise. Such a picture is tried again next time. Raises inference.images.ImageError for a file that
    cannot be read.
    """
    keys = [fingerprint(image=image, model=model.fingerprint, **parts) for image in images["content_hash"]]
    requests = images.select("path", "content_hash").with_columns(pl.Series("key", keys, dtype=pl.String))
    problems: dict[str, str] = {}

    def answers(missing: pl.DataFrame) -> Iterator[dict[str, Any]]:
        said = set()
        for row in model.read(missing):
            said.add(row["key"])
            if "problem" in row:
                problems[row["key"]] = row["problem"]
            else:
                yield row
        if absent := missing.height - len(said):
            raise ComputeError(f"{model.name} said nothing about {absent} of {missing.height} pictures")

    found = store.memo(memo, schema).get_or_stream(
        requests, answers, chunk=chunk, progress=logged(context, memo), partial=True
    )
    said = pl.Series("problem", [problems.get(key) for key in keys], dtype=pl.String)
    answered = images.with_columns(requests["key"], said).join(
        found.frame.select("key", *schema), on="key", how="left", maintain_order="left"
    )
    answered = answered.with_columns(
        pl.lit(model.name).alias("model"),
        pl.lit(model.fingerprint).alias("fingerprint"),
        pl.format("{}: {}", "path", "problem").alias("problem"),
    )
    return answered.drop("key"), found.computed, found.reused


def readable(found: pl.DataFrame) -> pl.DataFrame:
    """`found` itself, of pictures of our own making. Raises ValueError for one that does not decode."""
    if broken := found["problem"].drop_nulls().to_list():
        raise ValueError(f"{len(broken)} pictures of the store do not decode; {broken[0]}")
    return found


def decode_check(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """A check that few of the pictures that `asset` is the first to decode are corrupt."""

    @dg.asset_check(
        asset=asset,
        name=f"{asset.key.path[-1]}_decodes_most",
        description="The share of pictures that do not decode stays below the limit of unusable rows.",
    )
    def decodes_most(table: pl.DataFrame, profile: dg.ResourceParam[Any]) -> dg.AssetCheckResult:
        corrupt = table["reason_code"].eq_missing(Reason.CORRUPT_IMAGE.value)
        share, limit = stage.share(corrupt), profile.limits["quarantined"]
        return stage.check(
            share <= limit, dg.AssetCheckSeverity.WARN, corrupt=int(corrupt.sum()), share=share, limit=limit
        )

    return decodes_most


def logged(context: dg.AssetExecutionContext, what: str) -> Callable[[Any], None]:
    """A progress callback that logs throughput and time left every few percent."""
    share, seconds = 0.0, 0.0

    def log(progress: Any) -> None:
        nonlocal share, seconds
        now = progress.done / max(1, progress.total)
        due = now - share >= LOG_SHARE and progress.seconds - seconds >= LOG_SECONDS
        if due or progress.done >= progress.total:
            share, seconds = now, progress.seconds
            context.log.info(f"{what}: {progress}")

    return log
