"""Processes that begin where all is imported already: forks of one that has done nothing but import.

A graph run costs seconds instead of a minute of imports; processes, signals and files are the real ones.
"""

import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

IMPORTED = (
    *("diffusers.models.unets.unet_2d_condition", "diffusers.models.autoencoders.autoencoder_kl"),
    *("diffusers.schedulers.scheduling_ddim", "diffusers.schedulers.scheduling_ddpm", "peft.tuners.lora"),
    *("transformers.models.blip_2.modeling_blip_2", "transformers.models.blip_2.processing_blip_2"),
    *("transformers.models.clip.modeling_clip", "transformers.models.clip.image_processing_pil_clip"),
    *("matplotlib.pyplot", "evaluation.report", "methods.fineface.model", "miniature.estimator"),
    *("miniature.conv_estimator", "pipelines.command", "pipelines.console", "pipelines.definitions"),
    *("pipelines.preflight", "training.__main__", "training.loop", "tiny_world"),
    *(
        "dagster._core.storage.sqlite_storage",
        "dagster._core.storage.schedules.sqlite.sqlite_schedule_storage",
    ),
)
HOUSEKEEPING = {"jemalloc_bg_thd", "polars-ooc-clea"}
"""Threads of polars and pyarrow that a fork can do without."""
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("POLARS_MAX_THREADS", "TOKIO_WORKER_THREADS", "RAYON_NUM_THREADS"), "1"),
    **{"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"},
}
"""Set before anything is imported."""
_PR_SET_PDEATHSIG = 1
_Popen = subprocess.Popen


def import_everything() -> None:
    """What runs import on their way. Raises RuntimeError where that started threads."""
    for name in IMPORTED:
        import_module(name)
    import torch

    torch.set_num_threads(1)
    alone()


def alone() -> None:
    """Raises RuntimeError where this process has threads; else it may be forked."""
    found = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    if lost := found - {Path("/proc/self/comm").read_text().strip()} - HOUSEKEEPING:
        raise RuntimeError(f"threads that a fork would lose: {', '.join(sorted(lost))}")
    gc.freeze()  # or every fork would copy it all to look for garbage


def start(target, log: Path, **environment: str) -> int:
    """A process that calls `target()`, whose output goes to `log`; its id. It ends with what that returns."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ |= environment
    os.setsid()
    _end(target)


def wait(pid: int) -> int:
    """Its code; that of a killed one is negative."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _end(target) -> None:
    code = 1
    try:
        code = target() or 0
    except SystemExit as said:
        code = said.code if isinstance(said.code, int) else 0 if said.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


class Popen(_Popen):
    """`subprocess.Popen`; for `python -m training` a process of SPARE becomes it."""

    def _execute_child(self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest):
        if list(args)[1:3] != ["-m", "training"] or not SPARE:
            return super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest)
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = rest[3:9]
        pid, line = SPARE.pop()
        out = 1 if c2pwrite == -1 else c2pwrite
        err = 2 if errwrite == -1 else errwrite
        leads = "1" if preexec_fn is not None else "0"
        words = [leads, *list(args)[3:], "\0", *(f"{k}={v}" for k, v in (env or os.environ).items())]
        socket.send_fds(line, ["\x01".join(words).encode()], [out, err, *pass_fds])
        line.close()
        self.pid, self._child_created = pid, True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


SPARE: list[tuple[int, socket.socket]] = []


def keep_spare(count: int, depth: int = 2) -> None:
    """Fork what may become a training later: this process is still as it was after the imports. A training
    starts another process, so each spare has one of its own."""
    subprocess.Popen = Popen
    for _ in range(count if depth else 0):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            SPARE.clear()
            ours.close()
            keep_spare(1, depth - 1)
            _become(theirs)
        theirs.close()
        SPARE.append((pid, ours))


def _become(line: socket.socket) -> None:
    message, handles, _, _ = socket.recv_fds(line, 1 << 20, 16)
    line.close()
    if not message:
        os._exit(0)  # whoever forked it is gone, or did not need it
    words = message.decode().split("\x01")
    at = words.index("\0")
    leads, arguments, environment = words[0] == "1", words[1:at], words[at + 1 :]
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(handles[0], 1)
    os.dup2(handles[1], 2)
    for handle in handles[:2]:
        os.close(handle)
    os.environ.clear()
    os.environ.update(one.split("=", 1) for one in environment)
    if leads:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    from training.__main__ import main

    _end(lambda: main(arguments))
