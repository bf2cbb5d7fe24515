"""edit_results: the editors side by side."""

import dagster as dg
import polars as pl

from assets import stage
from settings.profile import Profile


@stage.asset(code_version="1", kinds={"polars"})
def edit_results(
    context: dg.AssetExecutionContext,
    edit_scores: pl.DataFrame,
    edit_fidelity: pl.DataFrame,
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """Every measure of every editor with its 95 % interval over source pictures, and the front of AU error
    against CLIP-I over strengths.
    """
    from evaluation import edits, figures

    found = edits.results(edit_scores, edit_fidelity)
    judge = next(iter(profile.judges))
    fronts = edits.fronts(found, judge)
    return stage.result(
        found,
        judge=judge,
        fronts=stage.picture(figures.edit_fronts(fronts), "AU error against CLIP-I over strengths"),
        results=stage.markdown(found),
    )
