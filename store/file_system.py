"""The one way to files: written whole or not at all, for their owner's eyes alone. This machine's disks now;
what lies elsewhere would be reached through the same few functions.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store import disk

FILE_MODE, FOLDER_MODE = 0o600, 0o700
DRAFT = ".half-"


def make_folder(folder: Path) -> Path:
    """`folder`, made with all that is missing above it, each closed to others."""
    for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        missing.mkdir(FOLDER_MODE, exist_ok=True)
    folder.mkdir(FOLDER_MODE, exist_ok=True)  # what is a file raises
    return folder


@contextmanager
def draft(path: Path, size: int = 0) -> Iterator[Path]:
    """A name beside `path` to write a file to; it becomes `path` when the block ends without an error, else
    it is gone. A kill leaves the old file, or none. Raises DiskFull."""
    make_folder(path.parent)
    half = path.with_name(f"{DRAFT}{path.name}.{secrets.token_hex(6)}")
    try:
        with disk.full_disk_named(path.parent, size, path.name):
            os.close(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, FILE_MODE))
            yield half
            os.chmod(half, FILE_MODE)
            os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def write(path: Path, content: bytes | str) -> Path:
    """Write `content` to `path`, whole or not at all; `path` itself. A link at `path` is replaced, not
    followed."""
    data = content.encode() if isinstance(content, str) else content
    with disk.room(path.parent, len(data), path.name), draft(path) as half:
        half.write_bytes(data)
    return path


def read(path: Path) -> bytes:
    """The bytes of a file. Raises OSError (FileNotFoundError) where that cannot be."""
    return path.read_bytes()


def state(path: Path) -> tuple[int, int] | None:
    """Bytes and time of change (nanoseconds) of a regular file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def size(path: Path) -> int | None:
    """Bytes of a regular file; None where there is none."""
    found = state(path)
    return None if found is None else found[0]


def find(folder: Path, pattern: str) -> list[Path]:
    """What in `folder` matches a glob pattern, sorted, links left out; nothing where there is no folder."""
    return sorted(path for path in folder.glob(pattern) if not path.is_symlink())


def remove(path: Path) -> bool:
    """Remove a file; whether it was there."""
    there = size(path) is not None
    path.unlink(missing_ok=True)
    return there


def move(folder: Path, target: Path) -> None:
    """Move a folder to where nothing is yet."""
    make_folder(target.parent)
    folder.rename(target)
