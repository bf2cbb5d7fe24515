"""realism_scores: how far one experiment's pictures as a whole lie from those of the training set."""

import dagster as dg
import polars as pl

from assets import calls, stage
from assets.measuring import embed
from inference import questions
from settings.profile import Profile
from store import Store


def build(
    experiments: dg.StaticPartitionsDefinition, gates: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """The asset, with one partition an experiment."""

    @stage.asset(code_version="2", partitions_def=experiments, kinds={"huggingface"}, pool="gpu")
    def realism_scores(
        context: dg.AssetExecutionContext,
        generated_samples: pl.DataFrame,
        training_set: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Profile],
    ) -> dg.MaterializeResult:
        """KID and FID of the samples of each kind to pictures of the split "train", by CLIP's embeddings."""
        from evaluation import realism, tables

        pictures = realism.reference(training_set)
        question = questions.embeddings(profile.evaluation.embedder)
        seen = calls.ask(context, store, question, pictures, profile)
        real = seen.frame.drop_nulls("embedding")
        embedded, made, reused = embed(
            context, store, profile, generated_samples.filter(pl.col("kind").is_in(tables.KINDS))
        )
        rows = [
            (
                context.partition_key,
                kind,
                metric,
                *estimate,
                real.height,
                part["model"][0],
                part["fingerprint"][0],
            )
            for kind in tables.KINDS
            if (part := embedded.filter(kind=kind)).height
            for metric, estimate in realism.measured(part, real).items()
        ]
        table = pl.DataFrame(rows, schema=realism.SCORES, orient="row").with_columns(
            pl.col("value", "low", "high").fill_nan(None)
        )
        return stage.result(
            table,
            model_calls=made + seen.asked,
            reused=reused + seen.reused,
            real_pictures=real.height,
            unreadable=pictures.height - real.height,
            scores=stage.markdown(table),
        )

    return [realism_scores]
