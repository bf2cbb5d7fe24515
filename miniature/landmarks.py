"""Where a face lies in a rendered picture: 68 landmarks and a face box, in pixels. No drawing."""

from __future__ import annotations

import numpy as np

from miniature.canvas import Canvas
from miniature.geometry import EYE_Y, Eye, Geometry, Mouth, muscles_from, place
from miniature.identities import Identity, Shot


def face_landmarks(identity: Identity, shot: Shot, intensities, size: tuple[int, int]) -> np.ndarray:
    """The 68 landmarks of the iBUG scheme that data sets use, float [68, 2] in pixels (x, y).

    Jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, outer lips 48-59, inner lips 60-67; arguments as for
    `render`.
    """
    face = place(identity, muscles_from(intensities))
    left, right = face.eyes
    points = np.vstack(
        [
            _jaw(face),
            _spaced(left.brow[::-1], 5),
            _spaced(right.brow, 5),
            _nose(face),
            _eye(left),
            _eye(right),
            _lips(face.mouth),
        ]
    )
    return _posed(points, shot, size)


def face_box(identity: Identity, shot: Shot, intensities, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(x, y, width, height) of the head in whole pixels, clipped to the picture."""
    head = _posed(place(identity, muscles_from(intensities)).head, shot, size)
    left, top = np.clip(np.floor(head.min(axis=0)), 0, size).astype(int).tolist()
    right, bottom = np.clip(np.ceil(head.max(axis=0)), 0, size).astype(int).tolist()
    return left, top, right - left, bottom - top


def _posed(points: np.ndarray, shot: Shot, size: tuple[int, int]) -> np.ndarray:
    canvas = Canvas(size, oversampling=1)
    canvas.set_pose((shot.offset_x, shot.offset_y), shot.roll, shot.scale)
    return canvas.to_pixels(points)


def _spaced(path: np.ndarray, count: int) -> np.ndarray:
    """`count` points at equal distances along a path [n, 2]."""
    lengths = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    stops = np.linspace(0.0, lengths[-1], count)
    return np.stack([np.interp(stops, lengths, path[:, axis]) for axis in (0, 1)], axis=1)


def _jaw(face: Geometry) -> np.ndarray:
    below_eyes = face.head[
        face.head[:, 1] > EYE_Y
    ]  # clockwise from the crown: from the picture's right to its left
    return _spaced(below_eyes[::-1], 17)


def _nose(face: Geometry) -> np.ndarray:
    bridge = [(0.0, y) for y in np.linspace(EYE_Y, face.nose_y, 4)]
    base = [(share * face.nose_half_width, face.nose_y + 2.2) for share in (-0.8, -0.4, 0.0, 0.4, 0.8)]
    return np.array(bridge + base)


def _eye(eye: Eye) -> np.ndarray:
    return np.vstack([eye.upper_lid[[0, 4, 8, 12]], eye.lower_lid[[8, 4]]])


def _lips(mouth: Mouth) -> np.ndarray:
    outer = [_spaced(mouth.upper_outer, 7), _spaced(mouth.lower_outer, 7)[-2:0:-1]]
    inner = [_spaced(mouth.upper_inner, 5), _spaced(mouth.lower_inner, 5)[-2:0:-1]]
    return np.vstack(outer + inner)
