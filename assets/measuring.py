"""What judges, CLIP and the identity net measure in pictures, whichever stage asks: drawn ones, or edits."""

from typing import Any

import dagster as dg
import polars as pl

import facs
from assets import calls
from assets.data_set.au_annotation import annotate
from assets.drawing import content
from inference import questions
from settings.profile import AUEstimator, Profile
from store import Store

DESCRIBED: dict[str, Any] = {
    "descriptor": pl.List(pl.Float64),
    "model": pl.String,
    "fingerprint": pl.String,
}


def measure_by_all(
    context: dg.AssetExecutionContext, store: Store, profile: Profile, samples: pl.DataFrame
) -> tuple[pl.DataFrame, int, int]:
    """What every judge of the profile measures in `samples` (with `file`), one below the other, named in the
    column `judge`; calls, reused.
    """
    tables, calls_made, answers_known = [], 0, 0
    for name, judge in profile.judges.items():
        read, made, reused = measure(context, store, profile, judge, samples)
        tables.append(read.select(pl.lit(name).alias("judge"), pl.all()))
        calls_made, answers_known = calls_made + made, answers_known + reused
    return pl.concat(tables), calls_made, answers_known


def measure(
    context: dg.AssetExecutionContext,
    store: Store,
    profile: Profile,
    judge: AUEstimator,
    samples: pl.DataFrame,
) -> tuple[pl.DataFrame, int, int]:
    """`samples` (with `file`) and what `judge` measures in them: measured_au1 …, faces, and its model and
    fingerprint; calls, reused.
    """
    images = samples.select("file_kind", "file", content())
    found, made, reused = annotate(context, store, judge, images, profile)
    readings = calls.readable(found).select(
        pl.col(facs.COLUMNS).name.prefix("measured_"), "faces", "model", "fingerprint"
    )
    return samples.hstack(readings), made, reused


def embed(
    context: dg.AssetExecutionContext, store: Store, profile: Profile, samples: pl.DataFrame
) -> tuple[pl.DataFrame, int, int]:
    """`samples` (with `file`) and the CLIP `embedding` of each picture, its model and fingerprint; calls,
    reused.
    """
    question = questions.embeddings(profile.evaluation.embedder)
    images = samples.select("file_kind", "file", content())
    found = calls.ask(context, store, question, images, profile)
    embedded = calls.readable(found.frame).select("embedding", "model", "fingerprint")
    return samples.hstack(embedded), found.asked, found.reused


def describe(
    context: dg.AssetExecutionContext, store: Store, profile: Profile, samples: pl.DataFrame
) -> tuple[pl.DataFrame, int, int]:
    """Whether those of `samples` (with `file`) that have a partner still show its face; no rows where the
    profile names nobody who knows faces. Calls, reused.
    """
    from evaluation import partners

    pictures = samples.with_columns(content())
    described, made, reused = descriptors(context, store, profile, pictures)
    return partners.identities(described).drop("content_hash", "descriptor"), made, reused


def descriptors(
    context: dg.AssetExecutionContext, store: Store, profile: Profile, pictures: pl.DataFrame
) -> tuple[pl.DataFrame, int, int]:
    """`pictures` (with `file_kind`, `file`, `content_hash`) and the `descriptor` of each face, null without
    one, its model and fingerprint; no rows where the profile names nobody who knows faces. Calls, reused.
    """
    if profile.identity is None:
        columns = [pl.lit(None, kind).alias(name) for name, kind in DESCRIBED.items()]
        return pictures.clear().with_columns(columns), 0, 0
    images = pictures.select("file_kind", "file", "content_hash")
    found = calls.ask(context, store, questions.identities(profile.identity.chosen), images, profile)
    known = calls.readable(found.frame).select(*DESCRIBED)
    return pictures.hstack(known), found.asked, found.reused
