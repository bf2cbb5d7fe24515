"""The samples that are exported, with who labelled them, and the commits that they came from. Reads tables
only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

import polars as pl

import facs
import stages
from store import Store

SPLITS = ("train", "validation", "test")
MANUAL = "manual"
"""Who labelled a frame that brought its labels along."""
EXACT = "exact"
"""Of a rendered picture, in the place of who labelled it."""
TEXTS = {
    "sample_id": "Source and place of the picture in it; the same for ever.",
    "source": "The raw data set.",
    "split": "train, validation or test; nobody and no picture is in two.",
    "caption": "What the picture shows, in words.",
    "subject": "The person, where the source says.",
    "annotator": f"Whose intensities these are before correction: {MANUAL}, a model and its fingerprint, "
    f"or {EXACT} where the picture was rendered with them.",
    "content_hash": "Hash of what is seen of the picture.",
}
IMAGE = "image"
COLUMNS = (*TEXTS, *facs.COLUMNS, "overruled")
"""Columns of an export besides the picture."""


@dataclass(frozen=True)
class Commit:
    """Which version of a table was read, when it was written, by which run and code, with which settings."""

    stage: str
    version: int
    written: datetime
    run_id: str
    code_version: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Samples:
    """The kept rows of one version of `training_set`: COLUMNS, and where each picture lies (`path`); splits
    one after another, within each in the order of the content hashes, so that any part is a fair one.

    commits: of every table that they came from, the training set's first.
    """

    frame: pl.DataFrame
    commits: tuple[Commit, ...]

    @property
    def commit(self) -> Commit:
        """The training set's."""
        return self.commits[0]

    @property
    def version(self) -> str:
        """MAJOR.MINOR.PATCH: other samples or labels are another major version."""
        return f"{self.commit.version + 1}.0.0"

    @property
    def splits(self) -> dict[str, pl.DataFrame]:
        """The rows of each split that has any."""
        parts = {name: self.frame.filter(split=name) for name in SPLITS}
        return {name: part for name, part in parts.items() if part.height}

    def setting(self, stage: str, name: str) -> Any:
        """What `stage` was told as `name`; None where it read no such thing."""
        return next((one.settings.get(name) for one in self.commits if one.stage == stage), None)


def read(store: Store, version: int | None = None) -> Samples:
    """The training set of `store`, at a version (default: the latest). Raises MissingTable."""
    table = store.read("training_set", version)
    commits = ancestry(store, "training_set", version)
    at = {one.stage: one.version for one in commits}
    kept = table.filter(pl.col("keep"))
    readings = store.read(
        "au_annotation", at.get("au_annotation"), columns=["sample_id", "model", "fingerprint"]
    )
    who = readings.select("sample_id", annotator=pl.format("{} ({})", "model", "fingerprint"))
    kept = kept.join(who, on="sample_id", how="left").with_columns(
        pl.when(source=stages.RENDERED)
        .then(pl.lit(EXACT))
        .otherwise(pl.col("annotator").fill_null(MANUAL))
        .alias("annotator"),
        pl.col("overruled")
        if "overruled" in kept.columns
        else pl.lit(None, pl.List(pl.Int64)).alias("overruled"),
        pl.col("split").replace_strict(SPLITS, range(len(SPLITS)), return_dtype=pl.Int8).alias("place"),
    )
    ordered = store.located(kept.sort("place", "content_hash", "sample_id"))
    return Samples(ordered.select(*COLUMNS, "path"), commits)


def ancestry(store: Store, stage: str, version: int | None = None) -> tuple[Commit, ...]:
    """The commit of `stage` and those of all that it was made from, the nearest first. Versions are pinned:
    each commit names those that it read."""
    latest = store.version(stage) if version is None else version
    waiting, found = [(stage, latest)], dict[str, Commit]()
    while waiting:
        name, number = waiting.pop(0)
        if name in found or number is None or store.version(name) is None:
            continue
        entry = next((one for one in store.history(name) if one["version"] == number), None)
        if entry is None:
            continue  # a table that was removed and made anew has no such version any more
        said = entry["metadata"]
        found[name] = Commit(
            name,
            number,
            entry["timestamp"],
            said.get("run_id", ""),
            said.get("code_version", ""),
            plain(json.loads(said.get("settings") or "{}")),
        )
        waiting += list(json.loads(said.get("upstream") or "{}").items())
    return tuple(found.values())


def plain(value: Any) -> Any:
    """`value` as it may leave this machine: of a path only its last part."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, str) and re.match(r"([A-Za-z]:\\|/|~|\$\{\w+\}/)", value):
        return PurePath(value).name
    return value


def described(name: str) -> str:
    """What a column of an export holds."""
    if name == IMAGE:
        return "What was seen of the picture, by those who labelled it and in training."
    if name in TEXTS:
        return TEXTS[name]
    declared = stages.named("training_set").columns[name].description or ""
    return f"{facs.NAMES[facs.number(name)]}: {declared}" if name in facs.COLUMNS else declared


def balance(frame: pl.DataFrame) -> pl.DataFrame:
    """An AU a row: samples that have a label, how many show it (≥ 1), how strongly on average."""
    rows = [
        {
            "au": au,
            "name": facs.NAMES[au],
            "labelled": frame[column].count(),
            "present": int((frame[column] >= 1).sum()),
            "mean": frame.filter(pl.col(column) >= 1)[column].mean(),
        }
        for au, column in zip(facs.ACTION_UNITS, facs.COLUMNS, strict=True)
    ]
    return pl.DataFrame(rows, schema_overrides={"mean": pl.Float64})


def counts(frame: pl.DataFrame) -> Sequence[dict[str, Any]]:
    """Samples of each source in each split."""
    return frame.group_by("source", "split").len("samples").sort("source", "split").to_dicts()
