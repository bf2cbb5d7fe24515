"""One lock: a file that one process holds at a time. The system frees it when that process dies, however."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import Locked
from store.file_system import make_folder

PAUSE = 0.2


@contextmanager
def sole(path: Path, patience: float | None = None) -> Iterator[int]:
    """Hold the lock file `path`, which is made with its folder; the open handle, for children to inherit.

    Another process' lock is waited for, `patience` seconds at most if given; then raises Locked, naming the
    process. Within one process it locks out other threads and other calls too.
    """
    make_folder(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait(handle, path, patience)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield handle
    finally:
        os.close(handle)


def _wait(handle: int, path: Path, patience: float | None) -> None:
    if patience is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = os.pread(handle, 20, 0).decode(errors="replace") or "unknown"
                raise Locked(f"process {holder} holds {path}") from None
            time.sleep(PAUSE)
