"""face_crop: the part of each picture that all later stages see, models that label it and training alike."""

import dagster as dg
import polars as pl

import reasons
import stages
from assets import calls, pictures, stage
from curation import frames, framing
from inference import questions
from reasons import Kind, Reason
from settings.profile import Profile
from store import Store

TAKEN = ("sample_id", "source", "file_kind", "file", "content_hash", "width", "height", *framing.BOX)
COLUMNS = (
    *("sample_id", "source", "file_kind", "file", "content_hash", "width", "height"),
    *("original_file", "original_hash", "framing", *framing.SQUARE, *framing.BOX, "face_inside", "faces"),
    *("model", "fingerprint", "keep", *reasons.COLUMNS),
)


@stage.asset(code_version="2", kinds={"polars", "pillow"})
def face_crop(
    context: dg.AssetExecutionContext,
    raw_affectnet: pl.DataFrame,
    raw_disfa: pl.DataFrame,
    raw_folder: pl.DataFrame,
    raw_rendered: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """What later stages see of a picture: all of it (squash), its central square, or the square around its
    face.

    `file` and `content_hash` name what is seen, `original_*` the picture; width and height are the
    original's. The square is cut when a picture is decoded; nothing is written. A face's box is the one that
    came with the picture, else, where the framing needs one, that of the largest face the detector finds.
    """
    rows = stage.kept(pl.concat([raw_affectnet, raw_disfa, raw_folder, raw_rendered])).select(TAKEN)
    photographed = [source for source in rows["source"].unique() if source != stages.RENDERED]
    chosen = {source: getattr(profile.framing, source) for source in photographed}
    chosen[stages.RENDERED] = framing.SQUASH  # a square around the face as it is
    rows = rows.with_columns(
        pl.col("source").replace_strict(chosen, return_dtype=pl.String).alias("framing"),
        *(pl.lit(None, dtype=pl.String).alias(name) for name in ("model", "fingerprint")),
        pl.lit(None, dtype=pl.Int64).alias("faces"),
        *frames.KEPT,
    )
    needs_box = (pl.col("framing") == framing.FACE) & pl.any_horizontal(
        pl.col(name).is_null() for name in framing.BOX
    )
    found, made, reused = _detected(context, store, profile, rows.filter(needs_box))
    rows = pl.concat([rows.filter(~needs_box), found.select(rows.columns)])
    table = framing.seen(framing.frame(rows, profile.framing.margin, profile.resolution.min_side))
    table = table.select(COLUMNS).sort("sample_id")
    asked = {"model_calls": made, "reused": reused} if found.height else {}
    sheets = pictures.sheets(store.located(table)) if table["crop_side"].is_not_null().any() else {}
    return stage.result(table, **asked, framings=stage.markdown(faces_by_framing(table)), **sheets)


def _detected(
    context: dg.AssetExecutionContext, store: Store, profile: Profile, rows: pl.DataFrame
) -> tuple[pl.DataFrame, int, int]:
    """`rows` with the box of the largest face the detector finds, or why there is none; calls, reused."""
    if rows.is_empty():
        return rows, 0, 0
    question = questions.faces({"provider": "mediapipe", "model": profile.framing.model})
    answers = calls.ask(context, store, question, rows, profile)
    scale = zip(framing.BOX, ("width", "height") * 2, strict=True)
    found = answers.frame.with_columns(
        (pl.col(name) * pl.col(side)).round(1).alias(name) for name, side in scale
    )
    found = found.with_columns(pl.col("reason_code").is_null().alias("keep"))
    found = frames.quarantine(found, pl.col("faces") == 0, Reason.NO_FACE, "the detector found none")
    return found, answers.asked, answers.reused


def faces_by_framing(table: pl.DataFrame) -> pl.DataFrame:
    """How many faces each framing cuts, as far as their boxes are known."""
    cut = framing.is_cut()
    return (
        stage.kept(table)
        .group_by("source", "framing")
        .agg(
            pl.len().alias("pictures"),
            pl.col("face_inside").count().alias("with a box"),
            cut.sum().alias("faces cut"),
            cut.mean().alias("share cut"),
        )
        .sort("source")
    )


@stage.asset_check(asset=face_crop, blocking=True)
def some_have_a_face(face_crop: pl.DataFrame) -> dg.AssetCheckResult:
    """If there were pictures at all, some are kept."""
    return stage.check(face_crop.is_empty() or face_crop["keep"].any(), kept=stage.kept(face_crop).height)


@stage.asset_check(asset=face_crop)
def most_have_a_face_to_crop(
    face_crop: pl.DataFrame, profile: dg.ResourceParam[Profile]
) -> dg.AssetCheckResult:
    """The share of pictures without a face to crop stays below the profile's limit."""
    share = stage.share(face_crop["reason_code"].is_in(reasons.of_kind(Kind.NO_FACE)).fill_null(False))
    limit = profile.limits["no_face"]
    return stage.check(share <= limit, dg.AssetCheckSeverity.WARN, share=share, limit=limit)


@stage.asset_check(asset=face_crop)
def faces_are_whole(face_crop: pl.DataFrame, profile: dg.ResourceParam[Profile]) -> dg.AssetCheckResult:
    """The framing cuts few of the faces whose boxes are known: what is trained on shows what was labelled."""
    cut = stage.kept(face_crop).select(framing.is_cut()).to_series()
    known, limit = len(cut) - cut.null_count(), profile.limits["cut_faces"]
    share = stage.share(cut.drop_nulls())
    return stage.check(
        share <= limit,
        dg.AssetCheckSeverity.WARN,
        cut=int(cut.sum()), with_a_box=known, without_a_box=cut.null_count(), share=share, limit=limit,
    )  # fmt: skip


decodes_most = calls.decode_check(face_crop)
