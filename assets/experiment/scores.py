"""au_scores and clip_scores: what the judges and CLIP measure in one experiment's pictures."""

from typing import Any

import dagster as dg
import polars as pl

import facs
from assets import calls, measuring, stage
from inference import questions
from settings.profile import Profile
from store import Store


def build(
    experiments: dg.StaticPartitionsDefinition, gates: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """Both assets, with one partition an experiment."""

    @stage.asset(code_version="4", partitions_def=experiments, kinds={"torch"}, pool="gpu")
    def au_scores(
        context: dg.AssetExecutionContext,
        generated_samples: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Profile],
    ) -> dg.MaterializeResult:
        """The twelve intensities that each judge measures in every picture, no-AU partners included; null
        without a face.
        """
        from evaluation import metrics

        own = generated_samples.filter(pl.col("kind") != "base")
        table, made, reused = measuring.measure_by_all(context, store, profile, own)
        found = pl.any_horizontal(pl.col(f"measured_{column}").is_not_null() for column in facs.COLUMNS)
        told: dict[str, Any] = {}
        for name, judge in profile.judges.items():
            read = table.filter(judge=name)
            told[name] = judge.provider
            told[f"{name}_without_face"] = read.filter(~found).height
            told[f"{name}_left_out"] = metrics.left_out(read)
        return stage.result(table, model_calls=made, reused=reused, **told)

    @stage.asset(
        code_version="3",
        partitions_def=experiments,
        kinds={"huggingface"},
        pool="gpu",
    )
    def clip_scores(
        context: dg.AssetExecutionContext,
        generated_samples: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Profile],
    ) -> dg.MaterializeResult:
        """Of every sample the cosine between its CLIP embedding and those of its no-AU partner (CLIP-I), of
        the untouched base's picture (CLIP-I to the base), and of its prompt (CLIP-T).
        """
        from evaluation import partners

        embedded, made, reused = measuring.embed(context, store, profile, generated_samples)
        prompts = generated_samples.select("prompt").unique().sort("prompt")
        question = questions.text_embeddings(profile.evaluation.embedder)
        texts = calls.ask(context, store, question, prompts, profile)
        table = partners.cosines(embedded, texts.frame)
        means = table.select(pl.col(partners.CLIP_METRICS).mean()).row(0, named=True)
        return stage.result(
            table.drop("embedding"), model_calls=made + texts.asked, reused=reused + texts.reused, **means
        )

    return [au_scores, clip_scores]
