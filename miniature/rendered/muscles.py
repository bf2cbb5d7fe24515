"""How twelve intensities move the head: the stated curve from 0-5 to strengths of the rig's motions."""

from __future__ import annotations

import numpy as np

from facs import ACTION_UNITS, MAXIMUM

GAINS: dict[int, float] = {
    1: 2.0,
    2: 1.7,
    4: 1.6,
    5: 2.0,
    6: 1.15,
    9: 2.2,
    12: 1.1,
    15: 2.3,
    17: 2.2,
    20: 2.1,
    25: 1.5,
    26: 0.72,
}
"""Strength of an AU's face units at intensity 5. Above 1 is more than a modeller's full expression:
at 64 px one pixel is 3 mm, and a brow that rises by 5 mm would be hard to read."""
EXPONENT = 0.85
"""Strength rises as (intensity / 5) ** EXPONENT: a trace is seen, and the last step is the smallest."""
HIGHEST = 6.0

_GAIN = np.array([GAINS[unit] for unit in ACTION_UNITS])


def shares(intensities) -> np.ndarray:
    """float [12] from intensities [12] 0-5: 0 relaxed, 1 at intensity 5; clipped to intensities 0 to 6.

    Raises ValueError for another number of values or one that is not finite.
    """
    values = np.asarray(intensities, dtype=float)
    if values.shape != (len(ACTION_UNITS),) or not np.isfinite(values).all():
        raise ValueError(f"expected {len(ACTION_UNITS)} finite intensities, got {values.tolist()}")
    return (np.clip(values, 0.0, HIGHEST) / MAXIMUM) ** EXPONENT


def strengths(intensities) -> np.ndarray:
    """float [12]: the strength of each AU's face units for `intensities` [12] (see `shares`, GAINS)."""
    return _GAIN * shares(intensities)
