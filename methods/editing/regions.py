"""Where in a framed face each action unit moves it."""

from __future__ import annotations

import functools

import torch

from facs import ACTION_UNITS

REGIONS: dict[int, tuple[float, float, float, float]] = {
    **dict.fromkeys((1, 2, 4), (0.50, 0.32, 0.30, 0.10)),
    5: (0.50, 0.40, 0.30, 0.08),
    6: (0.50, 0.50, 0.32, 0.12),
    9: (0.50, 0.50, 0.14, 0.14),
    **dict.fromkeys((12, 15, 20, 25), (0.50, 0.72, 0.25, 0.12)),
    17: (0.50, 0.82, 0.18, 0.12),
    26: (0.50, 0.80, 0.25, 0.18),
}
"""AU → centre (x, y) and half-widths (x, y) of where it moves the face, as shares of a framed picture's side.
Read off the muscles that FACS names and the framing of the training set, where papers take landmarks."""


@functools.cache
def regions(size: int) -> torch.Tensor:
    """How far each AU reaches, [12, size, size] in 0…1: 1 at its centre, e^-½ at its half-width."""
    places = (torch.arange(size) + 0.5) / size
    found = []
    for au in ACTION_UNITS:
        x, y, across, down = REGIONS[au]
        distance = ((places[None] - x) / across).square() + ((places[:, None] - y) / down).square()
        found.append(torch.exp(-distance / 2))
    return torch.stack(found)
