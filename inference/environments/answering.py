"""What a worker is: it gets requests and settings through Dagster Pipes and prints an answer a line.

Runs in foreign environments: the standard library and dagster_pipes only.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

Request = Mapping[str, Any]
Answer = Mapping[str, Any]


def _lend(name: str) -> None:
    """Make a module at the top of the project, which needs nothing else of it, importable."""
    found = spec_from_file_location(name, Path(__file__).resolve().parents[2] / f"{name}.py")
    assert found is not None and found.loader is not None
    sys.modules[name] = module_from_spec(found)
    found.loader.exec_module(sys.modules[name])


def serve(answer: Callable[[list[Request], Mapping[str, Any], Callable[[str], None]], Iterable[Answer]]):
    """Write what `answer(requests, settings, log)` yields, as JSON lines, as soon as it comes.

    A request has `key`, `path` and `content_hash`; an answer `key` and the result's columns, in any order, or
    what `images.refusal` says of a picture that does not decode. `log` writes into the run's log. What
    packages print goes to standard error: standard output is for answers alone. `answer` may import those
    modules of `inference` that need nothing else of the project.
    """
    from dagster_pipes import open_dagster_pipes

    room = ModuleType("inference")  # no folder of sys.path: all that is installed for us may lie beside it
    room.__path__ = [str(Path(__file__).resolve().parents[1])]
    sys.modules["inference"] = room
    _lend("picture_files")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with open_dagster_pipes() as pipes:
        requests, settings = pipes.get_extra("requests"), pipes.get_extra("settings")
        for handler in pipes.log.handlers:
            logging.getLogger("inference").addHandler(handler)
        for given in answer(requests, settings, pipes.log.info):
            out.write(json.dumps(given, allow_nan=False) + "\n")
            out.flush()
