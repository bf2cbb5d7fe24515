"""Processes that `accelerate launch` starts, on one machine or several. Those of one machine are started
by `training.__main__` itself, which needs no port.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType

from inference.child import dies_with
from training.job import RENDEZVOUS, JobError, TrainingJob

MEETING_PLACE = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
"""What a launcher tells its processes by their environment."""


def is_launched() -> bool:
    """Whether a launcher (`accelerate launch`, `torchrun`) has started this process as one of several."""
    return RENDEZVOUS not in os.environ and all(name in os.environ for name in MEETING_PLACE)


def check_world(job: TrainingJob) -> None:
    """Raises JobError where the processes there are cannot share the batch evenly: batch_size is the samples
    of a step whatever their number, so that the model is the same."""
    world, size = int(os.environ["WORLD_SIZE"]), job.loop.batch_size
    if size % world:
        raise JobError(f"batch_size {size} cannot be divided by the {world} processes that were launched")


def stay_on_loopback() -> None:
    """Let processes that meet on this machine's loopback exchange gradients there as well."""
    if os.environ["MASTER_ADDR"] in ("127.0.0.1", "localhost", "::1"):
        for loopback in [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]:
            for backend in ("GLOO", "NCCL"):
                os.environ.setdefault(f"{backend}_SOCKET_IFNAME", loopback)


def launch(job: Path, configuration: Path, project: Path) -> int:
    """Run `accelerate launch` for this machine's part of the job and wait; an exit code as of
    `python -m training`. The launcher dies with this process, and its processes with it.

    Raises JobError for a configuration that is not there.
    """
    configuration = configuration.expanduser()
    if not configuration.is_file():
        raise JobError(f"train.launch: {configuration} is no file; `accelerate config` writes one")
    arguments = ["--config_file", str(configuration), "--module", "training", str(job)]
    command = [sys.executable, "-m", "accelerate.commands.launch", *arguments]
    paths = filter(None, [str(project), os.environ.get("PYTHONPATH")])
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        preexec_fn=dies_with(os.getpid(), signal.SIGKILL),
    )
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        process.terminate()

    signal.signal(signal.SIGTERM, stop)
    try:
        code = process.wait()
    finally:
        process.kill()
    if stopped:
        return 128 + signal.SIGTERM
    return 128 - code if code < 0 else code
