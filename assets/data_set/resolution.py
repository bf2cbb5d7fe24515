"""resolution: web photographs that are large enough (paper, supplement, step 1)."""

import dagster as dg
import polars as pl

import reasons
from assets import pictures, stage
from curation import recipes
from curation import resolution as rule
from settings.profile import Profile
from stages import WEB
from store import Store


@stage.asset(code_version="1", kinds={"polars"})
def resolution(
    face_crop: pl.DataFrame, store: dg.ResourceParam[Store], profile: dg.ResourceParam[Profile]
) -> dg.MaterializeResult:
    """Photographs whose width and height, after the face crop, reach the profile's minimum."""
    photographs = stage.kept(face_crop).filter(pl.col("source").is_in(WEB))
    settings, recipe = profile.resolution, recipes.named(profile.corrections.recipe)
    judged = rule.apply(
        photographs,
        settings.min_side,
        settings.inclusive,
        inclusive_height=settings.inclusive and recipe.inclusive_height,
    )
    columns = ("sample_id", "source", "file_kind", "file", "content_hash", "width", "height", "keep")
    table = judged.select(*columns, *reasons.COLUMNS)
    return stage.result(table, **pictures.sheets(store.located(judged)))


@stage.asset_check(asset=resolution, blocking=True)
def some_are_large_enough(resolution: pl.DataFrame) -> dg.AssetCheckResult:
    """If there were photographs at all, some are kept."""
    return stage.check(resolution.is_empty() or resolution["keep"].any(), kept=stage.kept(resolution).height)
