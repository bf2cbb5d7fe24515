"""identity_scores: whether one experiment's samples still show the person of their no-AU partner."""

from typing import Any

import dagster as dg
import polars as pl

from assets import calls, stage
from assets.experiment.generated_samples import content
from inference import questions
from settings.profile import Profile
from store import Store

DESCRIBED: dict[str, Any] = {
    "descriptor": pl.List(pl.Float64),
    "model": pl.String,
    "fingerprint": pl.String,
}


def build(
    experiments: dg.StaticPartitionsDefinition, gates: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """The asset, with one partition an experiment."""

    @stage.asset(code_version="1", partitions_def=experiments, pool="gpu")
    def identity_scores(
        context: dg.AssetExecutionContext,
        generated_samples: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Profile],
    ) -> dg.MaterializeResult:
        """How far apart the faces of every sample and its no-AU partner are, and whether they are one
        person's. Empty where the profile names nobody who knows faces.
        """
        own = generated_samples.filter(pl.col("kind") != "base")
        table, made, reused = describe(context, store, profile, own)
        return stage.result(
            table,
            model_calls=made,
            reused=reused,
            needed=profile.identity is not None,
            same_person=table["same_person"].mean(),
        )

    return [identity_scores]


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
