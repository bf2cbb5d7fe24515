"""face_crop: pictures cut to the square around the face where the profile says so, all others as they are."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl

from assets import calls, pictures, stage
from curation import face_crop as rule
from curation import frames
from inference import questions
from store import Store

TAKEN = ("sample_id", "source", "path", "content_hash", "width", "height", *rule.BOX)
COLUMNS = (
    *("sample_id", "source", "path", "content_hash", "width", "height", "original_path", "original_hash"),
    *("crop_x", "crop_y", "crop_side", "faces", "model", "fingerprint", "keep", "reason"),
)


@dg.asset(group_name="data_set", code_version="1", kinds={"polars", "pillow"})
def face_crop(
    context: dg.AssetExecutionContext,
    raw_affectnet: pl.DataFrame,
    raw_disfa: pl.DataFrame,
    raw_folder: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Any],
) -> dg.MaterializeResult:
    """The picture that all later stages see (path, content hash, size), and the original it was cut from.

    Off by default, as in the paper: then a row's picture is its original.
    """
    rows = stage.kept(pl.concat([raw_affectnet, raw_disfa, raw_folder])).select(TAKEN)
    rows = rows.with_columns(
        pl.col("path").alias("original_path"),
        pl.col("content_hash").alias("original_hash"),
        *(pl.lit(None, dtype=pl.Int64).alias(name) for name in (*rule.SQUARE, "faces")),
        *(pl.lit(None, dtype=pl.String).alias(name) for name in ("model", "fingerprint")),
        pl.lit(True).alias("keep"),
        pl.lit(None, dtype=pl.String).alias("reason"),
    )
    parts, asked = [rows.clear()], Counter[str]()
    for (source,), part in rows.group_by("source", maintain_order=True):
        method = getattr(profile.crop, str(source))
        part, answers = METHODS[method](context, store, profile, part)
        parts.append(part)
        asked.update(answers)
    table = pl.concat([part.select(COLUMNS) for part in parts]).sort("sample_id")
    sheets = pictures.sheets(table) if table["crop_side"].is_not_null().any() else {}
    return stage.result(table, **asked, **sheets)


Cropped = tuple[pl.DataFrame, Counter[str]]
"""Rows of one source, and how many of the detector's answers are new (model_calls) and known (reused)."""


def _whole(context: dg.AssetExecutionContext, store: Store, profile: Any, rows: pl.DataFrame) -> Cropped:
    return rows, Counter()


def _by_list(context: dg.AssetExecutionContext, store: Store, profile: Any, rows: pl.DataFrame) -> Cropped:
    """Around the box that came with the picture. What `resolution` would drop for its size is not cut."""
    rows = rule.too_small(rule.squares(rows, profile.crop.margin), profile.resolution.min_side)
    return _cut(context, store, profile, rows), Counter()


def _by_detector(
    context: dg.AssetExecutionContext, store: Store, profile: Any, rows: pl.DataFrame
) -> Cropped:
    """Around the largest face that the detector finds; another margin does not ask it again."""
    question = questions.faces({"provider": "mediapipe", "model": profile.crop.model})
    found = calls.ask(context, store, question, rows.drop(*rule.SQUARE), profile.chunk)
    placed = frames.quarantine(found.frame, pl.col("problem").is_not_null(), pl.col("problem"))
    placed = frames.quarantine(placed, pl.col("faces") == 0, "no face")
    placed = rule.squares(placed, profile.crop.margin)
    return _cut(context, store, profile, placed), Counter(model_calls=found.asked, reused=found.reused)


METHODS: dict[str, Callable[..., Cropped]] = {"none": _whole, "box": _by_list, "detector": _by_detector}


def _cut(context: dg.AssetExecutionContext, store: Store, profile: Any, rows: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the crop in place of the picture; those without a square stay as they are."""
    files = store.files("crops")
    kept = stage.kept(rows)
    found = calls.ask(context, store, questions.crops(files), kept, profile.chunk).frame
    cut = frames.quarantine(found, pl.col("problem").is_not_null(), pl.col("problem"))
    there = pl.col("file").is_not_null()
    paths = [None if name is None else str(files.path(name)) for name in cut["file"]]
    cut = cut.with_columns(
        kept["model"],
        kept["fingerprint"],
        pl.coalesce(pl.Series(paths, dtype=pl.String), "path").alias("path"),
        pl.coalesce(pl.col("file").str.strip_suffix(".png"), "content_hash").alias("content_hash"),
        *(pl.when(there).then("crop_side").otherwise(side).alias(side) for side in ("width", "height")),
    )
    return pl.concat([cut.select(COLUMNS), rows.filter(~pl.col("keep")).select(COLUMNS)])


@dg.asset_check(asset=face_crop, blocking=True)
def some_have_a_face(face_crop: pl.DataFrame) -> dg.AssetCheckResult:
    """If there were pictures at all, some are kept."""
    return stage.check(face_crop.is_empty() or face_crop["keep"].any(), kept=stage.kept(face_crop).height)


@dg.asset_check(asset=face_crop)
def most_have_a_face_to_crop(face_crop: pl.DataFrame, profile: dg.ResourceParam[Any]) -> dg.AssetCheckResult:
    """The share of pictures without a face to crop stays below the profile's limit."""
    share = stage.share(face_crop["reason"].str.contains("^(no face|face box outside)").fill_null(False))
    limit = profile.limits["no_face"]
    return stage.check(share <= limit, dg.AssetCheckSeverity.WARN, share=share, limit=limit)


decodes_most = calls.decode_check(face_crop)
