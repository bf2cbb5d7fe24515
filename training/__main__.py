"""`python -m training JOB.json`: lock the output folder, start the job's processes, wait for them.

Standard output carries the lines of `training.progress`. Exit codes: 0 trained (or had been before), 2 the
job cannot be done as asked, above 128 a process was killed (by that signal), 1 anything else. SIGTERM ends it
after the step with a checkpoint; killed at any moment, the same command goes on from the last one.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from store.errors import DiskFull, Locked
from store.lock import sole
from training import launching
from training.job import RENDEZVOUS, RESULT_FILE, JobError, TrainingJob

LOCK_FILE, MEETING_FILE = ".lock", ".processes"
STOPPED = 128 + signal.SIGTERM
STOP_PATIENCE = 60.0
"""Seconds that a training has to end its step and write a checkpoint once it is asked to stop."""
# The run that started a training may be gone, and the training still at its last checkpoint.
LOCK_PATIENCE = STOP_PATIENCE + 30
# Activations are freed and wanted again at every step; left to itself, glibc gives them back to the system in
# between, which costs several percent of the time on a CPU.
KEEP_MEMORY = ":".join(
    (
        "glibc.malloc.mmap_threshold=268435456",
        "glibc.malloc.trim_threshold=4294967296",
        "glibc.malloc.hugetlb=1",
    )
)
PROJECT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Run the command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Train the model of a job.")
    parser.add_argument("job", type=Path, help="the job, a JSON file (see training.job.TrainingJob)")
    parser.add_argument("--worker-of", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        job = TrainingJob.read(given.job)
        if given.worker_of is not None:
            _die_with(given.worker_of)
            return _work(job)
        if launching.is_launched():
            return _launched(job)
        if job.loop.launch is not None:
            return launching.launch(given.job, job.loop.launch, PROJECT)
        with _lock(Path(job.output)) as lock:
            if _is_done(job):
                return 0
            return _launch(given.job, Path(job.output), job.loop.processes or usual_processes(job), lock)
    except (JobError, DiskFull) as error:
        if int(os.environ.get("RANK", 0)) == 0:
            print(f"error: {error}", file=sys.stderr)
        return 2


def _work(job: TrainingJob) -> int:
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from training.loop import train

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    asked_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    return 0 if train(job, asked_to_stop.is_set) else STOPPED


def _launched(job: TrainingJob) -> int:
    """One of the processes of a launcher; the first of all holds the lock."""
    _die_with(os.getppid())
    launching.check_world(job)
    launching.stay_on_loopback()
    first = int(os.environ["RANK"]) == 0
    with _lock(Path(job.output)) if first else contextlib.nullcontext():
        return 0 if _is_done(job) else _work(job)


def _launch(path: Path, output: Path, processes: int, lock: int) -> int:
    """Start the processes and wait; the first that fails ends them all. They inherit the lock. SIGTERM is
    passed on to them, and they are waited for."""
    (output.resolve() / MEETING_FILE).unlink(missing_ok=True)  # of a training that was killed
    command = [sys.executable, "-m", "training", str(path), "--worker-of", str(os.getpid())]
    running: list[subprocess.Popen] = []
    asked_to_stop, patience_ends = threading.Event(), float("inf")
    signal.signal(signal.SIGTERM, lambda *_: asked_to_stop.set())
    try:
        for environment in environments(output, processes):
            options: dict[str, Any] = {"env": environment, "pass_fds": [lock], "stdin": subprocess.DEVNULL}
            running.append(subprocess.Popen(command, **options))
        while time.monotonic() < patience_ends:
            codes = [process.poll() for process in running]
            failed = [code for code in codes if code]
            if failed:
                if asked_to_stop.is_set() or STOPPED in failed:
                    return STOPPED
                killed = -min(failed)
                return 2 if 2 in failed else 128 + killed if killed > 0 else 1
            if all(code == 0 for code in codes):
                return 0
            if asked_to_stop.is_set() and patience_ends == float("inf"):
                patience_ends = time.monotonic() + STOP_PATIENCE
                for process in running:
                    process.terminate()
            time.sleep(0.1)
        return STOPPED
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()
        (output.resolve() / MEETING_FILE).unlink(missing_ok=True)


def environments(output: Path, processes: int) -> list[dict[str, str]]:
    """The environment of each of the processes that train together into `output` on this machine."""
    threads = min(int(os.environ.get("OMP_NUM_THREADS", _cores())), _cores() // processes)
    shared = os.environ | {
        "OMP_NUM_THREADS": str(max(1, threads)),
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", KEEP_MEMORY),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])),
    }
    loopback = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    for backend in ("GLOO", "NCCL") if loopback else ():
        shared.setdefault(f"{backend}_SOCKET_IFNAME", loopback[0])
    if processes == 1:
        return [shared]
    meeting = output.resolve() / MEETING_FILE
    return [shared | _group(rank, processes, meeting) for rank in range(processes)]


def _group(rank: int, processes: int, meeting: Path) -> dict[str, str]:
    """What the process `rank` of several is told."""
    world = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), RENDEZVOUS: str(meeting)}
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), **world}


def _die_with(parent: int) -> None:
    """End this process as soon as `parent` is no longer its parent, however that one ended."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _lock(folder: Path):
    """Hold the folder for this training and its processes. Raises JobError where another one keeps it."""
    patience = float(os.environ.get("FINEFACE_LOCK_PATIENCE", LOCK_PATIENCE))
    with contextlib.ExitStack() as held:
        try:
            handle = held.enter_context(sole(folder / LOCK_FILE, patience))
        except Locked as error:
            raise JobError(f"another training writes to {folder}: {error}") from None
        yield handle


def _is_done(job: TrainingJob) -> bool:
    """Whether the output folder holds this job's result. Raises JobError where it holds another job's."""
    path = Path(job.output) / RESULT_FILE
    if not path.is_file():
        return False
    if json.loads(path.read_text()).get("identity") != job.checkpoint_identity():
        raise JobError(f"{job.output} holds the result of another job; choose another output")
    return True


def usual_processes(job: TrainingJob) -> int:
    """As many as fit: one a GPU, or a core each up to four, that share the batch evenly."""
    import torch

    if job.device != "cpu" and torch.cuda.is_available():
        most = torch.cuda.device_count()
    else:
        most = min(4, _cores())
    return next(count for count in range(most, 0, -1) if job.loop.batch_size % count == 0)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
