"""identity_scores: whether one experiment's samples still show the person of their no-AU partner."""

import dagster as dg
import polars as pl

from assets import calls, stage
from assets.experiment.generated_samples import content
from inference import questions
from settings.profile import Profile
from store import Store

DESCRIBED = {
    "identity_distance": pl.Float64,
    "same_person": pl.Float64,
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
        from evaluation import partners

        own = generated_samples.filter(pl.col("kind") != "base")
        if profile.identity is None:
            empty = own.clear().with_columns(
                pl.lit(None, kind).alias(name) for name, kind in DESCRIBED.items()
            )
            return stage.result(empty, needed=False)
        question = questions.identities(profile.identity.chosen)
        images = own.select("file_kind", "file", content())
        found = calls.ask(context, store, question, images, profile)
        described = own.hstack(calls.readable(found.frame).select("descriptor", "model", "fingerprint"))
        table = partners.identities(described).drop("descriptor")
        return stage.result(
            table,
            model_calls=found.asked,
            reused=found.reused,
            without_face=described["descriptor"].null_count(),
            same_person=table["same_person"].mean(),
        )

    return [identity_scores]
