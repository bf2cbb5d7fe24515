"""What a worker is: a line of settings comes in, then lines of requests; an answer a line goes out.

Runs in foreign environments: the standard library only. Who starts one is `inference.running`.
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
Reader = Callable[[list[Request]], Iterable[Answer]]


def _lend(name: str) -> None:
    """Make a module at the top of the project, which needs nothing else of it, importable."""
    found = spec_from_file_location(name, Path(__file__).resolve().parents[2] / f"{name}.py")
    assert found is not None and found.loader is not None
    sys.modules[name] = module_from_spec(found)
    found.loader.exec_module(sys.modules[name])


def serve(load: Callable[[Mapping[str, Any], Callable[[str], None]], Reader]) -> None:
    """Answer the requests of each line of standard input by what `load(settings, log)` gave, once, as soon as
    it comes; after the last answer to a line comes an empty line.

    A request has `key`, `path` and `content_hash`; an answer `key` and the result's columns, in any order, or
    what `images.rows_ahead` says of a picture that does not decode. `log` writes into the run's log. What
    packages print goes to standard error: standard output is for answers alone. `load` may import those
    modules of `inference` that need nothing else of the project.
    """
    room = ModuleType("inference")  # no folder of sys.path: all that is installed for us may lie beside it
    room.__path__ = [str(Path(__file__).resolve().parents[1])]
    sys.modules["inference"] = room
    _lend("picture_files")
    lines = os.fdopen(os.dup(0), encoding="utf-8")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(text: str) -> None:
        out.write(text + "\n")
        out.flush()

    def log(text: str) -> None:
        say(json.dumps({"log": text}))

    heard = logging.Handler()
    heard.emit = lambda record: log(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("inference").addHandler(heard)
    reader = load(json.loads(lines.readline()), log)
    for requests in lines:
        for answer in reader(json.loads(requests)):
            say(json.dumps(answer, allow_nan=False))
        say("")
