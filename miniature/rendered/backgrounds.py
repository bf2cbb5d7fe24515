"""What stands behind a person: out of focus, so broad bands and blobs of light. No people."""

from __future__ import annotations

import numpy as np

from miniature.identities import COLOURS
from miniature.rendered.people import Person
from miniature.rendered.shading import linear


def paint(person: Person, width: int, height: int) -> np.ndarray:
    """Light float32 [height, width, 3] of `person`'s background."""
    side = min(width, height)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / side
    z = (height / 2 - 0.5 - np.arange(height, dtype=np.float32)) / side
    across, up = np.meshgrid(x, z)
    kind = person.background
    if kind == "park":
        light = _bands(
            up, (-0.6, (92, 128, 60)), (-0.10, (104, 146, 70)), (0.02, (58, 104, 52)), (0.30, (150, 198, 226))
        )
        rng = np.random.default_rng(person.pattern)
        for _ in range(5):
            middle_x, middle_z, size = rng.uniform(-0.6, 0.6), rng.uniform(0.05, 0.4), rng.uniform(0.08, 0.16)
            blob = np.exp(-(((across - middle_x) / size) ** 2) - ((up - middle_z) / size) ** 2)[..., None]
            light = light + (linear((44, 92, 44)) - light) * 0.8 * blob
    elif kind == "beach":
        light = _bands(
            up, (-0.6, (226, 206, 160)), (-0.16, (222, 200, 150)), (-0.10, (60, 132, 178)),
            (0.06, (84, 156, 200)), (0.10, (176, 214, 240)), (0.5, (128, 186, 236))
        )  # fmt: skip
    elif kind == "studio":
        glow = np.exp(-(across**2 + (up - 0.1) ** 2) / 0.35)[..., None]
        light = linear((26, 27, 32)) + (linear((66, 68, 78)) - linear((26, 27, 32))) * glow
    else:
        shade = (0.88 + 0.14 * up - 0.10 * across**2)[..., None]
        light = np.clip(linear(COLOURS[person.wall_colour]), 0.012, 0.85) * shade
    return light.astype(np.float32)


def _bands(up: np.ndarray, *stops: tuple[float, tuple[int, int, int]]) -> np.ndarray:
    heights = [stop[0] for stop in stops]
    colours = np.stack([linear(stop[1]) for stop in stops])
    return np.stack([np.interp(up, heights, colours[:, channel]) for channel in range(3)], axis=-1)
