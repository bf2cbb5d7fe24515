"""What assets are handed at run time: the store, the profile, and tables as arguments. No stage logic."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.errors import DagsterInvariantViolationError

from assets import retries
from assets.stage import SETTINGS
from exports.openlineage import Events, Written
from store import Store
from store.errors import MissingTable
from store.hashing import hash_frame


class StageTables(dg.IOManager):
    """Stage tables as the arguments and results of assets.

    Every Delta commit carries what made it: run id, code version, data version, and the version of each table
    that was read, as an argument or from the store that the asset was handed. A partition is a table of its
    own, `<asset>/<experiment>`; an asset without partitions that reads a partitioned one gets the rows of all
    experiments materialised so far.
    """

    def __init__(self, store: Store, profile: str, events: Events | None = None):
        self._store, self._profile, self._events = store, profile, events
        self._read: dict[tuple[str, str], dict[str, int | None]] = {}
        store.on_read = self._note_side_door

    def load_input(self, context: dg.InputContext) -> pl.DataFrame:
        """The latest version of the upstream table. Raises MissingTable if it was never materialised."""
        with _retried(context):
            return self._loaded(context)

    def _loaded(self, context: dg.InputContext) -> pl.DataFrame:
        name = "/".join(context.asset_key.path)
        stages = [f"{name}/{key}" for key in _partitions(context)] or [name]
        frames = []
        for stage in stages:
            version = self._store.version(stage)
            if version is None and len(stages) > 1:
                continue
            frames.append(self._store.read(stage, version=version))
            self._note(context, stage, version)
        if not frames:
            raise MissingTable(f"none of {', '.join(stages)} was materialised so far")
        return pl.concat(frames, how="diagonal_relaxed")

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame) -> None:
        """Write the table; a frame that is equal to the last version, made of the same, makes no new one."""
        name = "/".join(context.asset_key.path)
        stage = f"{name}/{context.partition_key}" if context.has_asset_partitions else name
        commit = {"run_id": context.run_id, "data_version": hash_frame(obj), "profile": self._profile}
        lineage = {
            "code_version": context.asset_spec.code_version or "",
            "settings": json.dumps(_settings(context), sort_keys=True),
            "upstream": json.dumps(self._read.pop((context.run_id, context.step_key), {}), sort_keys=True),
        }
        with _retried(context):
            version = self._store.write(stage, obj, commit, lineage)
        context.add_output_metadata({"table": stage, "table_version": version})
        if self._events is not None:
            self._tell(self._events, context, Written(stage, version, obj, **_told(context, lineage)))

    def _tell(self, events: Events, context: dg.OutputContext, written: Written) -> None:
        """An event is news, not the work: a collector that is down stops no run."""
        try:
            events.send(written)
        except Exception as error:
            context.log.warning(f"the OpenLineage event of {written.stage} was not sent: {error}")

    def _note_side_door(self, stage: str, version: int) -> None:
        """Of an asset that reads a table from the store itself. What reads outside of a step is no stage."""
        try:
            step = dg.AssetExecutionContext.get()
        except DagsterInvariantViolationError:
            return
        key = (step.run_id, step.op_execution_context.get_step_execution_context().step.key)
        self._read.setdefault(key, {})[stage] = version

    def _note(self, context: dg.InputContext, stage: str, version: int | None) -> None:
        run_id, step = context.step_context.run_id, context.step_context.step.key
        self._read.setdefault((run_id, step), {})[stage] = version


def _told(context: dg.OutputContext, lineage: dict[str, str]) -> dict[str, Any]:
    """What an event says of the run, as the commit does."""
    return {
        "run_id": context.run_id,
        "job": context.step_context.job_name,
        "code_version": lineage["code_version"],
        "upstream": json.loads(lineage["upstream"]),
    }


def _retried(context: dg.InputContext | dg.OutputContext) -> AbstractContextManager[None]:
    """A store that is away for a moment, or busy, is asked again with its stage."""
    step = context.step_context
    return retries.where_it_helps(lambda: step.previous_attempt_count, step.log)


def _settings(context: dg.OutputContext) -> dict[str, Any]:
    """The settings that the stage reads; of the experiments its own only."""
    settings = dict(context.asset_spec.metadata.get(SETTINGS, {}))
    if context.has_asset_partitions and "experiments" in settings:
        settings["experiments"] = {context.partition_key: settings["experiments"][context.partition_key]}
    return settings


def _partitions(context: dg.InputContext) -> list[str]:
    return list(context.asset_partition_keys) if context.has_asset_partitions else []
