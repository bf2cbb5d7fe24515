"""Questions of a stage through the one door (`inference.asking`), with the run's log and its workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import polars as pl

import reasons
from assets import stage, workers
from inference import asking
from inference.asking import Answers, Engine, Model, Question
from reasons import Reason
from settings.profile import Profile, RayEngine
from store import Store

UNREAD = (Reason.CORRUPT_IMAGE.value, Reason.CHANGED_FILE.value, Reason.KILLS_WORKER.value)
"""Reasons of a row about whose picture no model could be asked."""
LOG_SHARE, LOG_SECONDS = 0.05, 2.0
"""Progress is logged when this share more is done and this long has passed."""


def ask(
    context: dg.AssetExecutionContext,
    store: Store,
    question: Question,
    requests: pl.DataFrame,
    profile: Profile,
    chunk: int | None = None,
) -> Answers:
    """`inference.asking.ask`, by the profile's engine, `chunk` (or the profile's) at a time."""
    with _heard(context):
        return asking.ask(
            store,
            question,
            requests,
            chunk=chunk or profile.chunk,
            engine=_engine(context, profile),
            progress=logged(context, question.memo),
        )


@contextmanager
def _heard(context: dg.AssetExecutionContext) -> Iterator[None]:
    """What models say of themselves goes into the run's log."""
    handler = logging.Handler()
    handler.emit = lambda record: context.log.log(record.levelno, record.getMessage())  # type: ignore[method-assign]
    models = logging.getLogger("inference")
    models.addHandler(handler)
    try:
        yield
    finally:
        models.removeHandler(handler)


def _engine(context: dg.AssetExecutionContext, profile: Profile) -> Engine:
    """The profile's engine. Here, models in environments of their own run as this run's workers."""
    settings = profile.engine
    if isinstance(settings, RayEngine):
        from inference import ray_engine

        return ray_engine.engine(settings, context.log.warning)

    def here(model: Model, missing: pl.DataFrame, together: int) -> Iterator[dict[str, Any]]:
        worker = getattr(model, "worker", None)
        if worker is None:
            return asking.local(model, missing, together)
        return workers.answers(context, worker, missing)

    return here


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
