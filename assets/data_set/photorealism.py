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
from settings.profile import BlipPhotorealism, LavisPhotorealism, Profile, VouchedPhotorealism
from store import Store

ANSWERS = questions.answer_columns(rule.QUESTIONS)

Asked = BlipPhotorealism | LavisPhotorealism


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
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """Which pictures are photographs: asked of BLIP-2, or vouched for by a person. Overrides win."""
    pictures_in = stage.kept(resolution).select("sample_id", "source", "file_kind", "file", "content_hash")
    settings, made, reused = profile.photorealism, 0, 0
    if isinstance(settings, VouchedPhotorealism):
        judged = rule.vouch(pictures_in, settings.by)
    else:
        judged, made, reused = _asked(context, store, settings, pictures_in, profile)
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
    context: dg.AssetExecutionContext, store: Store, settings: Asked, images: pl.DataFrame, profile: Profile
) -> tuple[pl.DataFrame, int, int]:
    wordings = dict[str, str](settings.questions.items())
    asked = calls.ask(context, store, questions.answers(settings.chosen, wordings), images, profile)
    answered = asked.frame.with_columns(pl.col("reason_code").is_null().alias("keep"))
    return rule.judge(answered, _thresholds(settings), wordings), asked.asked, asked.reused


def _thresholds(settings: Asked) -> dict[str, float]:
    return dict[str, float](settings.thresholds.items())


def _borderline(table: pl.DataFrame, profile: Profile, store: Store) -> dict[str, Any]:
    """Metadata for the eye: the verdicts that were closest, as a sheet with the scores, and as a page."""
    settings = profile.photorealism
    if isinstance(settings, VouchedPhotorealism) or table["cartoon_score"].is_null().all():
        return {}
    thresholds = _thresholds(settings)
    close = store.located(rule.borderline(table, thresholds))
    wordings = dict[str, str](settings.questions.items())
    page = audit.write(store.home / "photorealism.html", close, wordings, thresholds)
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


@stage.asset_check(asset=photorealism, blocking=True)
def some_are_photographs(photorealism: pl.DataFrame) -> dg.AssetCheckResult:
    """If there were pictures at all, some are kept."""
    return stage.check(
        photorealism.is_empty() or photorealism["keep"].any(), kept=stage.kept(photorealism).height
    )


decodes_most = calls.decode_check(photorealism)
