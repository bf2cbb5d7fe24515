"""What verbs that make pictures share: action units as they are typed, and the names of files."""

from __future__ import annotations

import re
from pathlib import Path

import typer

ASKED = re.compile(r"([^=\s]+)=([^=\s]+)")


def pairs(given: list[str], hint: str) -> dict[str | int, float]:
    """["AU12=4"] → {"AU12": 4.0}. Raises typer.BadParameter for what is no such pair, or is named twice;
    `hint` names the parameter."""
    found: dict[str | int, float] = {}
    for text in given:
        pair = ASKED.fullmatch(text)
        try:
            name, value = (pair[1].upper(), float(pair[2])) if pair else ("", 0.0)
        except ValueError:
            name = ""
        if not name or name in found:
            why = "is named twice" if name else "is no action unit with an intensity, as in AU12=4"
            raise typer.BadParameter(f"{text!r} {why}", param_hint=hint)
        found[name] = value
    return found


def png(path: Path) -> Path:
    """`path`, which pictures can be written to. Raises typer.BadParameter."""
    if path.suffix.lower() != ".png":
        raise typer.BadParameter(f"{path}: pictures are written as .png", param_hint="--out")
    return path.expanduser().absolute()


def slug(text: str) -> str:
    """`text` as a part of a file's name."""
    return re.sub(r"[^\w.=-]+", "-", text.strip())[:60].strip("-.") or "face"
