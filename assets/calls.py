"""Model calls through the memo: what was asked before is looked up, the rest is computed in chunks and
logged.

A model is built inside `compute`, so nothing heavy is imported when every answer is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets import stage
from store import Store
from store.hashing import fingerprint

if TYPE_CHECKING:
    from PIL.Image import Image

UNDECODABLE = "corrupt image"
"""Reason of a row whose picture does not decode. Raw readers look at headers only (`curation.frames`)."""

LOG_SHARE, LOG_SECONDS = 0.05, 2.0
"""Progress is logged when this share more is done and this long has passed."""


def over_images(
    context: dg.AssetExecutionContext,
    store: Store,
    memo: str,
    images: pl.DataFrame,
    read: Callable[[list[Image]], Sequence[dict[str, Any]]],
    schema: dict[str, pl.DataType | type[pl.DataType]],
    *,
    chunk: int,
    quarantine: bool = False,
    **parts: Any,
) -> tuple[pl.DataFrame, int, int]:
    """`images` with what `read` says about each, asked once a content and remembered for ever.

    `images` has `path` and `content_hash`; `read` takes decoded RGB pictures and gives a mapping with the
    columns of `schema` for each. `parts` is all else that decides the answer: the model's fingerprint,
    wording, settings. Returns the frame (same rows and order, `schema` and `problem` added), the number of
    model calls and of answers reused.

    With `quarantine`, a picture whose content does not decode gets no answer but a `problem` that names its
    file ("corrupt image: ..."), and is tried again next time; else it is an ImageError. `problem` is null
    where nothing is wrong.
    """
    keys = [fingerprint(image=image, **parts) for image in images["content_hash"]]
    requests = images.select("path", "content_hash").with_columns(pl.Series("key", keys, dtype=pl.String))

    problems: dict[str, str] = {}

    def compute(missing: pl.DataFrame) -> pl.DataFrame:
        from inference.images import load_sound

        pictures, broken = load_sound(missing["path"].to_list())
        if broken and not quarantine:
            raise next(iter(broken.values()))
        for place, error in broken.items():
            problems[missing["key"][place]] = str(error).removeprefix(f"{missing['path'][place]}: ")
        sound = [key for place, key in enumerate(missing["key"]) if place not in broken]
        answers = read(pictures) if pictures else []
        rows = [{"key": key, **answer} for key, answer in zip(sound, answers, strict=True)]
        return pl.DataFrame(rows, schema={"key": pl.String, **schema})

    found = store.memo(memo, schema).get_or_compute(
        requests, compute, chunk=chunk, progress=logged(context, memo), partial=quarantine
    )
    said = pl.DataFrame(list(problems.items()), schema={"key": pl.String, "problem": pl.String}, orient="row")
    answered = images.with_columns(requests["key"])
    for part in (found.frame.select("key", *schema), said):
        answered = answered.join(part, on="key", how="left", maintain_order="left")
    named = pl.format("{}: {}: {}", pl.lit(UNDECODABLE), "path", "problem").alias("problem")
    return answered.with_columns(named).drop("key"), found.computed, found.reused


def decode_check(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """A check that few of the pictures that `asset` is the first to decode are corrupt."""

    @dg.asset_check(
        asset=asset,
        name=f"{asset.key.path[-1]}_decodes_most",
        description="The share of pictures that do not decode stays below the limit of unusable rows.",
    )
    def decodes_most(table: pl.DataFrame, profile: dg.ResourceParam[Any]) -> dg.AssetCheckResult:
        corrupt = table["reason"].str.starts_with(UNDECODABLE).fill_null(False)
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
