"""au_statistics, au_corrections and recipe_errors: what a recipe was fitted to, every step from raw to final
intensities, and how far each recipe lies from manual labels.
"""

from typing import cast

import dagster as dg
import polars as pl

import facs
from assets import stage
from assets.data_set.training_set import put_together
from curation import calibration, corrections, recipes
from curation import training_set as rule
from evaluation import held_out
from settings.profile import Profile
from store import Store


@stage.asset(code_version="4", kinds={"polars"})
def au_statistics(
    context: dg.AssetExecutionContext,
    au_annotation: pl.DataFrame,
    captions: pl.DataFrame,
    raw_disfa: pl.DataFrame,
    raw_folder: pl.DataFrame,
    raw_rendered: pl.DataFrame,
    face_crop: pl.DataFrame,
    disfa_readings: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """What the recipe was fitted to: the minimum and maximum of every corrected AU, or the map of every AU,
    with the samples that set them. Only a sample that reaches the training set sets a scale, and no map knows
    the subjects that the training set holds out.
    """
    recipe = recipes.named(profile.corrections.recipe)
    readings = captioned(au_annotation, captions)
    if recipe.powers:
        strong = corrections.judged(readings, recipe)
        members = put_together(
            context, store, profile, strong, raw_disfa, raw_folder, raw_rendered, face_crop, captions
        )
        readings = readings.join(stage.kept(members), on="sample_id", how="semi", maintain_order="left")
    frames = rule.split(stage.kept(disfa_readings), profile.split.shares, profile.split.seed)
    fitted = corrections.fit(readings, recipe, frames.filter(split="train"))
    return stage.result(
        fitted.statistics,
        recipe=recipe.name,
        samples=readings.height,
        frames_held_out=frames.filter(pl.col("split") != "train").height,
        statistics=stage.markdown(fitted.statistics),
    )


@stage.asset(code_version="2", kinds={"polars"})
def au_corrections(
    au_annotation: pl.DataFrame,
    captions: pl.DataFrame,
    au_statistics: pl.DataFrame,
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """Each AU before and after each step of the recipe; rows too weak are dropped."""
    from evaluation import figures

    recipe = recipes.named(profile.corrections.recipe)
    table = corrections.Corrections(recipe, au_statistics).apply(captioned(au_annotation, captions))
    drawn = figures.correction_histograms(table)
    return stage.result(table, recipe=recipe.name, histograms=stage.picture(drawn, "before and after"))


def captioned(au_annotation: pl.DataFrame, captions: pl.DataFrame) -> pl.DataFrame:
    """The photographs that were read and have a caption, in the order of `au_annotation`."""
    return stage.kept(au_annotation).join(
        stage.kept(captions), on="sample_id", how="semi", maintain_order="left"
    )


@stage.asset(code_version="1", kinds={"polars"})
def recipe_errors(disfa_readings: pl.DataFrame) -> dg.MaterializeResult:
    """The error of every recipe, not only the profile's, against manual labels of held-out subjects."""
    from evaluation import figures

    table = held_out.errors(stage.kept(disfa_readings))
    if table.is_empty():
        return stage.result(table, note="no labelled frames were read, or of one subject only")
    means = table.group_by("recipe", maintain_order=True).agg(
        pl.col("mae", "mse").mean(), pl.col("frames").max()
    )
    by_au = table.pivot("recipe", index=["au", "frames", "positives"], values=["mae", "mse"])
    drawn = figures.recipe_errors(table)
    return stage.result(
        table,
        means_over_aus=stage.markdown(means),
        errors=stage.markdown(by_au),
        picture=stage.picture(drawn, "mean squared error on held-out subjects"),
    )


@stage.asset_check(asset=au_statistics)
def every_map_is_fitted(au_statistics: pl.DataFrame) -> dg.AssetCheckResult:
    """No AU of a calibrated recipe is without a positive frame: it keeps its readings as they are."""
    unfitted = au_statistics.filter(step=calibration.IDENTITY)["au"]
    return stage.check(
        unfitted.is_empty(), dg.AssetCheckSeverity.WARN, identity=[f"AU{au}" for au in unfitted]
    )


@stage.asset_check(asset=au_statistics)
def every_range_is_wide(au_statistics: pl.DataFrame) -> dg.AssetCheckResult:
    """No corrected AU is constant: a column without a range is left as it was."""
    au_statistics = au_statistics.filter(step="power")
    narrow = au_statistics.filter(pl.col("maximum").is_null() | (pl.col("maximum") <= pl.col("minimum")))
    named = sorted(set(narrow["au"]))
    return stage.check(not named, dg.AssetCheckSeverity.WARN, constant=[f"AU{au}" for au in named])


@stage.asset_check(asset=au_statistics)
def scales_rest_on_many(
    au_statistics: pl.DataFrame, profile: dg.ResourceParam[Profile]
) -> dg.AssetCheckResult:
    """No scale is set by one sample alone, or by readings of which none reaches 2: all labels would follow
    it."""
    doubtful = corrections.doubtful(au_statistics, profile.corrections.recipe)
    return stage.check(
        doubtful.is_empty(),
        dg.AssetCheckSeverity.WARN,
        doubtful=stage.markdown(doubtful) if doubtful.height else "none",
    )


@stage.asset_check(asset=au_corrections, blocking=True)
def final_intensities_in_range(
    au_corrections: pl.DataFrame, profile: dg.ResourceParam[Profile]
) -> dg.AssetCheckResult:
    """Kept rows have intensities ≥ 0, and ≤ 5 where the recipe bounds them."""
    kept = stage.kept(au_corrections)
    top = facs.MAXIMUM if recipes.named(profile.corrections.recipe).bounded else float("inf")
    values = pl.concat([kept[column] for column in facs.COLUMNS]).drop_nulls()
    outside = int((~values.is_between(0, top)).sum())
    highest = float(cast(float, values.max() or 0))
    return stage.check(outside == 0, outside=outside, highest=highest, kept=kept.height)
