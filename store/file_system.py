"""The one way to files: written whole or not at all, for their owner's eyes alone. This machine's disks now;
what lies elsewhere would be reached through the same few functions.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_MODE, FOLDER_MODE = 0o600, 0o700
DRAFT = ".half-"


def make_folder(folder: Path) -> Path:
    """`folder`, made with all that is missing above it, each closed to others."""
    for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        missing.mkdir(FOLDER_MODE, exist_ok=True)
    folder.mkdir(FOLDER_MODE, exist_ok=True)  # what is a file raises
    return folder


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A name beside `path` to write a file to; it becomes `path` when the block ends without an error, else
    it is gone. A kill leaves the old file, or none."""
    make_folder(path.parent)
    half = path.with_name(f"{DRAFT}{path.name}.{secrets.token_hex(6)}")
    try:
        os.close(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, FILE_MODE))
        yield half
        os.chmod(half, FILE_MODE)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def write(path: Path, content: bytes | str) -> Path:
    """Write `content` to `path`, whole or not at all; `path` itself. A link at `path` is replaced, not
    followed."""
    with draft(path) as half:
        half.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def size(path: Path) -> int | None:
    """Bytes of a regular file; None where there is none."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
