"""`fineface ui`: Dagster's web server, daemon and code server, which end with it, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pipelines.command.options import DEFAULT_HOME, DEFAULT_PROFILE, Home, ProfileName, load

PATIENCE_SECONDS = 20.0
"""How long the servers may take to end by themselves."""
LOOK_SECONDS = 0.2


def ui(
    profile: ProfileName = DEFAULT_PROFILE,
    home: Home = DEFAULT_HOME,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 3000,
    open_it: Annotated[bool, typer.Option("--open", help="Open the link in the browser.")] = False,
) -> None:
    """Dagster's web interface and daemon, with the history of runs by command.

    Prints the link that lets a browser in, once; then the next. Only this machine reaches it.
    """
    _, place = load(profile, home)
    import loopback
    from pipelines import profiles, runs

    loopback.bind(port).close()  # a port that is taken is told now, not in a minute
    runs.dagster_home(place)
    dagster = [sys.executable, "-m", "dagster"]
    with tempfile.TemporaryDirectory(prefix="fineface-") as folder:  # only its owner may look into it
        socket, workspace = Path(folder) / "code", Path(folder) / "workspace.yaml"
        definitions = "pipelines.definitions"
        workspace.write_text(
            f"load_from: [grpc_server: {{socket: {str(socket)!r}, location_name: {definitions}}}]\n"
        )
        code = [*dagster, "code-server", "start", "-m", definitions, "-d", str(profiles.PROJECT)]
        code += ["-s", str(socket), "--use-python-environment-entry-point", "--log-level", "warning"]
        web = [sys.executable, "-m", "pipelines.web_interface", "--workspace", str(workspace)]
        web += ["--port", str(port), *(["--open"] if open_it else [])]
        daemon = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)]
        raise typer.Exit(serve(code, web, daemon, ready=socket))


def serve(*commands: Sequence[str], ready: Path | None = None, patience: float = PATIENCE_SECONDS) -> int:
    """Run `commands` until one of them ends or this process is told to; its exit code, 0 if told. The others
    are started when the first has made the file `ready`. All that they started ends with them, also when this
    process is killed (on Linux, if a command heeds an interrupt).
    """
    from inference import child

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # also where a shell had one ignored
        signal.signal(number, _interrupt)
    begun: list[subprocess.Popen] = []
    try:
        for command in commands:
            prepare = child.dies_with(os.getpid(), signal.SIGINT)
            begun.append(subprocess.Popen(command, start_new_session=True, preexec_fn=prepare))
            while ready is not None and not ready.exists() and begun[0].poll() is None:
                time.sleep(LOOK_SECONDS)
        while True:
            for process in begun:
                if process.poll() is not None:
                    return process.returncode
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        return 0
    finally:
        for process in reversed(begun):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        for process in begun:
            child.end(process, patience)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
