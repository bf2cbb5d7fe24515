"""photorealism: drawings, renderings and the like are dropped; both answers stay with the row (paper,
supplement).
"""

from typing import Any

import dagster as dg
import polars as pl

import reasons
from assets import audit, calls, pictures, stage
from assets.data_set import overrides as people
from curation import overrides
from curation import photorealism as rule
from inference import questions
from store import Store

ANSWERS = questions.answer_columns(rule.QUESTIONS)


@stage.asset(
    code_version="2",
    kinds={"polars", "huggingface"},
    pool="gpu",
    deps=[people.overrides],
)
def photorealism(
    context: dg.AssetExecutionContext,
    resolution: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Any],
) -> dg.MaterializeResult:
    """Which pictures are photographs: asked of BLIP-2, or vouched for by a person. Overrides win."""
    pictures_in = stage.kept(resolution).select("sample_id", "source", "file_kind", "file", "content_hash")
    judge = WITHOUT_A_MODEL.get(profile.photorealism.provider, _asked)
    judged, made, reused = judge(context, store, profile, pictures_in)
    table = overrides.apply(judged, people.read(store), "photorealism").select(
        *pictures_in.columns,
        *ANSWERS,
        *("model", "fingerprint", "vouched_by", "model_keep", "model_reason_code", "model_reason_detail"),
        *("override", "overruled_by", "overruled_at", "override_reason", "keep", *reasons.COLUMNS),
    )
    return stage.result(
        table,
        model_calls=made,
        reused=reused,
        overruled=table["override"].count(),
        **_borderline(table, profile, store),
        **pictures.sheets(store.located(table)),
    )


def _asked(
    context: dg.AssetExecutionContext, store: Store, profile: Any, images: pl.DataFrame
) -> tuple[pl.DataFrame, int, int]:
    settings = profile.photorealism
    wordings = dict(settings.questions)
    asked = calls.ask(context, store, questions.answers(settings.chosen, wordings), images, profile.chunk)
    answered = asked.frame.with_columns(pl.col("reason_code").is_null().alias("keep"))
    return rule.judge(answered, settings.thresholds, wordings), asked.asked, asked.reused


def _vouched(
    context: dg.AssetExecutionContext, store: Store, profile: Any, images: pl.DataFrame
) -> tuple[pl.DataFrame, int, int]:
    return rule.vouch(images, profile.photorealism.by), 0, 0


WITHOUT_A_MODEL = {"vouched": _vouched}


def _borderline(table: pl.DataFrame, profile: Any, store: Store) -> dict[str, Any]:
    """Metadata for the eye: the verdicts that were closest, as a sheet with the scores, and as a page."""
    if table["cartoon_score"].is_null().all():
        return {}
    settings = profile.photorealism
    close = store.located(rule.borderline(table, settings.thresholds))
    page = audit.write(store.home / "photorealism.html", close, settings.questions, settings.thresholds)
    shown = close.head(pictures.SHOWN)
    titles = shown.select(
        pl.format(
            "{} c{} r{}",
            pl.when("keep").then(pl.lit("+")).otherwise(pl.lit("-")),
            pl.col("cartoon_score").round(2),
            pl.col("real_score").round(2),
        )
    )
    sheet = pictures.contact_sheet(shown["path"].to_list(), titles.to_series().to_list())
    return {"borderline": stage.picture(sheet, "borderline"), "audit": dg.MetadataValue.path(page)}


@dg.asset_check(asset=photorealism, blocking=True)
def some_are_photographs(photorealism: pl.DataFrame) -> dg.AssetCheckResult:
    """If there were pictures at all, some are kept."""
    return stage.check(
        photorealism.is_empty() or photorealism["keep"].any(), kept=stage.kept(photorealism).height
    )


decodes_most = calls.decode_check(photorealism)
