"""Drawing primitives in face units: smooth polygons, strokes and ellipses, supersampled. No anatomy here.

Face units: the central square of a picture spans 100 x 100 units, origin in its middle, x right, y down.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

_STEPS = np.linspace(0.0, 1.0, 9)[:, None]
_BEZIER = np.hstack([(1 - _STEPS) ** 2, 2 * _STEPS * (1 - _STEPS), _STEPS**2])
_ANGLES = np.linspace(0.0, 2 * np.pi, 24, endpoint=False)
UNIT_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
_closed_spline_bases: dict[int, np.ndarray] = {}


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` (0-1) of the way from `first` to `second`."""
    red, green, blue = (
        int(min(255, max(0, a + (b - a) * share))) for a, b in zip(first, second, strict=True)
    )
    return red, green, blue


def brightness(colour: Colour) -> float:
    """Perceived brightness, 0-255."""
    return 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]


def vivid(colour: Colour) -> Colour:
    """The saturated, flat version of a colour that cartoons use."""
    grey = brightness(colour)
    red, green, blue = (int(np.clip(grey + 1.55 * (c - grey) + 14, 0, 255)) for c in colour)
    return red, green, blue


def arc(start, control, end) -> np.ndarray:
    """A quadratic Bezier curve, [9, 2]."""
    return _BEZIER @ np.array([start, control, end], dtype=float)


def arc_through(start, middle, end) -> np.ndarray:
    """A quadratic curve that passes through `middle` halfway, [9, 2]."""
    control = [2 * middle[i] - 0.5 * (start[i] + end[i]) for i in (0, 1)]
    return arc(start, control, end)


def closed_spline(points: np.ndarray, steps: int = 5) -> np.ndarray:
    """A smooth closed Catmull-Rom contour through `points` [n, 2], sampled as [n * steps, 2]."""
    count = len(points)
    basis = _closed_spline_bases.get(count)
    if basis is None:
        basis = np.zeros((count * steps, count))
        for segment in range(count):
            for step in range(steps):
                t = step / steps
                weights = (
                    0.5 * (-t + 2 * t**2 - t**3),
                    0.5 * (2 - 5 * t**2 + 3 * t**3),
                    0.5 * (t + 4 * t**2 - 3 * t**3),
                    0.5 * (-(t**2) + t**3),
                )
                for neighbour, weight in enumerate(weights, start=-1):
                    basis[segment * steps + step, (segment + neighbour) % count] += weight
        _closed_spline_bases[count] = basis
    return basis @ points


def mirrored(right_half: np.ndarray) -> np.ndarray:
    """Close a right half contour (first and last point on the axis x = 0) by its mirror image."""
    left_half = right_half[-2:0:-1] * [-1, 1]
    return np.vstack([right_half, left_half])


class Canvas:
    """A supersampled picture with a pose: everything drawn on it is given in face units."""

    def __init__(self, size: tuple[int, int], oversampling: int, centre=(0.0, 0.0), roll=0.0, scale=1.0):
        self.oversampling = oversampling
        width, height = size[0] * oversampling, size[1] * oversampling
        self.image = Image.new("RGB", (width, height))
        self._draw = ImageDraw.Draw(self.image)
        self._middle = np.array([width / 2, height / 2])
        self._base_unit = min(width, height) / 100
        self.set_pose(centre, roll, scale)

    def set_pose(self, centre=(0.0, 0.0), roll=0.0, scale=1.0) -> None:
        """Shift by `centre` (face units), turn by `roll` (radians) and zoom all that is drawn from now on."""
        self._unit = self._base_unit * scale
        cosine, sine = math.cos(roll) * self._unit, math.sin(roll) * self._unit
        self._rotation = np.array([[cosine, sine], [-sine, cosine]])
        self._origin = self._middle + np.asarray(centre) * self._base_unit

    def to_pixels(self, points) -> np.ndarray:
        """Face units [n, 2] to supersampled pixels [n, 2]."""
        return np.asarray(points, dtype=float) @ self._rotation + self._origin

    def polygon(self, points, fill: Colour, outline: Colour | None = None, width: float = 1.6) -> None:
        """Fill a closed shape; `outline` adds a stroke of `width` face units round it."""
        flat = self.to_pixels(points).ravel().tolist()
        self._draw.polygon(flat, fill=fill)
        if outline is not None:
            self._draw.line(flat + flat[:4], fill=outline, width=self._stroke(width), joint="curve")

    def line(self, points, colour: Colour, width: float) -> None:
        """Stroke an open path, `width` in face units."""
        flat = self.to_pixels(points).ravel().tolist()
        self._draw.line(flat, fill=colour, width=self._stroke(width), joint="curve")

    def ellipse(self, centre, radii, fill: Colour, outline: Colour | None = None, width: float = 1.6) -> None:
        self.polygon(UNIT_CIRCLE * radii + centre, fill, outline, width)

    def box(self, left, top, right, bottom, fill: Colour) -> None:
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], fill)

    def finished(self) -> Image.Image:
        """The picture at its final size."""
        return self.image.reduce(self.oversampling)

    def _stroke(self, width: float) -> int:
        return max(1, round(width * self._unit))
