"""One call from person, shot and intensities to pixels. Geometry, light and paint come from elsewhere."""

from __future__ import annotations

import numpy as np

from miniature.rendered import backgrounds, shading
from miniature.rendered import figure as figures
from miniature.rendered.caster import Caster
from miniature.rendered.figure import Figure
from miniature.rendered.people import Person, Shot
from miniature.rig import head

FRAME = 0.212
"""Length of the shorter side of a picture at the face, metres: from the hairline to below the chin."""
_PIVOT = np.array([0.0, 0.055, 0.0], np.float32)
"""Heads turn about the neck, this far behind the face's middle."""


def render(
    person: Person,
    shot: Shot,
    intensities,
    size: tuple[int, int] = (64, 64),
    *,
    asymmetry=None,
    blink: float = 0.0,
    oversampling: int | None = None,
) -> np.ndarray:
    """Render one picture.

    `intensities`: 12 values, 0-5, in the order of facs.ACTION_UNITS, clipped to [0, 6]. `size`: (width,
    height) in pixels, any aspect; the face fills the central square. `asymmetry` and `blink`: see
    `figure.build`. `oversampling`: rays a pixel along each axis; None: 2.
    Returns uint8 [height, width, 3]. Raises ValueError for a wrong number of intensities.
    """
    finer = oversampling or 2
    width, height = size[0] * finer, size[1] * finer
    built = figures.build(person, intensities, asymmetry, blink)
    vertices, normals = posed(built, shot)
    caster = Caster(vertices, built.triangles)
    lights = shading.Lights(shot)
    shadow = _shadow(caster, vertices, normals, lights.key)
    hits = caster.look(FRAME, width, height)
    light = backgrounds.paint(person, width, height).reshape(-1, 3)
    fine = float(np.clip((min(size) - 64) / 448, 0, 1))
    light[hits.rays] = shading.colours(
        person, shot, intensities, built, normals, shadow, hits.triangles, hits.weights, fine
    )
    light = light.reshape(size[1], finer, size[0], finer, 3).mean((1, 3)) * np.float32(shot.exposure)
    return shading.to_bytes(light)


def posed(built: Figure, shot: Shot) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and normals [V, 3] of a figure, turned, moved and scaled as `shot` says; clothes stay."""
    turn = _rotation(shot.yaw, shot.pitch, shot.roll)
    scale = np.float32(shot.scale)
    shift = np.array([shot.offset_x, 0, -shot.offset_y], np.float32) * np.float32(FRAME)
    turned = (built.vertices - _PIVOT) @ turn.T + _PIVOT
    cloth = np.unique(built.triangles[built.materials == figures.CLOTH])
    turned[cloth] = built.vertices[cloth]
    normals = built.normals @ turn.T
    return (turned * scale + shift).astype(np.float32), normals.astype(np.float32)


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
    )
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    return (about_y @ about_x @ about_z).astype(np.float32)


def _shadow(caster: Caster, vertices: np.ndarray, normals: np.ndarray, key: np.ndarray) -> np.ndarray:
    """float32 [V] 0-1: how much of the key light is kept away, soft over a vertex's neighbourhood."""
    on_head = len(head.load().mean)
    spread = np.random.default_rng(9).normal(0, 0.10, (len(vertices), 3)).astype(np.float32)
    facing = normals @ key
    asked = np.flatnonzero(
        (facing > -0.1) & (normals[:, 1] < 0.3)
    )  # the rest is dark by its normal, or unseen
    blocked = np.zeros(len(vertices), np.float32)
    blocked[asked] = caster.blocked(
        vertices[asked] + np.float32(0.0025) * normals[asked], key + spread[asked]
    ) * np.clip(facing[asked] * 6 + 0.6, 0, 1)
    for _ in range(2):
        blocked[:on_head] = figures.smooth(blocked[:on_head])
    return blocked
