"""Questions of a stage through the one door (`inference.asking`), with the run's log and its workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import polars as pl

import reasons
from assets import stage, workers
from inference import asking
from inference.asking import Answers, Model, Question
from reasons import Reason
from settings.profile import Profile
from store import Store

UNREAD = (Reason.CORRUPT_IMAGE.value, Reason.CHANGED_FILE.value)
"""Reasons of a row about whose picture no model could be asked."""
LOG_SHARE, LOG_SECONDS = 0.05, 2.0
"""Progress is logged when this share more is done and this long has passed."""


def ask(
    context: dg.AssetExecutionContext, store: Store, question: Question, requests: pl.DataFrame, chunk: int
) -> Answers:
    """`inference.asking.ask`; models in environments of their own run as this run's workers."""

    def engine(model: Model, missing: pl.DataFrame) -> Iterator[dict[str, Any]]:
        worker = getattr(model, "worker", None)
        return asking.local(model, missing) if worker is None else workers.answers(context, worker, missing)

    return asking.ask(
        store, question, requests, chunk=chunk, engine=engine, progress=logged(context, question.memo)
    )


def readable(found: pl.DataFrame) -> pl.DataFrame:
    """`found` itself, of pictures of our own making. Raises ValueError for one that does not decode."""
    broken = found.filter(pl.col("reason_code").is_in(UNREAD))
    if broken.height:
        code, detail = broken.select(reasons.COLUMNS).row(0)
        raise ValueError(f"{broken.height} pictures of the store do not decode; {code}: {detail}")
    return found


def decode_check(asset: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """A check that few of the pictures that `asset` is the first to decode are corrupt."""

    @stage.asset_check(
        asset=asset,
        name=f"{asset.key.path[-1]}_decodes_most",
        description="The share of pictures that do not decode stays below the limit of unusable rows.",
    )
    def decodes_most(table: pl.DataFrame, profile: dg.ResourceParam[Profile]) -> dg.AssetCheckResult:
        corrupt = table["reason_code"].is_in(UNREAD).fill_null(False)
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
