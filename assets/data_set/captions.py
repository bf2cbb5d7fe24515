"""captions: what each picture shows, in words, from BLIP-2 or from the text beside it."""

import dagster as dg
import polars as pl

import reasons
import stages
from assets import calls, stage
from inference import questions
from reasons import Reason
from settings.profile import BlipCaptions, LavisCaptions, Profile, SidecarCaptions
from store import Store

COLUMNS = ("sample_id", "source", "file_kind", "file", "content_hash")


@stage.asset(code_version="2", kinds={"polars", "huggingface"}, pool="gpu")
def captions(
    context: dg.AssetExecutionContext,
    au_annotation: pl.DataFrame,
    face_crop: pl.DataFrame,
    raw_folder: pl.DataFrame,
    raw_rendered: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """One caption a sample (paper, supplement: BLIP-2 without a prompt). Rendered pictures bring theirs
    along, whoever writes the others'."""
    labelled = stage.kept(face_crop).filter(pl.col("source").is_in(stages.LABELLED))
    samples = pl.concat([stage.kept(au_annotation).select(COLUMNS), labelled.select(COLUMNS)])
    beside = pl.concat(
        table.select("sample_id", "raw_caption", "caption_fault") for table in (raw_folder, raw_rendered)
    )
    samples = samples.join(beside, on="sample_id", how="left", maintain_order="left").sort("sample_id")
    rendered = pl.col("source") == stages.RENDERED
    settings, made, reused = profile.captions, 0, 0
    if isinstance(settings, SidecarCaptions):
        captioned = _taken_over(samples.filter(~rendered), "sidecar")
    else:
        captioned, made, reused = _written(context, store, settings, samples.filter(~rendered), profile)
    drawn = _taken_over(samples.filter(rendered), stages.RENDERED).select(captioned.columns)
    captioned = pl.concat([captioned, drawn]).sort("sample_id")
    empty = pl.col("caption").fill_null("").str.strip_chars() == ""
    table = captioned.select(
        *COLUMNS,
        "caption",
        "model",
        "fingerprint",
        (~empty).alias("keep"),
        pl.when(empty).then(pl.coalesce("reason_code", pl.lit(Reason.NO_CAPTION))).alias("reason_code"),
        pl.when(empty).then(pl.coalesce("reason_detail", "complaint")).alias("reason_detail"),
    )
    examples = stage.markdown(stage.kept(table).select("sample_id", "caption").head(12))
    return stage.result(table, model_calls=made, reused=reused, examples=examples)


def _written(
    context: dg.AssetExecutionContext,
    store: Store,
    settings: BlipCaptions | LavisCaptions,
    samples: pl.DataFrame,
    profile: Profile,
) -> tuple[pl.DataFrame, int, int]:
    found = calls.ask(context, store, questions.captions(settings.chosen), samples, profile)
    said = found.frame.with_columns(pl.lit("the model gave none").alias("complaint"))
    return said, found.asked, found.reused


def _taken_over(samples: pl.DataFrame, by: str) -> pl.DataFrame:
    """The texts that lie beside the pictures as captions; `by`: what stands in the place of a model."""
    nothing = pl.lit(None, dtype=pl.String)
    return samples.with_columns(
        pl.col("raw_caption").str.strip_chars().alias("caption"),
        pl.lit(by).alias("model"),
        nothing.alias("fingerprint"),
        *(nothing.alias(name) for name in reasons.COLUMNS),
        pl.coalesce("caption_fault", pl.lit("no text file beside the picture, or an empty one")).alias(
            "complaint"
        ),
    )


@stage.asset_check(asset=captions, blocking=True)
def captions_not_empty(captions: pl.DataFrame) -> dg.AssetCheckResult:
    """There are captions, and a kept sample's is not empty."""
    kept = stage.kept(captions)
    empty = int((kept["caption"].str.strip_chars() == "").sum())
    return stage.check(kept.height > 0 and empty == 0, kept=kept.height, empty=empty)


decodes_most = calls.decode_check(captions)
