"""What of the graph is not what a run would make of it now: the tables behind the times, by the job that
makes them. Read from commits; nothing is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

import stages
from pipelines import jobs
from provenance import lineage
from store import Store
from store.hashing import fingerprint


@dataclass(frozen=True)
class Due:
    """A job that has something to do: for an experiment its name, and why, by table."""

    job: str
    partition: str | None
    reasons: dict[str, str]

    @property
    def name(self) -> str:
        """ "experiment sd"."""
        return self.job if self.partition is None else f"{self.job} {self.partition}"


class Graph:
    """The tables of the graph of `found`, and which of them are behind the times in `store`."""

    def __init__(self, found: dg.Definitions, experiments: tuple[str, ...], store: Store) -> None:
        self._graph, self.experiments, self._store = found.resolve_asset_graph(), experiments, store
        self._ordered = [key for key in self._graph.toposorted_asset_keys if key.path[-1] not in WRITTEN]
        self._jobs = {phase.name: _keys(found, phase.name) for phase in jobs.PHASES}

    def due(self) -> Iterator[Due]:
        """The jobs that have something to do, in the order in which they run; an experiment each."""
        for job, keys in self._jobs.items():
            for partition in self.experiments if job == jobs.experiment.name else (None,):
                if reasons := self._outdated(keys, partition):
                    yield Due(job, partition, reasons)

    def attempt(self, due: Due) -> str:
        """A name of what `due` would be made from, and of what is there: it is another one as soon as a try
        could end otherwise than the last."""
        tables = {name for key in self._jobs[due.job] for name in self._tables(key, due.partition)}
        parents = {
            name
            for key in self._jobs[due.job]
            for parent in self._graph.get(key).parent_keys
            for name in self._tables(parent, due.partition)
        }
        state = {name: self._store.version(name) for name in sorted(tables | parents | set(WRITTEN))}
        codes = {key.path[-1]: self._graph.get(key).code_version for key in sorted(self._jobs[due.job])}
        return fingerprint(job=due.name, state=state, codes=codes)

    def _outdated(self, keys: set[dg.AssetKey], partition: str | None) -> dict[str, str]:
        found = {}
        for key in self._ordered:
            if key in keys:
                (table,) = self._tables(key, partition)
                node = self._graph.get(key)
                parents = [name for one in sorted(node.parent_keys) for name in self._tables(one, partition)]
                if reason := lineage.outdated(self._store, table, node.code_version, parents):
                    found[table] = reason
        return found

    def _tables(self, key: dg.AssetKey, partition: str | None) -> list[str]:
        """The tables of an asset: of one with partitions that of `partition`; all for who reads them all."""
        name = key.path[-1]
        if not self._graph.get(key).is_partitioned:
            return [name]
        return [f"{name}/{one}" for one in ([partition] if partition is not None else self.experiments)]


WRITTEN = tuple(stage.name for stage in stages.STAGES if stage.by_people)
"""Tables whose rows people write; no run makes them."""


def _keys(found: dg.Definitions, job: str) -> set[dg.AssetKey]:
    return set(found.resolve_job_def(job).asset_layer.executable_asset_keys)
