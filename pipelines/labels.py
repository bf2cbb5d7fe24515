"""`fineface label`: what a person says over a model, written into the table `overrides`. What follows from
them lives in `curation.overrides`.
"""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import polars as pl
from dagster import DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from assets.data_set.overrides import read
from curation import overrides
from settings import nearest
from store import Store
from store.hashing import hash_frame

CANDIDATES = 5000
"""Ids compared for a near miss: difflib is slow."""


class NotLabelled(ValueError):
    """A label that was not written; the message says why and what was close."""


def add(store: Store, sample_id: str, stage: str, said: str, author: str, reason: str) -> None:
    """Append one override, dated now: `said` as `curation.overrides.override` takes it. Raises NotLabelled
    for a stage, verdict, AU or sample that is not there."""
    try:
        row = overrides.override(sample_id, stage, said, author, reason, datetime.now(UTC))
    except ValueError as error:
        raise NotLabelled(str(error)) from None
    if store.version(stage) is None:
        raise NotLabelled(f"{store.home} has no table {stage} yet: run it first")
    ids = store.read(stage, columns=["sample_id"])["sample_id"]
    if sample_id not in ids:
        raise NotLabelled(f"{stage} has no sample {sample_id!r}{_near(sample_id, ids)}")
    mine = overrides.standing(read(store), stage).join(row, on=["sample_id", "au"], nulls_equal=True)
    if row["verdict"][0] == "undo" and mine.is_empty():
        of = f"AU{row['au'][0]} of " if row["au"][0] else ""
        raise NotLabelled(f"no override of {of}{sample_id} stands in {stage}: nothing to undo")
    store.append(overrides.TABLE, row)


def announce(store: Store, opened: DagsterInstance) -> None:
    """Tell Dagster of the new row, so that automation rebuilds what depends on it."""
    version = hash_frame(read(store))
    opened.report_runless_asset_event(
        dg.AssetMaterialization(overrides.TABLE, tags={DATA_VERSION_TAG: version})
    )


def listed(store: Store) -> str:
    """Every row as a line, oldest first."""
    rows = read(store).to_dicts()
    lines = [
        f"{row['time']:%Y-%m-%d %H:%M:%S} UTC  {row['stage']}  {overrides.said(row):<4}  "
        f"{row['sample_id']}  "
        f"{row['author']}: {' '.join(row['reason'].split())}"
        for row in rows
    ]
    return "\n".join(lines) or f"no overrides in {store.home}"


def _near(sample_id: str, ids: pl.Series) -> str:
    folder, _, name = sample_id.rpartition("/")
    stem = name.partition(".")[0]
    alike = ids.str.starts_with(f"{folder}/") | ids.str.contains(stem, literal=True) if stem else ids != ""
    close = nearest.hint(sample_id, ids.filter(alike).head(CANDIDATES).to_list())
    return close or f"; ids look like {ids.sort()[0]}"
