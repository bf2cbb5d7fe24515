"""What of a profile one stage may see. Which that is stands in `stages`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

from settings.base import operational, plain

ASKING = ("chunk", "engine")
"""How models are asked: operational, and read by nearly every stage."""


class Undeclared(LookupError):
    """A stage asks for settings that it does not say it reads, so its code version would not know of them."""


class View:
    """`settings` as `who` sees it: the names in `reads` ("section", "section.key", or a property), and what
    changes no result.
    """

    def __init__(self, settings: Any, reads: Iterable[str], who: str, inside: str = "") -> None:
        self._settings, self._reads, self._who, self._inside = settings, frozenset(reads), who, inside

    def __getattr__(self, name: str) -> Any:
        path = self._inside + name
        field = getattr(type(self._settings), "model_fields", {}).get(name)
        if path in self._reads or path in ASKING or (field is not None and operational(field)):
            return getattr(self._settings, name)
        if any(read.startswith(f"{path}.") for read in self._reads):
            return View(getattr(self._settings, name), self._reads, self._who, f"{path}.")
        raise Undeclared(
            f"{self._who} asks for profile.{path}; what it declares to read is "
            f"{', '.join(sorted(self._reads)) or 'nothing'} (stages.py)"
        )


def told(settings: Any, reads: Iterable[str]) -> dict[str, Any]:
    """What `reads` name, as they decide a result: by name, operational ones left out, ready for JSON."""
    return {read: plain(reduce(getattr, read.split("."), settings)) for read in reads}
