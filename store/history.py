"""The past of stage tables: which versions cost what, pruning those that are not to be kept, and writing a
table's history anew where something must never have been in it.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from store import file_system
from store.delta import DataFile, Delta
from store.hashing import hash_frame
from store.store import PRUNED, WRITTEN_AT, Store, tagged

ASIDE = "rewriting"
"""Where in a home tables lie while they are written anew."""


@dataclass(frozen=True)
class Cost:
    """What pruning takes of one table: the versions that can no longer be read, and the bytes that are
    freed."""

    stage: str
    versions: tuple[int, ...]
    files: tuple[Path, ...]
    size: int


def cost(store: Store, keep: Mapping[str, Collection[int]]) -> list[Cost]:
    """What would go of every table if only these versions of each were kept; its latest always is."""
    found = []
    for stage in store.stages():
        held = _files(store, stage)
        latest = max(held)
        kept = {latest, *(version for version in keep.get(stage, ()) if version in held)}
        needed = {file.path for version in kept for file in held[version]}
        gone = {
            file.path: file.size
            for version, files in held.items()
            for file in files
            if version not in kept and file.path not in needed and file_system.size(file.path) is not None
        }
        lost = [
            version
            for version, files in held.items()
            if version not in kept and any(file.path in gone for file in files)
        ]
        if gone:
            found.append(Cost(stage, tuple(lost), tuple(gone), sum(gone.values())))
    return found


def prune(costs: Collection[Cost]) -> None:
    """Remove what `cost` found."""
    for one in costs:
        for path in one.files:
            file_system.remove(path)


def rewrite(store: Store, stage: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> int:
    """Write every version of `stage` anew as `change` makes it; how many differ. Numbers, times and what the
    commits say stay; the old files and log are gone afterwards. Nothing is done where nothing differs.

    Not to be called while something else writes to the table. A kill in between leaves the old table, or the
    new one beside it, which the next call puts in its place.
    """
    delta = store.delta(stage)
    new = Delta(store.home / ASIDE / "tables" / stage, delta.what, delta.configuration)
    old = store.home / ASIDE / "old" / stage
    table = delta.open()
    if table is None:
        if new.open() is not None:  # a kill between the two moves
            file_system.move(new.folder, delta.folder)
            file_system.remove_folder(old)
            return 1
        return 0
    latest, commits = table.version(), {one["version"]: one for one in delta.history(table)}
    frames: dict[int, pl.DataFrame | None] = {}
    changed = 0
    for version in range(latest + 1):
        found = _frame(delta, delta.open(version))
        frames[version] = None if found is None else change(found)
        changed += found is not None and not frames[version].equals(found, null_equal=True)  # type: ignore[union-attr]
    if not changed:
        return 0
    file_system.remove_folder(new.folder)
    made: DeltaTable | None = None
    pruned = []
    for version, frame in frames.items():
        said = tagged(commits[version])
        said.setdefault(WRITTEN_AT, str(commits[version]["timestamp"]))
        empty = next(frame for frame in frames.values() if frame is not None).clear()
        rows = empty if frame is None else frame
        if "content_hash" in said:
            said |= {"content_hash": hash_frame(rows), "rows": str(rows.height)}
            said |= {"data_version": said["content_hash"]} if "data_version" in said else {}
        else:
            rows, said = new.hashed(rows), said | {"rows": str(rows.height)}
        if frame is None:
            said[PRUNED] = "true"
        made = new.write(rows, made, overwrite=True, metadata=tagged(said, back=True))
        if frame is None:
            pruned += new.files(made)
    for path in pruned:
        file_system.remove(path)
    file_system.remove_folder(old)
    file_system.move(delta.folder, old)
    file_system.move(new.folder, delta.folder)
    file_system.remove_folder(old)
    return changed


def _files(store: Store, stage: str) -> dict[int, list[DataFile]]:
    delta = store.delta(stage)
    table = delta.open()
    assert table is not None
    found = {}
    for version in range(table.version() + 1):
        opened = delta.open(version)
        found[version] = [] if opened is None else delta.listed(opened)
    return found


def _frame(delta: Delta, table: DeltaTable | None) -> pl.DataFrame | None:
    """All rows of a version; None for one that was pruned."""
    if table is None or any(file_system.size(file.path) is None for file in delta.listed(table)):
        return None
    return delta.collect(delta.scan(table))
