"""photorealism: drawings, renderings and the like are dropped; both answers stay with the row (paper,
supplement).
"""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl

from assets import annotators, calls, pictures, stage
from curation import photorealism as rule
from store import Store

ANSWERS = annotators.answer_columns(rule.QUESTIONS)


@dg.asset(group_name="data_set", code_version="1", kinds={"polars", "huggingface"}, pool="gpu")
def photorealism(
    context: dg.AssetExecutionContext,
    resolution: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Any],
) -> dg.MaterializeResult:
    """Which pictures are photographs: asked of BLIP-2, or vouched for by a person."""
    pictures_in = stage.kept(resolution).select("sample_id", "source", "path", "content_hash")
    judged, made, reused = PROVIDERS[profile.photorealism.provider](context, store, profile, pictures_in)
    columns = (*pictures_in.columns, *ANSWERS, "model", "fingerprint", "vouched_by", "keep", "reason")
    return stage.result(judged.select(columns), model_calls=made, reused=reused, **pictures.sheets(judged))


def _asked(
    context: dg.AssetExecutionContext, store: Store, profile: Any, images: pl.DataFrame
) -> tuple[pl.DataFrame, int, int]:
    settings = profile.photorealism
    questions = dict(settings.questions)
    model = annotators.answers(context, settings.chosen, questions)
    asked, made, reused = calls.over_images(
        context,
        store,
        "photorealism",
        images,
        model,
        ANSWERS,
        chunk=profile.chunk,
        questions=questions,
    )
    asked = asked.with_columns(pl.col("problem").is_null().alias("keep"), pl.col("problem").alias("reason"))
    return rule.judge(asked, settings.thresholds, questions), made, reused


def _vouched(
    context: dg.AssetExecutionContext, store: Store, profile: Any, images: pl.DataFrame
) -> tuple[pl.DataFrame, int, int]:
    return rule.vouch(images, profile.photorealism.by), 0, 0


PROVIDERS: dict[str, Callable[..., tuple[pl.DataFrame, int, int]]] = {"blip2": _asked, "vouched": _vouched}


@dg.asset_check(asset=photorealism, blocking=True)
def some_are_photographs(photorealism: pl.DataFrame) -> dg.AssetCheckResult:
    """If there were pictures at all, some are kept."""
    return stage.check(
        photorealism.is_empty() or photorealism["keep"].any(), kept=stage.kept(photorealism).height
    )


ASSETS = [photorealism]
CHECKS = [some_are_photographs, calls.decode_check(photorealism)]
