"""Models that cost nothing and do what engines have to bear: they are sent to other processes, which import
this module."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Oracle:
    """Says the length of a path, and who read it. Leaves a mark in `folder` for each request that it begins.

    kills: paths that kill its process; once: only the first time. fails: paths that raise. seconds: of each.
    """

    folder: Path
    kills: tuple[str, ...] = ()
    once: bool = False
    fails: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()
    seconds: float = 0.0
    name = "oracle"
    fingerprint = "f"

    def read(self, requests):
        for row in requests.to_dicts():
            path = row["path"]
            marks = self.folder / path.strip("/")
            marks.mkdir(exist_ok=True)
            before = len(list(marks.iterdir()))
            (marks / f"{before}-{os.getpid()}").touch()
            if path in self.kills and not (self.once and before):
                os.kill(os.getpid(), signal.SIGKILL)
            if path in self.fails:
                raise FloatingPointError(f"{path} is no number")
            time.sleep(self.seconds)
            if path in self.corrupt:
                yield {"key": row["key"], "problem": "cut short"}
            else:
                yield {"key": row["key"], "letters": int(path.strip("/")), "reader": os.getpid()}


def marks(folder: Path) -> dict[str, int]:
    """How often each request was begun."""
    return {place.name: len(list(place.iterdir())) for place in sorted(folder.iterdir())}


@dataclass(frozen=True)
class Script:
    """A worker as `inference.environments.Worker`, whose script and python are given."""

    script: str
    settings: dict
    environment = "script"

    @property
    def command(self) -> list[str]:
        return [sys.executable, self.script]


@dataclass(frozen=True)
class Elsewhere:
    """A model in an environment of its own."""

    worker: Script
    name = "elsewhere"
    fingerprint = "f"
