"""Writing files and folders so that a kill leaves the old state or the new one. Nothing about faces."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from store import file_system
from store.lock import sole


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; it takes that name if the block ends without an error.

    Raises FileExistsError if `folder` exists. One writer at a time: see `sole_writer`.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists; remove it to write it anew")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    file_system.write(path, content)


def sole_writer(folder: Path) -> AbstractContextManager[int | None]:
    """Wait for, then hold, the lock of `folder`; the system frees it if the process dies."""
    return sole(folder / ".lock")
