"""Listing a raw folder: every file once, in an order that no disk decides, and how it looks from outside.
Nothing is opened here.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curation.frames import RawDataError
from store import file_system

_FILE_SYSTEMS_OWN = "lost+found"  # closed to all but root, at the top of a disk


def files(folder: Path) -> Iterator[str]:
    """Relative paths, with "/", of all files below `folder`, sorted folder by folder.

    Links to folders are followed, each real folder is visited once, so a loop ends. Hidden names (".cache",
    "._a.jpg") are left out. Raises RawDataError for a folder that cannot be listed: all in it would be
    missing without a word. A name that is not valid text comes with its odd bytes as "\\udcXX" (see
    `sound`).
    """
    visited: set[tuple[int, int]] = set()
    top = str(folder)
    for place, folders, names in os.walk(top, onerror=_refuse, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name != _FILE_SYSTEMS_OWN
        )
        inside = place[len(top) :].strip("/")
        before = f"{inside}/" if inside else ""
        yield from [before + name for name in sorted(names) if name[0] != "."]


@dataclass(frozen=True)
class State:
    """How a folder looks from outside: a hash of the names, sizes and times of its files, how many there are,
    and when one changed last (seconds since 1970; 0 for none)."""

    digest: str
    files: int
    changed: float


def state(folder: Path) -> State:
    """The state of all files below `folder`, which may stand for one in a bucket; a file that vanishes
    meanwhile has no size. Raises like `files`."""
    digest, count, changed = hashlib.blake2b(digest_size=16), 0, 0.0
    for name, size, time, last in _in_bucket(folder) if file_system.is_elsewhere(folder) else _here(folder):
        changed = max(changed, last)
        digest.update(b"%b\0%d\0%d\0" % (os.fsencode(name), size, time))
        count += 1
    return State(digest.hexdigest(), count, changed)


def _here(folder: Path) -> Iterator[tuple[str, int, int, float]]:
    for name in files(folder):
        try:
            status = os.stat(folder / name)
        except OSError:
            yield name, -1, 0, 0.0
        else:
            yield name, status.st_size, status.st_mtime_ns, max(status.st_mtime, status.st_ctime)


def _in_bucket(folder: Path) -> Iterator[tuple[str, int, int, float]]:
    for name, (size, time) in sorted(file_system.listed(folder).items()):
        if not any(part.startswith(".") for part in name.split("/")):
            yield name, size, time, time / 1e9


def _refuse(error: OSError) -> None:
    raise RawDataError(f"cannot list folder {shown(error.filename)}: {error.strerror}") from error


def sound(path: str) -> bool:
    """Whether a path is valid text, as a table needs it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: str) -> str:
    """The path with bytes that are no text written as escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")
