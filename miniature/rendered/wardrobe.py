"""What is not the head: long hair that falls, teeth, a collar and shoulders. Each is a grid of points."""

from __future__ import annotations

import functools

import numpy as np

from miniature.rendered.people import Person
from miniature.rig import head

Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Vertices float32 [V, 3], normals [V, 3], triangles int32 [F, 3], and a field [V] for the shading."""


def _grid(points: np.ndarray, field: np.ndarray) -> Part:
    """A sheet of points [rows, columns, 3]; its normals point to the side that `cross(row, column)` gives."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = np.concatenate(
        [np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]
    )
    down, across = np.gradient(points, axis=0), np.gradient(points, axis=1)
    normals = np.cross(down, across)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    return (
        points.reshape(-1, 3).astype(np.float32),
        normals.reshape(-1, 3).astype(np.float32),
        triangles.astype(np.int32),
        field.reshape(-1).astype(np.float32),
    )


def curtain(person: Person, still: np.ndarray) -> Part:
    """Long hair: a sheet from the temples round the back, falling below the frame.

    `still` [V, 3]: the head without expression, which says how wide it is.
    """
    wide = float(np.abs(still[:, 0])[still[:, 2] > 0.17].max())
    low, high = -0.05, 0.245
    t = np.linspace(0, 1, 15)[:, None]
    angle = np.linspace(-1, 1, 29)[None, :] * (2.22 + 0.10 * person.volume / 0.02)
    z = high + (low - high) * t
    dome = np.sqrt(np.clip(1 - np.clip((z - 0.175) / 0.085, 0, 1) ** 2, 0.02, 1))
    wave = 1 + person.curl * 0.035 * np.sin(34 * z * 6.28 / 2 + 3 * angle + person.pattern % 13)
    flare = 1 + 0.16 * np.clip(0.17 - z, 0, 0.2) / 0.2
    radius_x = (wide + 0.004 + 0.7 * person.volume) * dome * flare * wave
    radius_y = (wide + 0.020 + 0.5 * person.volume) * dome * flare * wave
    x = radius_x * np.sin(angle)
    y = -0.030 + radius_y * np.cos(angle) + 0.02 * np.clip(0.12 - z, 0, 1) * -4 * (np.abs(angle) > 1.6)
    points = np.stack([x, y, np.broadcast_to(z, x.shape)], axis=-1)
    return _grid(points, np.broadcast_to(angle * 0.08, x.shape))


@functools.cache
def _gums() -> tuple[np.ndarray, np.ndarray]:
    """Rows of the rig's vertices below the nose and on the chin, which the teeth go with."""
    reference = head.load().neutral
    above, below = (
        np.linalg.norm(reference - place, axis=1).argsort()[:20]
        for place in ([0, -0.152, 0.091], [0, -0.146, 0.050])
    )
    return above, below


def teeth(still: np.ndarray, jaw: np.ndarray) -> tuple[Part, Part]:
    """Upper and lower teeth; the lower ones go with the jaw.

    `still` [V, 3]: the head without expression; `jaw` [V, 3]: with the jaw's motion alone.
    """
    reference = head.load().neutral
    above, below = _gums()
    upper_shift = (still[above] - reference[above]).mean(0)
    lower_shift = (jaw[below] - reference[below]).mean(0)
    return (
        _arch(0.0795, 0.0680, 0.0215, -0.1385, upper_shift),
        _arch(0.0680, 0.0600, 0.0200, -0.1350, lower_shift),
    )


def _arch(top: float, bottom: float, half: float, front: float, shift: np.ndarray) -> Part:
    angle = np.linspace(-1.1, 1.1, 19)[None, :]
    z = np.linspace(top, bottom, 4)[:, None]
    x = half * np.sin(angle) * np.ones_like(z)
    y = front + 0.030 * (1 - np.cos(angle)) * np.ones_like(z)
    points = np.stack([x, y, z * np.ones_like(angle)], axis=-1) + shift
    return _grid(points, np.abs(angle) * np.ones_like(z))


def clothes(person: Person) -> Part:
    """Shoulders and collar; the shoulders are drawn up so that a tight frame shows what is worn."""
    stand = {"sweater": 0.020, "shirt": 0.008, "jacket": 0.004}[person.clothing]
    profile = np.array(
        [  # height, half width, half depth, depth of the middle
            (0.034 + stand, 0.064, 0.062, -0.030),
            (0.026, 0.070, 0.068, -0.030),
            (0.018, 0.094, 0.074, -0.026),
            (0.004, 0.140, 0.084, -0.020),
            (-0.030, 0.185, 0.095, -0.015),
            (-0.120, 0.210, 0.110, -0.010),
        ]
    )
    t = np.linspace(0, len(profile) - 1, 16)
    z, half_x, half_y, middle = (np.interp(t, range(len(profile)), column) for column in profile.T)
    angle = np.linspace(-2.0, 2.0, 31)[None, :]
    front = np.clip(np.cos(angle), 0, 1)
    opening = {"sweater": 0.010, "shirt": 0.052, "jacket": 0.075}[person.clothing]
    fall = np.exp(-t / 6.0)[:, None] * opening * front**3
    x = half_x[:, None] * np.sin(angle)
    y = middle[:, None] - half_y[:, None] * np.cos(angle)
    points = np.stack([x, y, z[:, None] - fall], axis=-1)
    return _grid(points[:, ::-1], np.broadcast_to(t[:, None] / t[-1], x.shape))
