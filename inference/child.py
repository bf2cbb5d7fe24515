"""A process of another program whose lines are read as they come, and which never outlives this one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_TAIL = 30
KILLED = 128
PATIENCE = 75.0
"""Seconds; a training writes its last checkpoint meanwhile."""


class ChildFailed(RuntimeError):
    """The program ended with `code`; the message ends with the last lines it wrote."""

    def __init__(self, message: str, code: int):
        super().__init__(message, code)  # both, so that it can be sent to another process
        self.code = code

    def __str__(self) -> str:
        return self.args[0]

    @property
    def killed(self) -> bool:
        """Whether it, or what it started, was killed from outside (by the kernel for its memory, by a
        person): a program whose own children were killed says so by its code, as shells do."""
        return self.code < 0 or self.code > KILLED


class Child:
    """The program `command`; lines are written to its standard input and read from its standard output,
    standard error goes to the file `log`.

    The process is asked to end (SIGTERM) by `close`, and killed, with all it started, if that takes longer
    than PATIENCE; on Linux it is also asked when this process dies, however that happens.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.PIPE,
    ):
        self._command, self._log = command, log
        with log.open("ab") as errors:
            self._began = errors.tell()
            self._process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                env=environment,
                start_new_session=True,
                preexec_fn=dies_with(os.getpid(), signal.SIGTERM),
            )

    def write(self, line: str) -> None:
        """Hand over a line. That the program has ended is found out by who reads its own."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """Its lines, as they come, from where the last reader left off. Raises ChildFailed when it ends with
        another code than 0."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            yield line.rstrip("\n")
        if (code := self._process.wait()) != 0:
            raise ChildFailed(
                f"{' '.join(self._command[:4])} … ended with code {code}; it said, in {self._log}:\n"
                f"{_said(self._log, self._began)}",
                code,
            )

    def close(self) -> None:
        """End it."""
        end(self._process, PATIENCE, signal.SIGTERM)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def lines(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Generator[str, None, None]:
    """The lines of a `Child` that reads nothing; it ends when the caller stops reading."""
    with contextlib.closing(Child(command, log, environment, subprocess.DEVNULL)) as child:
        yield from child.lines()


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
