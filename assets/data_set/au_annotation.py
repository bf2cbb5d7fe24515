"""au_annotation: twelve intensities of every photograph as the estimator gave them, or why there are none."""

from typing import Any

import dagster as dg
import polars as pl

import facs
import reasons
from assets import calls, pictures, stage
from curation import frames
from inference import questions
from inference.abilities import BLIND_SPOTS
from reasons import Kind, Reason
from settings.profile import Profile
from store import Store


@stage.asset(code_version="2", kinds={"polars", "torch"}, pool="gpu")
def au_annotation(
    context: dg.AssetExecutionContext,
    photorealism: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """AU intensities 0-5 of the photographs; null where the estimator does not support an AU."""
    photographs = stage.kept(photorealism).select("sample_id", "source", "file_kind", "file", "content_hash")
    read, made, reused = annotate(context, store, profile.au_estimator, photographs, profile)
    limit = profile.au_estimator.rival
    read = frames.quarantine(
        read.with_columns(pl.col("reason_code").is_null().alias("keep")),
        pl.col("rival") >= (float("inf") if limit is None else limit),
        Reason.SEVERAL_FACES,
        pl.format("{} faces, the second of {} of the largest one's area", "faces", pl.col("rival").round(2)),
    )
    table = read.select(
        "sample_id",
        "source",
        "file_kind",
        "file",
        "content_hash",
        *(column for column in questions.READING if column not in reasons.COLUMNS),
        "model",
        "fingerprint",
        "keep",
        *reasons.COLUMNS,
    )
    return stage.result(
        table,
        model_calls=made,
        reused=reused,
        blind_spots=BLIND_SPOTS.get(profile.au_estimator.provider, "none known"),
        **pictures.sheets(store.located(table)),
    )


def annotate(
    context: dg.AssetExecutionContext, store: Store, estimator: Any, images: pl.DataFrame, profile: Profile
) -> tuple[pl.DataFrame, int, int]:
    """`images` with what `estimator`, a section of the profile, reads in them: the columns of READING,
    `model`, `fingerprint`; calls, reused.
    """
    found = calls.ask(context, store, questions.action_units(estimator.chosen), images, profile)
    return found.frame, found.asked, found.reused


@stage.asset_check(asset=au_annotation, blocking=True)
def something_was_measured(au_annotation: pl.DataFrame) -> dg.AssetCheckResult:
    """There is an intensity at all."""
    measured = sum(au_annotation[column].count() for column in facs.COLUMNS)
    return stage.check(measured > 0, measured=measured)


@stage.asset_check(asset=au_annotation)
def most_have_a_face(au_annotation: pl.DataFrame, profile: dg.ResourceParam[Profile]) -> dg.AssetCheckResult:
    """The share of photographs without a face stays below the profile's limit."""
    code = au_annotation["reason_code"]
    corrupt = code.is_in(calls.UNREAD).fill_null(False)
    share = stage.share(code.filter(~corrupt).is_in(reasons.of_kind(Kind.NO_FACE)).fill_null(False))
    limit = profile.limits["no_face"]
    return stage.check(share <= limit, dg.AssetCheckSeverity.WARN, share=share, limit=limit)


decodes_most = calls.decode_check(au_annotation)
