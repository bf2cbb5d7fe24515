"""training_set: all sources, final action units, caption and split in one table."""

from typing import Any

import dagster as dg
import polars as pl

import facs
import stages
from assets import calls, pictures, stage
from assets.data_set import overrides as people
from curation import duplicates, overrides
from curation import training_set as rule
from inference import questions
from inference.abilities import BLIND_SPOTS
from settings.profile import Profile
from store import Store


@stage.asset(code_version="3", kinds={"polars"}, deps=[people.overrides])
def training_set(
    context: dg.AssetExecutionContext,
    au_corrections: pl.DataFrame,
    raw_disfa: pl.DataFrame,
    raw_folder: pl.DataFrame,
    raw_rendered: pl.DataFrame,
    face_crop: pl.DataFrame,
    captions: pl.DataFrame,
    store: dg.ResourceParam[Store],
    profile: dg.ResourceParam[Profile],
) -> dg.MaterializeResult:
    """What adapters are trained on. Web photographs carry corrected AUs, DISFA frames their manual labels,
    rendered faces the intensities they were rendered with; one that a person gave stands above all.

    The same picture, by content or by look, is in one split only.
    """
    table = put_together(
        context, store, profile, au_corrections, raw_disfa, raw_folder, raw_rendered, face_crop, captions
    )
    names = list(table.columns)
    names.insert(names.index(facs.COLUMNS[-1]) + 1, "overruled")
    table = overrides.apply_intensities(table, people.read(store)).select(names)
    kept = stage.kept(table)
    splits = kept.group_by("source", "split").agg(pl.len().alias("samples")).sort("source", "split")
    active = pl.DataFrame(
        {
            "AU": [f"AU{au} {facs.NAMES[au]}" for au in facs.ACTION_UNITS],
            "samples ≥ 1": [int((kept[column] >= 1).sum()) for column in facs.COLUMNS],
            "mean if ≥ 1": [kept.filter(pl.col(column) >= 1)[column].mean() for column in facs.COLUMNS],
        }
    )
    return stage.result(
        table,
        overruled=int(table["overruled"].list.len().sum()),
        splits=stage.markdown(splits),
        action_units=stage.markdown(active),
        blind_spots=BLIND_SPOTS.get(profile.au_estimator.provider, "none known"),
        **_described(store, table),
    )


def put_together(
    context: dg.AssetExecutionContext,
    store: Store,
    profile: Profile,
    photographs: pl.DataFrame,
    raw_disfa: pl.DataFrame,
    raw_folder: pl.DataFrame,
    raw_rendered: pl.DataFrame,
    face_crop: pl.DataFrame,
    captions: pl.DataFrame,
) -> pl.DataFrame:
    """The training set with the intensities that `photographs` have. Who belongs to it does not depend on
    them."""
    captioned, within = stage.kept(captions), profile.split.looks_within
    return rule.of_tables(
        photographs,
        raw_disfa,
        raw_folder,
        raw_rendered,
        face_crop,
        captioned,
        hashes=None if within is None else _hashes(context, store, profile, captioned),
        within=within or 0,
        shares=profile.split.shares,
        rendered_share=profile.rendered.share,
        seed=profile.split.seed,
    )


def _hashes(
    context: dg.AssetExecutionContext, store: Store, profile: Profile, samples: pl.DataFrame
) -> pl.DataFrame:
    """`content_hash` and `perceptual_hash` of each content, or why it does not decode."""
    contents = samples.unique("content_hash", keep="first", maintain_order=True).select(
        "file_kind", "file", "content_hash"
    )
    return calls.ask(context, store, questions.looks(), contents, profile).frame


def _described(store: Store, table: pl.DataFrame) -> dict[str, Any]:
    """How many pictures were found twice, and each beside the one that it repeats."""
    table = store.located(table)
    twin = table.select("sample_id", "source", "path", "split").rename(lambda name: f"{name}_of")
    found = table.drop_nulls("duplicate_of").join(twin, left_on="duplicate_of", right_on="sample_id_of")
    if found.is_empty():
        return {"duplicates": "none"}
    counts = found.group_by(
        "source", pl.col("source_of").alias("of"), pl.col("duplicate_by").alias("found by"), "keep"
    ).agg(pl.len().alias("samples"))
    shown = pictures.spread(found.sort("duplicate_distance", "sample_id"), pictures.SHOWN // 2)
    paths, titles = [], []
    for row in shown.iter_rows(named=True):
        paths += [row["path"], row["path_of"]]
        titles += [f"{row['duplicate_distance']} bits", "kept" if row["keep"] else "dropped"]
    return {
        "duplicates": stage.markdown(counts.sort(counts.columns)),
        "sheet_duplicates": stage.picture(pictures.contact_sheet(paths, titles), "duplicates, in pairs"),
    }


@stage.asset_check(asset=training_set, blocking=True)
def no_subject_in_two_splits(training_set: pl.DataFrame) -> dg.AssetCheckResult:
    """Nobody is both trained on and tested with."""
    return _in_one_split(training_set.drop_nulls("subject"), ["source", "subject"])


@stage.asset_check(asset=training_set, blocking=True)
def no_content_in_two_splits(training_set: pl.DataFrame) -> dg.AssetCheckResult:
    """No picture is both trained on and tested with, under whatever name."""
    return _in_one_split(training_set, ["content_hash"])


@stage.asset_check(asset=training_set, blocking=True)
def no_lookalike_in_two_splits(
    training_set: pl.DataFrame, profile: dg.ResourceParam[Profile]
) -> dg.AssetCheckResult:
    """No picture is both trained on and tested with in another size, format or light."""
    rows = stage.kept(training_set).drop_nulls("perceptual_hash")
    torn = duplicates.near(rows["perceptual_hash"], rows["split"], profile.split.looks_within or 0)
    return stage.check(torn.is_empty(), compared=rows.height, pairs_in_two_splits=torn.height)


@stage.asset_check(asset=training_set, blocking=True)
def something_to_train_on(training_set: pl.DataFrame) -> dg.AssetCheckResult:
    """The split "train" is not empty."""
    rows = stage.kept(training_set).filter(split="train").height
    return stage.check(rows > 0, train=rows)


@stage.asset_check(asset=training_set)
def every_split_has_samples(
    training_set: pl.DataFrame, profile: dg.ResourceParam[Profile]
) -> dg.AssetCheckResult:
    """No split that the profile gives a share is empty: in a small set all may be in one, and nothing is
    held out."""
    counts = dict(stage.kept(training_set)["split"].value_counts().iter_rows())
    empty = [name for name, share in profile.split.shares.items() if share > 0 and not counts.get(name)]
    return stage.check(not empty, dg.AssetCheckSeverity.WARN, empty=empty, samples=counts)


@stage.asset_check(asset=training_set)
def rendered_reach_their_share(
    training_set: pl.DataFrame, profile: dg.ResourceParam[Profile]
) -> dg.AssetCheckResult:
    """Where the profile gives rendered pictures a share of what is trained on, enough were rendered."""
    train = stage.kept(training_set).filter(split="train")
    rendered = train.filter(source=stages.RENDERED).height
    wanted = rule.rendered_places(train.height - rendered, profile.rendered.share)
    enough = wanted is None or rendered >= wanted or stages.RENDERED not in profile.sources
    return stage.check(enough, dg.AssetCheckSeverity.WARN, rendered=rendered, train=train.height)


def _in_one_split(table: pl.DataFrame, group: list[str]) -> dg.AssetCheckResult:
    splits = stage.kept(table).group_by(group).agg(pl.col("split").n_unique())
    torn = splits.filter(pl.col("split") > 1)
    return stage.check(torn.is_empty(), groups=splits.height, in_two_splits=torn.height)
