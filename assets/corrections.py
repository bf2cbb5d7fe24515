"""au_statistics and au_corrections: the fitted minima and maxima, and every step from raw to final
intensities.
"""

from typing import Any

import dagster as dg
import polars as pl

import facs
from assets import stage
from curation import corrections, recipes


@dg.asset(group_name="data_set", code_version="1", kinds={"polars"})
def au_statistics(au_annotation: pl.DataFrame, profile: dg.ResourceParam[Any]) -> dg.MaterializeResult:
    """The minimum and maximum of every corrected AU, with the samples that set them."""
    statistics = corrections.fit(stage.kept(au_annotation), profile.corrections.recipe).statistics
    return stage.result(statistics, statistics=stage.markdown(statistics))


@dg.asset(group_name="data_set", code_version="1", kinds={"polars"})
def au_corrections(
    au_annotation: pl.DataFrame, au_statistics: pl.DataFrame, profile: dg.ResourceParam[Any]
) -> dg.MaterializeResult:
    """Each AU before and after each step of the recipe; rows too weak are dropped."""
    from evaluation import figures

    recipe = recipes.named(profile.corrections.recipe)
    table = corrections.Corrections(recipe, au_statistics).apply(stage.kept(au_annotation))
    drawn = figures.correction_histograms(table)
    return stage.result(table, recipe=recipe.name, histograms=stage.picture(drawn, "before and after"))


@dg.asset_check(asset=au_statistics)
def every_range_is_wide(au_statistics: pl.DataFrame) -> dg.AssetCheckResult:
    """No corrected AU is constant: a column without a range is left as it was."""
    narrow = au_statistics.filter(pl.col("maximum").is_null() | (pl.col("maximum") <= pl.col("minimum")))
    named = sorted(set(narrow.filter(step="power")["au"]))
    return stage.check(not named, dg.AssetCheckSeverity.WARN, constant=[f"AU{au}" for au in named])


@dg.asset_check(asset=au_corrections, blocking=True)
def final_intensities_in_range(
    au_corrections: pl.DataFrame, profile: dg.ResourceParam[Any]
) -> dg.AssetCheckResult:
    """Kept rows have intensities ≥ 0, and ≤ 5 where the recipe bounds them."""
    kept = stage.kept(au_corrections)
    top = facs.MAXIMUM if recipes.named(profile.corrections.recipe).bounded else float("inf")
    values = pl.concat([kept[column] for column in facs.COLUMNS]).drop_nulls()
    outside = int((~values.is_between(0, top)).sum())
    return stage.check(outside == 0, outside=outside, highest=float(values.max() or 0), kept=kept.height)


ASSETS = [au_statistics, au_corrections]
CHECKS = [every_range_is_wide, final_intensities_in_range]
