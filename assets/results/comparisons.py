"""comparisons: which differences between each experiment and the one it is compared with stand."""

from typing import Any

import dagster as dg
import polars as pl

from assets import stage
from settings.profile import Profile


@stage.asset(code_version="5", kinds={"polars"})
def comparisons(
    au_scores: pl.DataFrame,
    clip_scores: pl.DataFrame,
    identity_scores: pl.DataFrame,
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """Every tested measure of every experiment beside its rival's, Holm-corrected as one family."""
    from evaluation import comparisons

    scores = by_judge(au_scores, profile)
    beside = beside_partners(clip_scores, identity_scores, profile)
    measured = next(iter(scores.values()), {})
    pairs = [pair for pair in profile.rivals.items() if {*pair} <= {*measured}]
    table = comparisons.compare(scores, beside, pairs)
    standing = table.drop_nulls("better")
    return stage.result(table, stand=standing.height, comparisons=stage.markdown(table))


def by_judge(au_scores: pl.DataFrame, profile: Profile) -> dict[str, dict[str, pl.DataFrame]]:
    """The rows of each judge, the first one's first, and of each experiment, in the profile's order."""
    return {
        judge: by_experiment(au_scores.filter(judge=judge), profile.experiments)
        for judge in profile.judges
        if judge in au_scores["judge"]
    }


def beside_partners(
    clip_scores: pl.DataFrame, identity_scores: pl.DataFrame, profile: Profile
) -> dict[str, pl.DataFrame]:
    """What CLIP, and who knows faces where somebody was asked, say of each experiment's samples."""
    from evaluation import partners

    faces = by_experiment(identity_scores, profile.experiments)
    cosines = by_experiment(clip_scores, profile.experiments)
    return {name: partners.joined(frame, faces.get(name)) for name, frame in cosines.items()}


def by_experiment(table: pl.DataFrame, experiments: Any) -> dict[str, pl.DataFrame]:
    """The rows of each experiment, in the profile's order."""
    parts = {name: table.filter(experiment=name) for name in experiments}
    return {name: part for name, part in parts.items() if part.height}
