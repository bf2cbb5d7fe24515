"""A process of another program whose lines are read as they come, and which never outlives this one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_TAIL = 30
PATIENCE = 75.0
"""Seconds; a training writes its last checkpoint meanwhile."""


class ChildFailed(RuntimeError):
    """The program ended with `code`; the message ends with the last lines it wrote."""

    def __init__(self, message: str, code: int):
        super().__init__(message)
        self.code = code


def lines(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Generator[str, None, None]:
    """The lines that `command` writes to standard output, as they come; standard error goes to the file
    `log`.

    The process is asked to end (SIGTERM) when the caller stops reading, and killed, with all it started, if
    that takes longer than PATIENCE; on Linux it is also asked when this process dies, however that happens.
    Raises ChildFailed when it ends with another code than 0.
    """
    with log.open("ab") as errors:
        began = errors.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            start_new_session=True,
            preexec_fn=dies_with(os.getpid(), signal.SIGTERM),
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                yield line.rstrip("\n")
            code = process.wait()
        finally:
            end(process, PATIENCE, signal.SIGTERM)
            if process.stdout is not None:
                process.stdout.close()
    if code != 0:
        said = _said(log, began)
        raise ChildFailed(
            f"{' '.join(command[:4])} … ended with code {code}; it said, in {log}:\n{said}", code
        )


def dies_with(parent: int, by: signal.Signals) -> Callable[[], None] | None:
    """What a child calls first: the kernel shall send it the signal `by` when its parent is gone (Linux)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, by)
        if os.getppid() != parent:  # it died before the call
            os._exit(1)

    return prepare


def end(process: subprocess.Popen, patience: float, by: signal.Signals = signal.SIGINT) -> None:
    """Send a process that leads a group of its own the signal `by`; kill what is left of the group after
    `patience` seconds, or when somebody will not wait that long.
    """
    try:
        if process.poll() is None:
            process.send_signal(by)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _said(log: Path, began: int) -> str:
    with log.open("rb") as file:
        file.seek(began)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL:])
