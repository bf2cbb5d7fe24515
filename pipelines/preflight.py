"""What a run needs, before any of it is done: every selected stage is asked, everything is told at once.

Stages say what they need in `assets.needs`, providers in `inference`. Nothing is computed, nothing written.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assets import needs
from inference.needs import GB, Need, disk, package
from pipelines import runs
from pipelines.profiles import ProfileError
from pipelines.runs import Plan
from store import Store, StoreError
from store.disk import RESERVE, free

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Found:
    """A need and the stages that have it; none if the whole run has."""

    need: Need
    stages: tuple[str, ...] = ()

    @property
    def missing(self) -> bool:
        """Whether a stage would fail for want of it."""
        return bool(self.need.problem) and self.need.blocks


def check(plan: Plan) -> list[Found]:
    """All that the stages of `plan` need, each once, in the order of the graph; what is missing first."""
    store = Store(plan.home)
    names = _in_order(plan)
    records = disk("tables and records", plan.home, RESERVE)
    whole_run = (records, *_variables(plan), *_writer(plan), *_events(plan), *needs.engine(plan.profile))
    found: dict[Need, list[str]] = {need: [] for need in whole_run}
    for name in names:
        for need in [*_tables(plan, store, name), *_declared(plan, store, name, names)]:
            stages = found.setdefault(need, [])
            if name not in stages:
                stages.append(name)
    found |= {need: [] for need in _disk([*found])}
    listed = [Found(need, tuple(stages)) for need, stages in found.items() if need.what]
    return sorted(listed, key=lambda one: (not one.missing, not one.need.problem))


def text(found: list[Found], everything: bool = False) -> str:
    """What is missing, with the way to get it, and what is worth knowing; with `everything`, the rest too."""
    return "\n".join(line for one in found if everything or one.need.problem for line in _lines(one))


def _lines(one: Found) -> Iterator[str]:
    need = one.need
    mark = "missing" if one.missing else "note" if need.problem else "ok"
    stages = f"   [{', '.join(one.stages)}]" if one.stages else ""
    yield f"{mark:<9}{need.what}{stages}"
    if need.problem:
        yield f"{'':<11}{need.problem}"
        if need.how:
            yield f"{'':<11}→ {need.how}"


def _in_order(plan: Plan) -> list[str]:
    graph = plan.definitions.resolve_asset_graph()
    ordered = [key for level in graph.toposorted_asset_keys_by_level for key in sorted(level)]
    return [key.to_user_string() for key in ordered if key in plan.keys]


def _declared(plan: Plan, store: Store, name: str, names: list[str]) -> Iterator[Need]:
    """What the stage says itself. A section of the profile that makes no sense is a need too."""
    if name in needs.STAGES:
        yield from needs.STAGES[name](plan.profile, store, names)


def _tables(plan: Plan, store: Store, name: str) -> Iterator[Need]:
    """The tables that the stage is handed and that this run does not make."""
    graph = plan.definitions.resolve_asset_graph()
    stage = graph.get(dg.AssetKey(name))
    wanted, absent = [], []
    for given, key in sorted(stage.assets_def.keys_by_input_name.items()):
        if key in plan.keys or stage.assets_def.op.input_def_named(given).dagster_type.is_nothing:
            continue
        table, parts = key.to_user_string(), []
        if graph.get(key).is_partitioned:
            parts = [f"{table}/{experiment}" for experiment in plan.experiments]
        missing = [part for part in parts or [table] if not _written(store, part)]
        wanted.append(table)
        if stage.is_partitioned or len(missing) == len(parts or [table]):
            absent += missing  # a comparison takes the experiments that there are
    if wanted:
        problem = f"{', '.join(absent)}: never made in {plan.home}" if absent else ""
        yield Need(f"tables that are read: {', '.join(wanted)}", problem, f"fineface run --select +{name}")


def _written(store: Store, table: str) -> bool:
    try:
        return store.version(table) is not None
    except StoreError:
        return True  # damaged, not absent: the stage says how


def _variables(plan: Plan) -> Iterator[Need]:
    """Environment variables that the profile names and nobody set."""
    where = defaultdict(list)
    for key, value in _texts(plan.profile.model_dump()):
        for name in _VARIABLE.findall(value):
            where[name].append(key)
    for name, keys in where.items():
        how = f"{name}=… fineface run --profile {plan.profile.name}"
        yield Need(
            f"the environment variable {name}", f"is not set; the profile's {', '.join(keys)} names it", how
        )


def _writer(plan: Plan) -> Iterator[Need]:
    """What writes the raw data, if the profile names something."""
    if plan.profile.raw_writer is not None:
        try:
            runs.writer(plan.profile.raw_writer)
        except ProfileError as error:
            yield Need("what writes the raw data", str(error), "set raw_writer to null")


def _events(plan: Plan) -> Iterator[Need]:
    """What sends OpenLineage events, if the profile says where to; tables are written without it too."""
    if plan.profile.openlineage is not None:
        yield package("openlineage", "pip install 'fineface[lineage]'")._replace(blocks=False)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _texts(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part, key)
    elif isinstance(value, (str, Path)):
        yield key, str(value)


def _disk(found: list[Need]) -> Iterator[Need]:
    """Free disk, summed over all that will be written to one file system."""
    wanted: dict[int, list[tuple[str, Path, int]]] = defaultdict(list)
    for need in found:
        if need.disk is not None and need.disk[2] > 0:
            what, folder, size = need.disk
            there = next(place for place in (folder, *folder.parents) if place.exists())
            wanted[os.stat(there).st_dev].append((what, folder, size))
    for parts in wanted.values():
        total, folder = sum(size for _, _, size in parts), parts[0][1]
        room = free(folder)
        listed = ", ".join(f"{name} {size / GB:,.1f} GB" for name, _, size in parts)
        problem = "" if total <= room else f"takes {total / GB:,.1f} GB, {room / GB:,.1f} GB are free"
        yield Need(
            f"disk at {folder}: {listed}",
            problem,
            "free some, or give a --home on a larger disk (models lie in HF_HOME)",
        )
