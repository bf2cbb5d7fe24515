"""adapter: one experiment's trained AU adapter, made by a subprocess and kept for ever under what determines
it.
"""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from dagster import AssetCheckKey

from assets import gate, stage
from store import Store

SCHEMA = {
    "experiment": pl.String,
    "method": pl.String,
    "folder": pl.String,
    "adapter_hash": pl.String,
    "steps": pl.Int64,
    "final_loss": pl.Float64,
    "key": pl.String,
    "samples": pl.Int64,
    "training_set_version": pl.Int64,
    "latents_version": pl.Int64,
}
ADAPTERS = Path("files") / "adapters"


def build(
    experiments: dg.StaticPartitionsDefinition, gates: list[AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """The asset, with one partition an experiment; it refuses to train while one of `gates` is failed."""

    @dg.asset(
        group_name="experiment",
        code_version="1",
        partitions_def=experiments,
        kinds={"torch"},
        pool="gpu",
        retry_policy=dg.RetryPolicy(max_retries=1, delay=5),
    )
    def adapter(
        context: dg.AssetExecutionContext,
        training_set: pl.DataFrame,
        latents: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Any],
    ) -> dg.MaterializeResult:
        """The adapter's folder in the home and the hash of its content; no folder for the untouched base."""
        gate.refuse_on_failed(context, gates)
        settings = profile.experiments[context.partition_key]
        row, metadata = METHODS[settings.method](context, store, profile, settings, training_set, latents)
        row |= {
            "experiment": context.partition_key,
            "method": settings.method,
            "training_set_version": store.version("training_set"),
            "latents_version": store.version("latents"),
        }
        return stage.result(pl.DataFrame([row], schema=SCHEMA), **metadata)

    return [adapter]


def losses(folder: Path) -> pl.DataFrame:
    """step and loss of a finished training."""
    return pl.DataFrame(schema={"step": pl.Int64, "loss": pl.Float64})


METHODS = {}
