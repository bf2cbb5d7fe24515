"""What a face is to show, from what it shows and what is asked for; usable by every editor. Vectors are
twelve intensities in the order of `facs.ACTION_UNITS`. The names are those of Gao et al. (2023), who adjust
targets by the action units of a set of pictures that show an expression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import facs

Vector = tuple[float, ...]
Transform = Callable[[Sequence[float], Mapping[int, float]], Vector]

SHOWN = 0.5
"""From this mean intensity on a set of pictures shows an action unit."""


def relative(source: Sequence[float], asked: Mapping[int, float]) -> Vector:
    """The AUs `asked` for (by number) replace the source's, which keeps the rest."""
    shown = zip(facs.ACTION_UNITS, source, strict=True)
    return tuple(float(asked.get(au, value)) for au, value in shown)


def average(source: Sequence[float], asked: Mapping[int, float]) -> Vector:
    """Nothing but the AUs `asked` for: whatever the source shows beside them becomes 0."""
    return tuple(float(asked.get(au, 0.0)) for au in facs.ACTION_UNITS)


TRANSFORMS: dict[str, Transform] = {"relative": relative, "average": average}


def expression(readings: Sequence[Sequence[float | None]]) -> dict[int, float]:
    """The action units that a set of pictures shows, at their mean intensity: those of SHOWN and more.

    An AU that was not read in a picture does not count there. Raises ValueError for no reading at all.
    """
    found = {}
    for place, au in enumerate(facs.ACTION_UNITS):
        values = [row[place] for row in readings]
        read = [value for value in values if value is not None]
        if read and (mean := sum(read) / len(read)) >= SHOWN:
            found[au] = mean
    if not any(value is not None for row in readings for value in row):
        raise ValueError("no action unit was read in any of the pictures")
    return found
