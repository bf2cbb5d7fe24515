"""Model calls through the memo: what was asked before is looked up, the rest is computed in chunks and
logged.

A model is built inside `compute`, so nothing heavy is imported when every answer is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from store import Store
from store.hashing import fingerprint

if TYPE_CHECKING:
    from PIL.Image import Image

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
    **parts: Any,
) -> tuple[pl.DataFrame, int, int]:
    """`images` with what `read` says about each, asked once a content and remembered for ever.

    `images` has `path` and `content_hash`; `read` takes decoded RGB pictures and gives a mapping with the
    columns of `schema` for each. `parts` is all else that decides the answer: the model's fingerprint,
    wording, settings. Returns the frame (same rows and order, `schema` added), the number of model calls and
    of answers reused.
    """
    keys = [fingerprint(image=image, **parts) for image in images["content_hash"]]
    requests = images.select("path", "content_hash").with_columns(pl.Series("key", keys, dtype=pl.String))

    def compute(missing: pl.DataFrame) -> pl.DataFrame:
        from inference.images import load_many

        answers = read(load_many(missing["path"].to_list()))
        rows = [{"key": key, **answer} for key, answer in zip(missing["key"], answers, strict=True)]
        return pl.DataFrame(rows, schema={"key": pl.String, **schema})

    found = store.memo(memo, schema).get_or_compute(
        requests, compute, chunk=chunk, progress=logged(context, memo)
    )
    answered = images.with_columns(requests["key"]).join(
        found.frame.select("key", *schema), on="key", how="left", maintain_order="left"
    )
    return answered.drop("key"), found.computed, found.reused


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
