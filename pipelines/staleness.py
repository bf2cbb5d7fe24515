"""Whether a run has anything to do: which of its tables are behind the times, by commits; and whether it
could make anything that is not there, by a note of all that it read and left when it last ended well.

Nothing is computed here; what stages compute is remembered in `store.memo`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import dagster as dg
import polars as pl
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

import stages
from assets import needs
from assets.results.results import REPORT
from pipelines import jobs, profiles
from provenance import lineage
from settings.profile import Profile
from store import CorruptFile, Store, file_system
from store.hashing import fingerprint, hash_files
from store.store import RAW
from store.trained import intact

CODE = (".py", ".html", ".json", ".yaml", ".txt", ".csv")
LIBRARIES = ("deltalake", "diffusers", "numpy", "peft", "pillow", "polars", "torch", "transformers")
WRITTEN = tuple(stage.name for stage in stages.STAGES if stage.by_people)
"""Tables whose rows people write; no run makes them."""


@dataclass(frozen=True)
class Part:
    """What one run of `job` makes in the home of `store`: the assets `keys` of `graph`, of an experiment
    where `partition` names one."""

    job: str
    partition: str | None
    keys: frozenset[dg.AssetKey]
    graph: dg.AssetGraph
    store: Store
    profile: Profile

    @property
    def name(self) -> str:
        """ "experiment sd"."""
        return self.job if self.partition is None else f"{self.job} {self.partition}"

    def outdated(self) -> dict[str, str]:
        """Why, by table in the order of the graph, what is not what a run would make of it now."""
        found = {}
        for key in self.graph.toposorted_asset_keys:
            if key in self.keys and key.path[-1] not in WRITTEN:
                node = self.graph.get(key)
                for table in self._tables([key]):
                    parents = self._tables(node.parent_keys)
                    if reason := lineage.outdated(self.store, table, node.code_version, parents):
                        found[table] = reason
        return found

    def attempt(self) -> str:
        """A name of what it would be made from, and of what is there: it is another one as soon as a try
        could end otherwise than the last."""
        concerned = [*self._tables(self.keys | self._before()), *WRITTEN]
        return fingerprint(job=self.name, state=self._versions(concerned), codes=self._codes())

    def reads(self) -> str | None:
        """A hash of all that decides what is made: code, settings, models, and the versions of the tables
        before it. None where that cannot be said: then the run tells why."""
        try:
            return self._reads()
        except Exception:
            return None

    def unchanged(self) -> list[str] | None:
        """What checks complained of when it was made, if nothing has changed since and all that was made is
        sound; None if it is to run."""
        try:
            noted = json.loads(file_system.read(self._note))
            same = noted["reads"] == self._reads() and noted["left"] == self._left()
            return [str(line) for line in noted["complaints"]] if same else None
        except Exception:  # whatever is wrong, the run itself finds and tells
            return None

    def note(self, complaints: Sequence[str]) -> None:
        """Remember what it reads and left, after a run that ended well."""
        with suppress(
            Exception
        ):  # the run has ended well, whatever hinders a note; the next finds what is wrong
            text = {"reads": self._reads(), "left": self._left(), "complaints": list(complaints)}
            file_system.write(self._note, json.dumps(text))

    @property
    def _note(self) -> Path:
        folder = file_system.own(self.store.home) / "cache" / "unchanged"
        return folder / f"{self.name.replace(' ', '.')}.json"

    def _reads(self) -> str:
        """Raises what a provider raises whose files are not there, StoreError for a broken log."""
        return fingerprint(
            code=_code(profiles.PROJECT),
            libraries={name: metadata.version(name) for name in LIBRARIES},
            stages=self._codes(),
            profile=self.profile.model_dump(mode="json"),
            models=needs.fingerprints(self.profile, sorted(key.path[-1] for key in self.keys)),
            tables=self._versions(self._tables(self._before())),
        )

    def _left(self) -> str:
        """A hash of what it made, which is sound. Raises StoreError for a table or a file that is lost or
        damaged."""
        made = self._versions(self._tables(self.keys))
        files: dict[str, set[str]] = {}
        for name in (name for name, version in made.items() if version is not None):
            table = self.store.scan(name)  # reads it against its hash
            columns = set(table.collect_schema().names())
            if {"file_kind", "file"} <= columns:
                named = table.select("file_kind", "file").drop_nulls().unique().collect()
                for (kind,), rows in named.filter(~pl.col("file_kind").str.starts_with(RAW)).group_by(
                    "file_kind"
                ):
                    files.setdefault(str(kind), set()).update(
                        rows["file"].str.split("#").list.first()
                    )  # without the part of a picture
            if "folder" in columns:
                for folder in table.select("folder").drop_nulls().collect()["folder"]:
                    intact((self.store.home / folder).parents[1])
        for kind, names in files.items():
            if lost := self.store.files(kind).lost(sorted(names)):
                raise CorruptFile(f"{kind}: {len(lost)} files are lost or damaged, such as {lost[0]}")
        report = [file_system.local(self.store.home / REPORT)] * ("results" in made)
        return fingerprint(tables=made, report=hash_files(report))

    def _before(self) -> frozenset[dg.AssetKey]:
        found, waiting = set(self.keys), list(self.keys)
        while waiting:
            for parent in self.graph.get(waiting.pop()).parent_keys - found:
                found.add(parent)
                waiting.append(parent)
        return frozenset(found - self.keys)

    def _codes(self) -> dict[str, str | None]:
        return {key.path[-1]: self.graph.get(key).code_version for key in sorted(self.keys)}

    def _versions(self, tables: Collection[str]) -> dict[str, int | None]:
        return {name: self.store.version(name) for name in sorted(tables)}

    def _tables(self, keys: Collection[dg.AssetKey]) -> list[str]:
        """The tables of assets: of one with partitions that of this one; all for who reads them all."""
        found: list[str] = []
        for key in sorted(keys):
            name, partitioned = key.path[-1], self.graph.get(key).is_partitioned
            these = [self.partition] if self.partition is not None else self.profile.experiments
            found += [f"{name}/{one}" for one in these] if partitioned else [name]
        return found


def parts(
    found: dg.Definitions,
    profile: Profile,
    store: Store,
    *,
    phases: Sequence[UnresolvedAssetJobDefinition] = jobs.PHASES,
    keys: Collection[dg.AssetKey] | None = None,
    experiments: Sequence[str] | None = None,
) -> Iterator[Part]:
    """What the jobs `phases` of `found` make, in the order in which they run, an experiment each: of the
    assets `keys` and of `experiments` only, where they are given."""
    graph = found.resolve_asset_graph()
    for phase in phases:
        whole = frozenset(found.resolve_job_def(phase.name).asset_layer.executable_asset_keys)
        if chosen := whole if keys is None else whole & set(keys):
            named = profile.experiments if experiments is None else experiments
            for partition in named if phase is jobs.experiment else (None,):
                yield Part(phase.name, partition, chosen, graph, store, profile)


@cache
def _code(project: Path) -> str:
    """One hash of the project's own code: what is edited is run again, whether or not a version says so."""
    files: list[Path] = []
    for name in (metadata.distribution("fineface").read_text("top_level.txt") or "").split():
        files += [project / f"{name}.py"] * (project / f"{name}.py").is_file()
        for top, _, names in os.walk(project / name):
            files += [Path(top, one) for one in names if one.endswith(CODE)]
    named = sorted((path.relative_to(project).as_posix(), path) for path in files)
    return fingerprint(
        files=dict(zip((name for name, _ in named), hash_files(p for _, p in named), strict=True))
    )
