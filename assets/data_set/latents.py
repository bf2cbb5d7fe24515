"""latents: the VAE's moments of every training picture, encoded once, in shards named by content."""

from typing import Any

import dagster as dg
import polars as pl

from assets import calls, stage
from curation import frames
from store import Store
from store.hashing import fingerprint

PLACE = {"file": pl.String, "row": pl.Int64}


@dg.asset(group_name="data_set", code_version="2", kinds={"torch", "safetensors"}, pool="gpu")
def latents(
    context: dg.AssetExecutionContext,
    training_set: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Any],
) -> dg.MaterializeResult:
    """Where the moments of each sample lie: `file` (a shard) and `row` in it, float16 [2C, h, w]."""
    from inference.autoencoder import Autoencoder

    base = profile.base
    model = Autoencoder(base.model, base.revision, base.precision, base.batch_size)
    samples = stage.kept(training_set).select("sample_id", "source", "path", "content_hash")
    keys = [fingerprint(image=h, model=model.fingerprint, size=base.size) for h in samples["content_hash"]]
    requests = samples.with_columns(pl.Series("key", keys, dtype=pl.String))
    files = store.files("latents")

    def compute(missing: pl.DataFrame) -> pl.DataFrame:
        from safetensors.numpy import save

        from inference.images import load_many

        moments = model.encode(load_many(missing["path"].to_list(), base.size))
        name = files.put(save({"moments": moments}), ".safetensors")
        return pl.DataFrame({"key": missing["key"], "file": name, "row": range(missing.height)})

    found = store.memo("latents", PLACE).get_or_compute(
        requests, compute, chunk=profile.chunk, progress=calls.logged(context, "latents")
    )
    table = requests.join(found.frame, on="key", how="left", maintain_order="left").select(
        "sample_id",
        "source",
        "content_hash",
        "file",
        "row",
        pl.lit(model.name).alias("model"),
        pl.lit(model.fingerprint).alias("fingerprint"),
        *frames.KEPT,
    )
    return stage.result(
        table, model_calls=found.computed, reused=found.reused, shards=table["file"].n_unique()
    )


@dg.asset_check(asset=latents, blocking=True)
def shards_are_there(latents: pl.DataFrame, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
    """Every shard that the table names lies in the store."""
    files = store.files("latents")
    missing = sorted(name for name in latents["file"].unique() if not files.has(name))
    return stage.check(not missing and latents.height > 0, missing=missing[:10], samples=latents.height)
