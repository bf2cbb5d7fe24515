"""latents: the VAE's moments of every training picture, encoded once, in shards named by content."""

import dagster as dg
import polars as pl

import reasons
from assets import calls, stage
from inference import questions
from settings.profile import Profile
from store import Store


@stage.asset(code_version="2", kinds={"torch", "safetensors"}, pool="gpu")
def latents(
    context: dg.AssetExecutionContext,
    training_set: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """Where the moments of each sample lie: `file` (a shard) and `row` in it, float16 [2C, h, w]."""
    from inference.autoencoder import Autoencoder

    base = profile.base
    model = Autoencoder(base.model, base.revision, base.precision, base.batch_size)
    samples = stage.kept(training_set).select("sample_id", "source", "file_kind", "file", "content_hash")
    question = questions.latents(model, base.size, store.files("latents"))
    found = calls.ask(context, store, question, samples, profile)
    table = found.frame.select(
        "sample_id",
        "source",
        "content_hash",
        "file_kind",
        "file",
        "row",
        pl.lit(base.size, dtype=pl.Int64).alias("size"),
        "model",
        "fingerprint",
        pl.col("reason_code").is_null().alias("keep"),
        *reasons.COLUMNS,
    )
    shards = table["file"].drop_nulls().n_unique()
    return stage.result(table, model_calls=found.asked, reused=found.reused, shards=shards)


@stage.asset_check(asset=latents, blocking=True)
def shards_are_there(latents: pl.DataFrame, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
    """Every shard that the table names lies in the store, with the bytes that name it."""
    named = latents["file"].drop_nulls()
    lost = store.files("latents").lost(named.unique().sort())
    return stage.check(not lost and len(named) > 0, lost=lost[:10], samples=len(named))


decodes_most = calls.decode_check(latents)
