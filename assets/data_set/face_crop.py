"""face_crop: pictures cut to the square around the face where the profile says so, all others as they are."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dagster as dg
import polars as pl

import reasons
from assets import calls, pictures, stage
from curation import face_crop as rule
from curation import frames
from reasons import Kind, Reason
from store import Store
from store.hashing import fingerprint

CODE_VERSION = "2"
BATCH = 32
"""Pictures decoded at once."""

FACE = {**dict.fromkeys(rule.BOX, pl.Float64), "faces": pl.Int64}
CROP = {
    **dict.fromkeys(rule.SQUARE, pl.Int64),
    "faces": pl.Int64,
    "file": pl.String,
    **dict.fromkeys(reasons.COLUMNS, pl.String),
}
TAKEN = ("sample_id", "source", "path", "content_hash", "width", "height", *rule.BOX)
COLUMNS = (
    *("sample_id", "source", "path", "content_hash", "width", "height", "original_path", "original_hash"),
    *("crop_x", "crop_y", "crop_side", "faces", "model", "fingerprint", "keep", *reasons.COLUMNS),
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
        *frames.KEPT,
    )
    parts, asked = [rows.clear()], Counter()
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
    keys = [
        fingerprint(image=image, square=square, code=CODE_VERSION)
        for image, *square in stage.kept(rows).select("content_hash", *rule.SQUARE).iter_rows()
    ]
    cut = _cut(context, store, stage.kept(rows), keys, lambda part, images: part)
    return pl.concat([cut, rows.filter(~pl.col("keep")).select(cut.columns)]), Counter()


def _by_detector(
    context: dg.AssetExecutionContext, store: Store, profile: Any, rows: pl.DataFrame
) -> Cropped:
    """Around the largest face that the detector finds; another margin does not ask it again."""
    from inference import abilities

    detector = abilities.build("faces", {"provider": "mediapipe", "model": profile.crop.model})
    margin = profile.crop.margin
    memo, asked = store.memo("faces", FACE), 0

    def place(part: pl.DataFrame, images: list) -> pl.DataFrame:
        nonlocal asked
        keys = [fingerprint(image=image, model=detector.fingerprint) for image in part["content_hash"]]
        part = part.drop(*rule.BOX, "faces").with_columns(pl.Series("face_key", keys, dtype=pl.String))
        image_of = dict(zip(keys, images, strict=True))

        def find(missing: pl.DataFrame) -> pl.DataFrame:
            found = detector.find([image_of[key] for key in missing["key"]])
            return pl.DataFrame(found, schema=FACE, orient="row").insert_column(0, missing["key"])

        found = memo.get_or_compute(part.select(key="face_key"), find, chunk=BATCH)
        asked += found.computed
        part = part.join(found.frame, left_on="face_key", right_on="key", how="left", maintain_order="left")
        return rule.squares(frames.quarantine(part, pl.col("faces") == 0, Reason.NO_FACE), margin)

    settings = {"model": detector.fingerprint, "margin": margin, "code": CODE_VERSION}
    keys = [fingerprint(image=image, **settings) for image in rows["content_hash"]]
    who = pl.lit(detector.name).alias("model"), pl.lit(detector.fingerprint).alias("fingerprint")
    cut = _cut(context, store, rows, keys, place).with_columns(who)
    return cut, Counter(model_calls=asked, reused=len(set(keys)) - asked)


METHODS: dict[str, Callable[..., Cropped]] = {"none": _whole, "box": _by_list, "detector": _by_detector}


def _cut(
    context: dg.AssetExecutionContext,
    store: Store,
    rows: pl.DataFrame,
    keys: list[str],
    place: Callable[[pl.DataFrame, list], pl.DataFrame],
) -> pl.DataFrame:
    """`rows` with the crop in place of the picture, each cut once a key and remembered.

    `place` gives rows their square, or a reason why there is none; it is shown their decoded pictures.
    """
    files, broken = store.files("crops"), {}
    requests = rows.with_columns(pl.Series("key", keys, dtype=pl.String))

    def compute(missing: pl.DataFrame) -> pl.DataFrame:
        from inference import faces
        from inference.images import ContentError, read_ahead

        found = list(read_ahead(missing["path"].to_list(), lambda batch: batch, BATCH))
        images = [one for one in found if not isinstance(one, ContentError)]
        unsound = {
            key: str(one)
            for key, one in zip(missing["key"], found, strict=True)
            if isinstance(one, ContentError)
        }
        broken.update(unsound)
        placed = place(missing.filter(~pl.col("key").is_in(list(unsound))), images)

        def put(square: tuple, image: Any) -> str | None:
            return None if None in square else files.put(faces.cut(image, *square), ".png")

        with ThreadPoolExecutor(thread_name_prefix="cut") as pool:
            names = list(pool.map(put, placed.select(rule.SQUARE).iter_rows(), images))
        return placed.with_columns(pl.Series("file", names, dtype=pl.String)).select("key", *CROP)

    found = store.memo("crops", CROP).get_or_compute(
        requests, compute, chunk=BATCH, progress=calls.logged(context, "crops"), partial=True
    )
    cut = found.frame.drop_nulls("file")
    lost = [key for key, name in cut.select("key", "file").iter_rows() if not files.has(name)]
    for batch in requests.filter(pl.col("key").is_in(lost)).unique("key").iter_slices(BATCH):
        compute(batch)
    said = pl.DataFrame(list(broken.items()), schema={"key": pl.String, "problem": pl.String}, orient="row")
    told = requests.drop(*rule.SQUARE, "faces", *reasons.COLUMNS)
    for answers in (found.frame, said):
        told = told.join(answers, on="key", how="left", maintain_order="left")
    undecodable = pl.when(pl.col("problem").is_not_null()).then(pl.lit(Reason.CORRUPT_IMAGE))
    there = pl.col("file").is_not_null()
    paths = [None if name is None else str(files.path(name)) for name in told["file"]]
    return told.with_columns(
        pl.coalesce(pl.Series(paths, dtype=pl.String), "path").alias("path"),
        pl.coalesce(pl.col("file").str.strip_suffix(".png"), "content_hash").alias("content_hash"),
        *(pl.when(there).then("crop_side").otherwise(side).alias(side) for side in ("width", "height")),
        pl.coalesce("reason_code", undecodable).alias("reason_code"),
        pl.coalesce("reason_detail", "problem").alias("reason_detail"),
        there.alias("keep"),
    ).select(rows.columns)


@dg.asset_check(asset=face_crop, blocking=True)
def some_have_a_face(face_crop: pl.DataFrame) -> dg.AssetCheckResult:
    """If there were pictures at all, some are kept."""
    return stage.check(face_crop.is_empty() or face_crop["keep"].any(), kept=stage.kept(face_crop).height)


@dg.asset_check(asset=face_crop)
def most_have_a_face_to_crop(face_crop: pl.DataFrame, profile: dg.ResourceParam[Any]) -> dg.AssetCheckResult:
    """The share of pictures without a face to crop stays below the profile's limit."""
    share = stage.share(face_crop["reason_code"].is_in(reasons.of_kind(Kind.NO_FACE)).fill_null(False))
    limit = profile.limits["no_face"]
    return stage.check(share <= limit, dg.AssetCheckSeverity.WARN, share=share, limit=limit)


decodes_most = calls.decode_check(face_crop)
