"""Environments for packages whose pins cannot share ours: where each lies, how it is made, what runs in it.

`<name>.in` says what is wanted, `<name>.txt` is compiled from it with hashes, and `<name>_worker.py` is run
by the environment's own python. Of this project it imports `answering.py` beside it, and once that serves,
modules of `inference` that need nothing else of the project: `images`, `devices`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.needs import Need
from store import file_system
from store.hashing import fingerprint
from store.lock import sole

NAMES = ("lavis", "libreface")
# torch comes first and from pip's index as everywhere, so that a machine's own build is taken; both packages
# only use parts of torchvision that this old version offers without its compiled half, on every torch.
TORCH, TORCHVISION = "torch==2.13.0", "torchvision==0.16.2"
PYTHON = "python3.11"  # the last that this torchvision was built for
HERE = Path(__file__).resolve().parent
MARKER, UNFINISHED = "fineface-environment", "unfinished"
_TAIL = 15


class EnvironmentUnavailable(RuntimeError):
    """An environment is absent, unfinished or outdated, or cannot be made; the message says what to do."""


@dataclass(frozen=True)
class Worker:
    """The script `<environment>_worker.py`, run in that environment with `settings`, plain values."""

    environment: str
    settings: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        """Its command line. Raises EnvironmentUnavailable."""
        return [str(python(self.environment)), str(HERE / f"{self.environment}_worker.py")]


def variable(name: str) -> str:
    """The environment variable that says where environment `name` lies."""
    return f"FINEFACE_{name.upper()}_ENVIRONMENT"


def folder(name: str) -> Path:
    """Where environment `name` is looked for: its variable, else the user's cache folder."""
    if said := os.environ.get(variable(name)):
        return Path(said).expanduser().absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "fineface" / "environments" / name


def python(name: str) -> Path:
    """The interpreter of environment `name`. Raises EnvironmentUnavailable, naming the command to run."""
    place = folder(name)
    if (fault := _fault(name, place)) is not None:
        raise EnvironmentUnavailable(
            f"the environment {name!r} {fault}: run 'fineface environment create {name}' "
            f"(or let {variable(name)} name the folder of one)"
        )
    return place / "bin" / "python"


def state(name: str) -> str:
    """ "ready", or what is wrong with environment `name`, and where it is looked for."""
    return _fault(name, folder(name)) or f"is ready in {folder(name)}"


def need(name: str) -> Need:
    """Environment `name`, whole and current."""
    fault = _fault(name, folder(name))
    how = f"fineface environment create {name}   (a minute, 1.6 GB; or {variable(name)}=FOLDER)"
    return Need(f"the environment {name}", fault or "", how)


def pins(name: str) -> dict[str, str]:
    """The versions in environment `name`, package → version: what a fingerprint names."""
    lines = (HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ")[0].split("==") for line in lines if line[:1].isalpha())


def create(name: str, path: str | os.PathLike | None = None, say: Callable[[str], None] = print) -> Path:
    """Make environment `name` in `path` (default: where it is looked for); the folder.

    One that is whole and current is left alone, any other is made anew. Until the last step is done it counts
    as unfinished. Raises EnvironmentUnavailable, and FileExistsError for a folder that holds something else.
    """
    place = folder(name) if path is None else Path(path).expanduser().absolute()
    interpreter = _interpreter()
    with _sole(place):
        if _fault(name, place) is None:
            say(f"{place} is whole and current")
            return place
        _clear(place)
        began = time.monotonic()
        _run([interpreter, "-I", "-m", "venv", str(place)])
        pip = [str(place / "bin" / "python"), "-I", "-m", "pip", "install", "--quiet", "--no-input"]
        for what, arguments in (
            (TORCH, [TORCH]),
            (TORCHVISION, ["--no-deps", TORCHVISION]),
            (f"{name}.txt", ["--no-deps", "--require-hashes", "--requirement", str(HERE / f"{name}.txt")]),
        ):
            say(f"installing {what}")
            _run([*pip, *arguments])
        _mark(place, _contents(name))
        say(f"made {place} in {time.monotonic() - began:.0f} s")
    return place


def _contents(name: str) -> str:
    lines = (HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    requirements = [line for line in lines if not line.lstrip().startswith("#")]
    return fingerprint(torch=TORCH, torchvision=TORCHVISION, requirements=requirements)


def _fault(name: str, place: Path) -> str | None:
    """What keeps the folder `place` from being a whole, current environment `name`."""
    marker = place / MARKER
    if not marker.is_file():
        return f"is not in {place}"
    found = marker.read_text(encoding="utf-8").strip()
    if found == UNFINISHED:
        return f"in {place} is unfinished"
    if found != _contents(name):
        return f"in {place} was made from other requirements"
    if not os.access(place / "bin" / "python", os.X_OK):
        return f"in {place} has lost its python"
    return None


def _interpreter() -> str:
    """A Python of the version that the wheels are for."""
    if f"python{sys.version_info.major}.{sys.version_info.minor}" == PYTHON:
        return sys.executable
    if found := shutil.which(PYTHON):
        return found
    raise EnvironmentUnavailable(f"these environments need {PYTHON}, which is not on the PATH")


def _sole(place: Path) -> AbstractContextManager[int | None]:
    """One maker at a time; a second waits and finds it made."""
    return sole(place.with_name(f"{place.name}.lock"))


def _clear(place: Path) -> None:
    """An empty folder that is marked as unfinished; only what bears the marker is removed."""
    if place.exists():
        if not (place / MARKER).is_file() and any(place.iterdir()):
            raise FileExistsError(f"{place} holds something else; name an empty or new folder")
        shutil.rmtree(place)
    place.mkdir()
    _mark(place, UNFINISHED)


def _mark(place: Path, text: str) -> None:
    file_system.write(place / MARKER, text)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-_TAIL:])
        raise EnvironmentUnavailable(f"{' '.join(command)} failed:\n{said}")
