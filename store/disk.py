"""Room on a disk: asked for before something is written, and one error when it runs out all the same."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store import objects
from store.errors import DiskFull

RESERVE = 32 << 20
"""Bytes that stay free, so that what a run has to say about a full disk can still be recorded."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAID = (
    *(os.strerror(code) for code in _FULL),
    *(f"os error {code}" for code in _FULL),  # Rust's way
    "database or disk is full",  # SQLite's
)
_PAGE = 4096


def free(folder: Path) -> int:
    """Bytes that may be written where `folder` lies, or will lie."""
    there = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize


@contextmanager
def room(folder: Path, size: int, what: str) -> Iterator[None]:
    """Writes `what`, of about `size` bytes, in `folder`. Raises DiskFull before the block where there is no
    room for it beside RESERVE, and for an error of the block that comes of a full disk. A bucket is never
    full.
    """
    if objects.elsewhere(folder):
        yield
        return
    left = free(folder)
    if left < size + RESERVE:
        raise DiskFull(_told(folder, size, what, left))
    with full_disk_named(folder, size, what):
        yield


@contextmanager
def full_disk_named(folder: Path, size: int, what: str) -> Iterator[None]:
    """Raises DiskFull in the place of an error of the block that comes of a full disk."""
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        # Not everyone who writes says why that failed.
        if not is_full(error) and free(folder) > max(size, _PAGE):
            raise
        raise DiskFull(_told(folder, size, what, free(folder))) from error


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, is that of a full disk."""
    while error is not None:
        if isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in _FULL):
            return True
        if any(said in str(error) for said in _SAID):
            return True
        error = error.__cause__ or error.__context__
    return False


def _told(folder: Path, size: int, what: str, left: int) -> str:
    return (
        f"the disk of {folder} is full: {what} needs {_megabytes(size)}, {_megabytes(left)} are free and "
        f"{_megabytes(RESERVE)} of them stay reserved. Free some and run again: what was computed is kept"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
