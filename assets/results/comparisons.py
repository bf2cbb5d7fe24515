"""comparisons: which differences between each experiment and the competitor stand."""

from typing import Any

import dagster as dg
import polars as pl

from assets import stage


@stage.asset(code_version="1", kinds={"polars"})
def comparisons(
    au_scores: pl.DataFrame, clip_scores: pl.DataFrame, profile: dg.ResourceParam[Any]
) -> dg.MaterializeResult:
    """Every tested measure of every experiment beside the competitor's, Holm-corrected as one family."""
    from evaluation import comparisons

    competitor = profile.evaluation.competitor
    scores, cosines = (by_experiment(table, profile.experiments) for table in (au_scores, clip_scores))
    others = [name for name in scores if name != competitor] if competitor in scores else []
    table = comparisons.compare(scores, cosines, [(name, competitor) for name in others])
    standing = table.drop_nulls("better")
    return stage.result(table, stand=standing.height, comparisons=stage.markdown(table))


def by_experiment(table: pl.DataFrame, experiments: Any) -> dict[str, pl.DataFrame]:
    """The rows of each experiment, in the profile's order."""
    parts = {name: table.filter(experiment=name) for name in experiments}
    return {name: part for name, part in parts.items() if part.height}
