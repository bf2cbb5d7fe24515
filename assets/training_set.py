"""training_set: both sources, final action units, caption and split in one table."""

from typing import Any

import dagster as dg
import polars as pl

import facs
from assets import stage
from curation import training_set as rule


@dg.asset(group_name="data_set", code_version="1", kinds={"polars"})
def training_set(
    au_corrections: pl.DataFrame,
    raw_disfa: pl.DataFrame,
    raw_folder: pl.DataFrame,
    captions: pl.DataFrame,
    profile: dg.ResourceParam[Any],
) -> dg.MaterializeResult:
    """What adapters are trained on. Web photographs carry corrected AUs, DISFA frames their manual labels."""
    subjects = raw_folder.select("sample_id", "subject")
    web = stage.kept(au_corrections).join(subjects, on="sample_id", how="left", maintain_order="left")
    held_out = {"validation": profile.split.validation, "test": profile.split.test}
    shares = {"train": 1 - sum(held_out.values()), **held_out}
    table = rule.assemble(web, raw_disfa, stage.kept(captions), shares=shares, seed=profile.split.seed)
    kept = stage.kept(table)
    splits = kept.group_by("source", "split").agg(pl.len().alias("samples")).sort("source", "split")
    active = pl.DataFrame(
        {
            "AU": [f"AU{au} {facs.NAMES[au]}" for au in facs.ACTION_UNITS],
            "samples ≥ 1": [int((kept[column] >= 1).sum()) for column in facs.COLUMNS],
            "mean if ≥ 1": [kept.filter(pl.col(column) >= 1)[column].mean() for column in facs.COLUMNS],
        }
    )
    return stage.result(table, splits=stage.markdown(splits), action_units=stage.markdown(active))


@dg.asset_check(asset=training_set, blocking=True)
def no_subject_in_two_splits(training_set: pl.DataFrame) -> dg.AssetCheckResult:
    """Nobody is both trained on and tested with."""
    return _in_one_split(training_set.drop_nulls("subject"), ["source", "subject"])


@dg.asset_check(asset=training_set, blocking=True)
def no_content_in_two_splits(training_set: pl.DataFrame) -> dg.AssetCheckResult:
    """No picture is both trained on and tested with, under whatever name."""
    return _in_one_split(training_set, ["content_hash"])


@dg.asset_check(asset=training_set, blocking=True)
def something_to_train_on(training_set: pl.DataFrame) -> dg.AssetCheckResult:
    """The split "train" is not empty."""
    rows = stage.kept(training_set).filter(split="train").height
    return stage.check(rows > 0, train=rows)


def _in_one_split(table: pl.DataFrame, group: list[str]) -> dg.AssetCheckResult:
    splits = stage.kept(table).group_by(group).agg(pl.col("split").n_unique())
    torn = splits.filter(pl.col("split") > 1)
    return stage.check(torn.is_empty(), groups=splits.height, in_two_splits=torn.height)


ASSETS = [training_set]
CHECKS = [no_subject_in_two_splits, no_content_in_two_splits, something_to_train_on]
