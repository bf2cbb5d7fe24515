"""Where a face lies in a rendered picture: 68 landmarks and a face box, in pixels. No colours."""

from __future__ import annotations

import functools

import numpy as np

from miniature.rendered import figure as figures
from miniature.rendered.caster import DISTANCE
from miniature.rendered.markings import EYE_X, EYE_Z, MOUTH_HALF_WIDTH, MOUTH_Z
from miniature.rendered.people import Person, Shot
from miniature.rendered.picture import FRAME, posed
from miniature.rig import head


def face_landmarks(person: Person, shot: Shot, intensities, size: tuple[int, int]) -> np.ndarray:
    """The 68 landmarks of the iBUG scheme that data sets use, float [68, 2] in pixels (x, y).

    Jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, outer lips 48-59, inner lips 60-67; left and right as in
    the picture. They ride on the mesh, so they move with expressions. Arguments as for `picture.render`.
    """
    vertices, _ = posed(figures.build(person, intensities), shot)
    return _projected(vertices[_rows()], size)


def face_box(person: Person, shot: Shot, intensities, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(x, y, width, height) of the head without ears in whole pixels, clipped to the picture."""
    vertices, _ = posed(figures.build(person, intensities), shot)
    reference = head.load().neutral
    front = (np.abs(reference[:, 0]) < 0.074) & (reference[:, 2] > 0.036) & (reference[:, 1] < 0.0)
    points = _projected(vertices[: len(reference)][front], size)
    left, top = np.clip(np.floor(points.min(0)), 0, size).astype(int).tolist()
    right, bottom = np.clip(np.ceil(points.max(0)), 0, size).astype(int).tolist()
    return left, top, right - left, bottom - top


def _projected(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels [N, 2] of `points` [N, 3] (metres, posed)."""
    zoom = min(size) / FRAME * DISTANCE / (DISTANCE + points[:, 1])
    return np.stack([size[0] / 2 + points[:, 0] * zoom, size[1] / 2 - points[:, 2] * zoom], axis=1)


@functools.cache
def _rows() -> np.ndarray:
    """The rig's vertices [68] that the landmarks ride on: the front-most near each place."""
    rig = head.load()
    skin = np.unique(rig.triangles[rig.regions == head.SKIN])
    places = rig.neutral[skin]
    rows = []
    for x, z, y in _places():
        depth = np.full(len(places), -0.001) if y is None else 3 * np.abs(places[:, 1] - y)
        depth = depth + (places[:, 1] > -0.02) * 1.0
        distance = np.hypot(places[:, 0] - x, places[:, 2] - z) + 0.08 * (places[:, 1] + 0.15) + depth
        rows.append(int(skin[np.argmin(distance)]))
    return np.array(rows)


def _places() -> list[tuple[float, float, float | None]]:
    """Reference coordinates x, z of the 68 landmarks, and y where the front-most surface is not meant."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 17)
    jaw = [
        (0.072 * np.sin(a), 0.140 - 0.103 * np.cos(a) ** 0.8, -0.055 - 0.085 * np.cos(a) ** 0.7)
        for a in angle.tolist()
    ]
    brow_x = np.linspace(0.0520, 0.0125, 5)
    brow_z = 0.1585 + 0.0075 * np.sin(np.clip((brow_x - 0.0115) / 0.0415, 0, 1) ** 0.9 * 2.35)
    brow = [(x, z, None) for x, z in zip(brow_x.tolist(), brow_z.tolist(), strict=True)]
    brows = [(-x, z, y) for x, z, y in brow] + brow[::-1]
    bridge = [(0.0, z, None) for z in (0.146, 0.134, 0.122, 0.110)]
    wings = [(x, 0.101, None) for x in (-0.015, -0.0075, 0.0, 0.0075, 0.015)]
    half = 0.0125
    eye = [(-half, 0.0), (-0.004, 0.0055), (0.004, 0.0055), (half, 0.0), (0.004, -0.0055), (-0.004, -0.0055)]
    eyes = [(side * EYE_X + x, EYE_Z + z, None) for side in (-1, 1) for x, z in eye]
    wide = MOUTH_HALF_WIDTH
    outer = [(-wide, 0), (-0.014, 0.0065), (-0.005, 0.0095), (0, 0.0085), (0.005, 0.0095), (0.014, 0.0065)]
    outer += [
        (wide, 0),
        (0.014, -0.0075),
        (0.006, -0.0105),
        (0, -0.011),
        (-0.006, -0.0105),
        (-0.014, -0.0075),
    ]
    inner = [(-0.020, 0), (-0.007, 0.0012), (0, 0.0012), (0.007, 0.0012)]
    inner += [(0.020, 0), (0.007, -0.0004), (0, -0.0004), (-0.007, -0.0004)]
    lips = [(x, MOUTH_Z + z, None) for x, z in outer + inner]
    return jaw + brows + bridge + wings + eyes + lips
