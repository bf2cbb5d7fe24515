"""`fineface ui`."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, DEFAULT_PROFILE, Home, ProfileName, load


def ui(
    profile: ProfileName = DEFAULT_PROFILE,
    home: Home = DEFAULT_HOME,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Dagster's web interface and daemon on http://127.0.0.1:PORT, with the history of runs by command."""
    _, place = load(profile, home)
    from pipelines import profiles, runs

    runs.dagster_home(place)
    location = ["-m", "pipelines.definitions", "--working-directory", str(profiles.PROJECT)]
    command = [sys.executable, "-m", "dagster", "dev", *location, "-h", "127.0.0.1", "-p", str(port)]
    try:
        raise typer.Exit(subprocess.call(command))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
