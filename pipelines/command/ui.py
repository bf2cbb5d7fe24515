"""`fineface ui`: Dagster's web server and daemon, which end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from pipelines.command.options import DEFAULT_HOME, DEFAULT_PROFILE, Home, ProfileName, load

PATIENCE_SECONDS = 20.0
"""How long web server and daemon may take to end by themselves."""


def ui(
    profile: ProfileName = DEFAULT_PROFILE,
    home: Home = DEFAULT_HOME,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Dagster's web interface and daemon on http://127.0.0.1:PORT, with the history of runs by command."""
    _, place = load(profile, home)
    from pipelines import profiles, runs

    runs.dagster_home(place)
    location = ["-m", "pipelines.definitions", "--working-directory", str(profiles.PROJECT)]
    command = [sys.executable, "-m", "dagster", "dev", *location, "-h", "127.0.0.1", "-p", str(port)]
    raise typer.Exit(serve(command))


def serve(command: Sequence[str], patience: float = PATIENCE_SECONDS) -> int:
    """Run `command` until it ends or this process is told to; its exit code, 0 if told. All that it started
    ends with it, also when this process is killed (on Linux, if `command` heeds an interrupt).
    """
    from assets import child

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # also where a shell had one ignored
        signal.signal(number, _interrupt)
    process = subprocess.Popen(
        command, start_new_session=True, preexec_fn=child.dies_with(os.getpid(), signal.SIGINT)
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        child.end(process, patience)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
