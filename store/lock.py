"""One lock, which one process holds at a time. On this machine it is a file, which the system frees when that
process dies; in a bucket a lease, an object that its holder renews.
"""

import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from store import objects
from store.errors import Locked, Unreachable
from store.file_system import make_folder

PAUSE, LEASE_PAUSE = 0.2, 1.0
LEASE_SECONDS = 30.0
"""A lease that was not renewed for so long is free. Its holder renews it three times as often."""


@contextmanager
def sole(path: Path, patience: float | None = None) -> Iterator[int | None]:
    """Hold the lock `path`, made with its folder; of a file the open handle, for children to inherit.

    Another process' lock is waited for, `patience` seconds at most if given; then raises Locked, naming the
    process. Within one process it locks out other threads and other calls too.
    """
    with _lease(path, patience) if objects.elsewhere(path) else _file(path, patience) as handle:
        yield handle


@contextmanager
def _file(path: Path, patience: float | None) -> Iterator[int]:
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


@contextmanager
def _lease(path: Path, patience: float | None) -> Iterator[None]:
    """A lease on the object `path`. Whoever waits goes by its own clock: free is what it has seen unchanged
    for LEASE_SECONDS, or what a process of this machine held that is gone."""
    tag = [_acquired(path, patience)]
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(LEASE_SECONDS / 3):
            try:
                tag[0] = objects.put_if(path, _signed(), replacing=tag[0])
            except Unreachable:
                continue  # there is time for another attempt
            except FileExistsError:
                return  # this process slept too long, and another has it: work is done twice, none is wrong

    renewing = threading.Thread(target=renew, name=f"lease of {path.name}", daemon=True)
    renewing.start()
    try:
        yield None
    finally:
        ended.set()
        renewing.join()
        if _held(path)[1] == tag[0]:
            objects.remove(path)


def _acquired(path: Path, patience: float | None) -> str:
    """The tag of the lease, once it is this process'."""
    began = since = time.monotonic()
    seen = None
    while True:
        holder, tag = _held(path)
        now = time.monotonic()
        if tag != seen:
            seen, since = tag, now
        if tag is None or not alive(holder) or now - since > LEASE_SECONDS:
            try:
                return objects.put_if(path, _signed(), replacing=tag)
            except FileExistsError:
                continue
        if patience is not None and now - began > patience:
            raise Locked(f"process {holder} holds {objects.address(path)}")
        time.sleep(LEASE_PAUSE)


def _held(path: Path) -> tuple[str, str | None]:
    """Who holds the lease, and the tag of its last renewal; no tag where nobody does."""
    try:
        content, tag = objects.read_tagged(path)
        return str(json.loads(content)["holder"]), tag
    except FileNotFoundError:
        return "", None


def _signed() -> bytes:
    """No two are equal, so that each renewal has another tag."""
    return json.dumps({"holder": this_process(), "renewal": uuid.uuid4().hex}).encode()


def this_process() -> str:
    """The name of this process."""
    return process_name(psutil.Process())


def alive(process: str) -> bool:
    """Whether the process so named still runs; true for another host's, of which nothing is known."""
    host, pid, _ = process.rsplit(":", 2)
    if host != platform.node():
        return True
    try:
        return process_name(psutil.Process(int(pid))) == process
    except psutil.NoSuchProcess:
        return False


def process_name(process: psutil.Process) -> str:
    """A name that no later process has: host, process id, start time."""
    return f"{platform.node()}:{process.pid}:{process.create_time():.2f}"
