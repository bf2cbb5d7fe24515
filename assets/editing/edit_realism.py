"""edit_realism: how far edits as a whole lie from held-out photographs."""

import dagster as dg
import polars as pl

from assets import calls, stage
from assets.measuring import embed
from inference import questions
from settings.profile import Profile
from store import Store


@stage.asset(code_version="2", kinds={"huggingface"}, pool="gpu")
def edit_realism(
    context: dg.AssetExecutionContext,
    edited_samples: pl.DataFrame,
    training_set: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """KID and FID of every editor's edits to the photographs of the split "test" that nobody edits, by CLIP's
    embeddings.
    """
    from evaluation import edits, realism

    edited = edited_samples.drop("model", "fingerprint")
    others = training_set.filter(~pl.col("content_hash").is_in(edited["source_hash"].implode()))
    pictures = realism.reference(others, split="test")
    seen = calls.ask(context, store, questions.embeddings(profile.evaluation.embedder), pictures, profile)
    real = seen.frame.drop_nulls("embedding")
    embedded, made, reused = embed(context, store, profile, edited)
    return stage.result(
        edits.realisms(embedded, real),
        model_calls=made + seen.asked,
        reused=reused + seen.reused,
        real_pictures=real.height,
        unreadable=pictures.height - real.height,
    )
