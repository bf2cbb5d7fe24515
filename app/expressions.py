"""Known expressions as action units: what the sliders can be set to at once.

The combinations follow the prototypes of EMFACS (Friesen & Ekman 1983) and of the FACS Investigator's Guide
(Ekman, Friesen & Hager 2002); pain is that of Prkachin & Solomon (2008). They name AUs; the intensities are
ours. AUs that are none of the twelve are left out, and named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import facs


@dataclass(frozen=True)
class Expression:
    """A name, the intensities of its AUs, and the AUs of the prototype that no slider has."""

    name: str
    aus: Mapping[str | int, float]
    left_out: tuple[int, ...] = ()

    @property
    def vector(self) -> tuple[float, ...]:
        """Twelve intensities in the order of facs.ACTION_UNITS."""
        return facs.parse(self.aus)

    @property
    def told(self) -> str:
        """ "AU1=4 AU4=3 (without AU11)"."""
        without = ", ".join(f"AU{au}" for au in self.left_out)
        return facs.describe(self.vector) + (f" (without {without})" if without else "")


EXPRESSIONS: dict[str, Expression] = {
    one.name: one
    for one in (
        Expression("Neutral", {}),
        Expression("Polite smile", {12: 3}),
        Expression("Happiness", {6: 4, 12: 4, 25: 2}),
        Expression("Sadness", {1: 4, 4: 3, 15: 4, 17: 2}, left_out=(11,)),
        Expression("Surprise", {1: 4, 2: 4, 5: 3, 25: 3, 26: 4}),
        Expression("Fear", {1: 4, 2: 3, 4: 3, 5: 4, 20: 4, 25: 3, 26: 2}),
        Expression("Anger", {4: 5, 5: 3, 17: 3}, left_out=(7, 23)),
        Expression("Disgust", {9: 5, 15: 2, 17: 3}, left_out=(10, 16)),
        Expression("Pain", {4: 4, 6: 4, 9: 3, 25: 2}, left_out=(7, 10, 43)),
    )
}
