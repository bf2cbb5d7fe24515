"""edit_results: the editors side by side, and their page."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets import stage
from assets.editing import sheets
from settings.profile import Profile
from store import Store

PAGE = "editing.html"


@stage.asset(code_version="3", kinds={"polars"})
def edit_results(
    context: dg.AssetExecutionContext,
    edited_samples: pl.DataFrame,
    edit_scores: pl.DataFrame,
    edit_fidelity: pl.DataFrame,
    edit_identity: pl.DataFrame,
    edit_realism: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """Every measure of every editor with its 95 % interval over source pictures, the fronts of AU error
    against CLIP-I and identity over strengths, and the same people by every editor: a page at `page` in the
    metadata.
    """
    from evaluation import editing_page, edits, figures

    found = edits.results(edit_scores, edit_fidelity, edit_identity, edit_realism)
    judge = next(iter(profile.judges))
    fronts: dict[str, Any] = {
        f"front_{name}": stage.picture(
            figures.edit_fronts(edits.fronts(found, judge, name), name),
            f"AU error against {name} over strengths",
        )
        for name in edits.likenesses(found)
    }
    now = datetime.now(UTC)
    page = editing_page.Page(
        title=profile.title,
        notice=profile.notice,
        subtitle=f"profile {Path(profile.name).name}, {now:%Y-%m-%d %H:%M} UTC, run {context.run_id}",
        results=found,
        people=sheets.people(store, edited_samples),
    )
    return stage.result(
        found,
        judge=judge,
        page=dg.MetadataValue.path(editing_page.write(store.home / PAGE, page)),
        results=stage.markdown(found),
        **fronts,
    )
