"""What one YAML mapping changes in another that lies below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHOICES = ("provider", "method", "kind")
"""Keys that pick one of several alternatives; with another of them, nothing said of the first applies."""


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the keys of `above` changed, those inside of mappings one by one; a mapping that picks
    another alternative starts afresh.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and not _another_choice(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _another_choice(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    before, after = old.get("train"), new.get("train")
    if isinstance(before, dict) and isinstance(after, dict) and _another_choice(before, after):
        return True  # an experiment's method decides what its `sample` may say
    return any(choice in old and choice in new and old[choice] != new[choice] for choice in CHOICES)
