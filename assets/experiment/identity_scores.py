"""identity_scores: whether one experiment's samples still show the person of their no-AU partner."""

import dagster as dg
import polars as pl

from assets import measuring, stage
from settings.profile import Profile
from store import Store


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
        table, made, reused = measuring.describe(context, store, profile, own)
        return stage.result(
            table,
            model_calls=made,
            reused=reused,
            needed=profile.identity is not None,
            same_person=table["same_person"].mean(),
        )

    return [identity_scores]
