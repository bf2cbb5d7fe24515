"""Whether a run could make anything that is not there: what it would read, and what it left, against what was
noted when it last ended well. A run that could not is spared.

What stages compute is remembered in `store.memo`; by what a table is behind the times is said in `staleness`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import polars as pl

from assets import needs
from assets.results.results import REPORT
from pipelines import profiles
from settings.profile import Profile
from store import CorruptFile, Store, file_system
from store.hashing import fingerprint, hash_files
from store.store import RAW
from store.trained import intact

CODE = (".py", ".html", ".json", ".yaml", ".txt", ".csv")
ROOMS = (
    *("assets", "curation", "evaluation", "inference", "methods", "miniature", "pipelines", "provenance"),
    *("settings", "store", "training"),
)
LIBRARIES = ("deltalake", "diffusers", "numpy", "peft", "pillow", "polars", "torch", "transformers")


@dataclass(frozen=True)
class Part:
    """What one run makes, called `name`: the assets `keys`, of an experiment where `partition` names one, in
    the home of `store`."""

    name: str
    graph: dg.AssetGraph
    store: Store
    profile: Profile
    keys: frozenset[dg.AssetKey]
    partition: str | None = None

    def reads(self) -> str:
        """A hash of all that decides what is made: code, settings, models, and the versions of the tables
        before it. Raises what a provider raises whose files are not there, StoreError for a broken log."""
        names = sorted(key.path[-1] for key in self.keys)
        return fingerprint(
            code=_code(profiles.PROJECT),
            libraries={name: version(name) for name in LIBRARIES},
            stages={name: self.graph.get(dg.AssetKey(name)).code_version for name in names},
            profile=self.profile.model_dump(mode="json"),
            models=needs.fingerprints(self.profile, names),
            tables={name: self.store.version(name) for name in self._tables(self._before())},
        )

    def left(self) -> str:
        """A hash of what it made, which is sound. Raises StoreError for a table or a file that is lost or
        damaged."""
        made = self._tables(self.keys)
        versions = {name: self.store.version(name) for name in made}
        files: dict[str, set[str]] = {}
        for name in (name for name in made if versions[name] is not None):  # people's may not be written yet
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
        return fingerprint(tables=versions, report=hash_files(report))

    def _before(self) -> set[dg.AssetKey]:
        found, waiting = set(self.keys), list(self.keys)
        while waiting:
            for parent in self.graph.get(waiting.pop()).parent_keys - found:
                found.add(parent)
                waiting.append(parent)
        return found - self.keys

    def _tables(self, keys: Collection[dg.AssetKey]) -> list[str]:
        """The tables of assets; of one with partitions, that of this one or all there are."""
        found: list[str] = []
        for key in keys:
            name = key.path[-1]
            if not self.graph.get(key).is_partitioned:
                found.append(name)
            elif self.partition is not None:
                found.append(f"{name}/{self.partition}")
            else:
                found += self.store.stages(name)
        return sorted(found)


def since(part: Part) -> list[str] | None:
    """What checks complained of when `part` was made, if nothing has changed since; None if it is to run."""
    try:
        noted = json.loads(file_system.read(_note(part)))
        same = noted["reads"] == part.reads() and noted["left"] == part.left()
        return [str(line) for line in noted["complaints"]] if same else None
    except Exception:  # whatever is wrong, the run itself finds and tells
        return None


def reads(part: Part) -> str | None:
    """`part.reads()`, or None where that cannot be said: then the run tells why."""
    try:
        return part.reads()
    except Exception:
        return None


def note(part: Part, complaints: Sequence[str]) -> None:
    """Remember what `part` reads and left, after a run that ended well."""
    with suppress(Exception):  # the run has ended well, whatever hinders a note; the next finds what is wrong
        text = {"reads": part.reads(), "left": part.left(), "complaints": list(complaints)}
        file_system.write(_note(part), json.dumps(text))


def _note(part: Part) -> Path:
    return file_system.own(part.store.home) / "cache" / "unchanged" / f"{part.name.replace(' ', '.')}.json"


@cache
def _code(project: Path) -> str:
    """One hash of the project's own code: what is edited is run again, whether or not a version says so."""
    files = [project / name for name in os.listdir(project) if name.endswith(".py")]
    for room in ROOMS:
        for top, _, names in os.walk(project / room):
            files += [Path(top, name) for name in names if name.endswith(CODE)]
    named = sorted((path.relative_to(project).as_posix(), path) for path in files)
    return fingerprint(
        files=dict(zip((name for name, _ in named), hash_files(p for _, p in named), strict=True))
    )
