"""A worker as a process of its own environment, kept with its model from one set of requests to the next."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from inference.child import Child
from inference.environments import Worker


class Running:
    """`worker`, started when it is first asked. What it logs goes to `say`, what its packages print to the
    file `log`. It ends with `close`, and with this process."""

    def __init__(self, worker: Worker, log: Path, say: Callable[[str], None]):
        self._worker, self._log, self._say = worker, log, say
        self._child: Child | None = None

    def answers(self, requests: pl.DataFrame) -> Iterator[dict[str, Any]]:
        """What the worker says about each of `requests` (key, path, content_hash), as it comes.

        Raises EnvironmentUnavailable, and ChildFailed when the process ended. Who leaves off reading has to
        close it.
        """
        if self._child is None:
            self._child = self._started()
        self._child.write(json.dumps(requests.select("key", "path", "content_hash").to_dicts()))
        for line in self._child.lines():
            if not line:
                return
            said = _parsed(line)
            if "log" in said:
                self._say(said["log"])
            elif said:
                yield said

    def close(self) -> None:
        """End the process, if it runs."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _started(self) -> Child:
        # Ours would lead the worker's python astray.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        child = Child(self._worker.command, self._log, environment | {"PYTHONNOUSERSITE": "1"})
        child.write(json.dumps(dict(self._worker.settings)))
        return child


def _parsed(line: str) -> dict[str, Any]:
    """An answer's line; empty for one that a kill cut short."""
    try:
        return json.loads(line)
    except ValueError:
        return {}
