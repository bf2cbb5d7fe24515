"""An AU estimator in an environment of its own, as LibreFace is, whose worker is as cheap as can be."""

import sys
from pathlib import Path

from facs import ACTION_UNITS
from inference import environments
from inference.environments import Worker

ENVIRONMENT = "libreface"
HERE = Path(__file__).resolve().parent


class Estimator:
    """Twelve intensities from twelve places of a picture."""

    name, fingerprint = "foreign", "foreign 1"
    supported, side, batch_size, calls = ACTION_UNITS, None, 16, 0

    def needs(self):
        """Its environment."""
        yield environments.need(ENVIRONMENT)

    def worker(self, questions=None):
        """Who reads pictures."""
        return ForeignWorker(ENVIRONMENT, {})


class ForeignWorker(Worker):
    """A worker whose script lies here; the interpreter is that of the environment."""

    @property
    def command(self):
        """Its command line. Raises EnvironmentUnavailable."""
        return [str(environments.python(ENVIRONMENT)), str(HERE / "foreign_worker.py")]


def make_environment(folder: Path) -> Path:
    """A folder that counts as the environment, with this interpreter in it."""
    (folder / "bin").mkdir(parents=True)
    mend(folder)
    (folder / environments.MARKER).write_text(environments._contents(ENVIRONMENT))
    return folder


def mend(folder: Path) -> None:
    """What `fineface environment create` comes to here: the interpreter is there."""
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
