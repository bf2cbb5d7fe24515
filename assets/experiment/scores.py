"""au_scores and clip_scores: what the judge and CLIP measure in one experiment's pictures."""

from typing import Any

import dagster as dg
import polars as pl

import facs
from assets import calls, stage
from assets.experiment.generated_samples import located, measure
from inference import questions
from store import Store


def build(
    experiments: dg.StaticPartitionsDefinition, gates: list[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """Both assets, with one partition an experiment."""

    @dg.asset(
        group_name="experiment", code_version="2", partitions_def=experiments, kinds={"torch"}, pool="gpu"
    )
    def au_scores(
        context: dg.AssetExecutionContext,
        generated_samples: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Any],
    ) -> dg.MaterializeResult:
        """The twelve intensities measured in every picture, no-AU partners included; null without a face."""
        table, made, reused = measure(context, store, profile, generated_samples)
        from evaluation import metrics

        found = pl.any_horizontal(pl.col(f"measured_{column}").is_not_null() for column in facs.COLUMNS)
        return stage.result(
            table,
            model_calls=made,
            reused=reused,
            without_face=table.filter(~found).height,
            judge=f"{profile.evaluation.judge} ({profile.judge.provider})",
            left_out=metrics.left_out(table),
        )

    @dg.asset(
        group_name="experiment",
        code_version="2",
        partitions_def=experiments,
        kinds={"huggingface"},
        pool="gpu",
    )
    def clip_scores(
        context: dg.AssetExecutionContext,
        generated_samples: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Any],
    ) -> dg.MaterializeResult:
        """CLIP-I of every sample: the cosine between its image embedding and its no-AU partner's."""
        from evaluation import metrics

        embedded, made, reused = _embed(context, store, profile, generated_samples)
        partners = embedded.select(
            pl.col("sample_id").alias("partner_id"), pl.col("embedding").alias("partner")
        )
        pairs = embedded.drop_nulls("partner_id").join(
            partners, on="partner_id", how="inner", maintain_order="left", validate="m:1"
        )
        cosine = metrics.cosine(_rows(pairs["embedding"]), _rows(pairs["partner"]))
        table = pairs.drop("embedding", "partner").with_columns(pl.Series("clip_i", cosine))
        return stage.result(table, model_calls=made, reused=reused, mean=float(table["clip_i"].mean()))

    return [au_scores, clip_scores]


def _embed(context, store: Store, profile: Any, samples: pl.DataFrame) -> tuple[pl.DataFrame, int, int]:
    question = questions.embeddings(profile.evaluation.embedder)
    found = calls.ask(context, store, question, located(store, samples), profile.chunk)
    embedded = calls.readable(found.frame).select("embedding", "model", "fingerprint")
    return samples.hstack(embedded), found.asked, found.reused


def _rows(embeddings: pl.Series):
    """A list column → float array [N, d]."""
    import numpy as np

    return np.array(embeddings.to_list(), dtype=np.float64)
