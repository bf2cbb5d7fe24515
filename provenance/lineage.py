"""What every table was made from, as the Delta commits say: whether the versions behind one form one chain,
and whether one is behind the times. One sample's own way is `provenance.why`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping

import stages
from store import MissingTable, Store

Readers = Mapping[int, tuple[str, ...]]
"""The versions of a table that were read, each with the tables that were made from it."""
NEVER, CHANGED = "never made", "made with other code or settings"
"""Why a table is behind the times, whatever its parents."""


def upstream(metadata: Mapping[str, str]) -> dict[str, int]:
    """The version of each table that a commit says was read."""
    found = json.loads(metadata.get("upstream") or "{}")
    return {table: version for table, version in found.items() if isinstance(version, int)}


def version_read(store: Store, table: str, parent: str, version: int | None = None) -> int | None:
    """The version of `parent` that a version of `table` (default: the latest) was made from, as its commit
    says; None where it says nothing, or there is no such version."""
    for commit in store.history(table) if store.version(table) is not None else ():
        if version in (None, commit["version"]):
            return upstream(commit["metadata"]).get(parent)
    return None


def torn(store: Store, table: str) -> dict[str, Readers]:
    """The tables behind the latest version of `table` of which different contents were read on the way, each
    with its versions and who read them. Empty where all that is behind it forms one chain.

    Versions of equal content count as one. Raises MissingTable if `table` was never written.
    """
    latest = store.version(table)
    if latest is None:
        raise MissingTable(f"stage {table!r} has not been written in {store.home}")
    order = {stage.name: number for number, stage in enumerate(stages.STAGES)}
    readers: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    readers[table][latest] = []
    waiting: set[str] = {table}
    found: dict[str, Readers] = {}
    while waiting:
        name = max(waiting, key=lambda one: (order.get(one.split("/")[0], -1), one))
        waiting.remove(name)
        versions = readers[name]
        commits = {entry["version"]: entry["metadata"] for entry in store.history(name)}
        if len({content(store, name, version) for version in versions}) > 1:
            found[name] = {version: tuple(who) for version, who in sorted(versions.items())}
        for read, version in upstream(commits.get(max(versions), {})).items():
            readers[read][version].append(name)
            waiting.add(read)
    return found


def content(store: Store, table: str, version: int) -> str:
    """The hash of a version's rows; of one that is no longer there, a text that no other has."""
    try:
        return store.content_hash(table, version)
    except MissingTable:
        return f"{table} has no version {version}"


def outdated(store: Store, table: str, code_version: str | None, parents: Iterable[str]) -> str | None:
    """Why `table` is not what a run would make of its `parents` now, with code and settings of
    `code_version`; None if it is. Parents that were never written do not count.
    """
    if store.version(table) is None:
        return NEVER
    metadata = store.history(table)[0]["metadata"]
    if metadata.get("code_version") != code_version:
        return CHANGED
    read = upstream(metadata)
    for parent in dict.fromkeys((*parents, *read)):
        now = store.version(parent)
        if now is None or now == read.get(parent):
            continue
        if parent not in read:
            return f"made before there was {parent}"
        if content(store, parent, now) != content(store, parent, read[parent]):
            return f"made from version {read[parent]} of {parent}, which is at {now}"
    return None
