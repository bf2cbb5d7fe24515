"""Where everything in a face lies, given the person and the twelve intensities. No colours, no drawing.

All points are face units (see canvas.py) before the pose of the shot is applied. `side` is -1 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from miniature.canvas import arc_through, closed_spline, mirrored
from miniature.identities import Identity

EYE_Y, BROW_Y, NOSE_Y, MOUTH_Y, CHIN_Y = -3.0, -16.5, 13.0, 25.0, 39.0
_ACROSS = np.linspace(-1.0, 1.0, 15)
_LID_ANGLES = np.linspace(0.0, np.pi, 13)
_LID_X, _LID_Y = -np.cos(_LID_ANGLES), np.sin(_LID_ANGLES) ** 1.25


class Muscles(NamedTuple):
    """The twelve intensities by name, as shares of the maximum: 0 relaxed, 1 = intensity 5."""

    inner_brow: float
    outer_brow: float
    brow_lower: float
    lid: float
    cheek: float
    nose: float
    smile: float
    frown: float
    chin: float
    stretch: float
    part: float
    jaw: float


def muscles_from(intensities) -> Muscles:
    """Twelve intensities in the order 1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26; clipped to [0, 6]."""
    values = np.asarray(intensities, dtype=float)
    if values.shape != (12,):
        raise ValueError(f"expected 12 intensities, got shape {values.shape}")
    return Muscles(*(np.clip(values, 0.0, 6.0) / 5.0).tolist())


@dataclass(frozen=True)
class Eye:
    """One eye and its brow."""

    centre_x: float
    half_width: float
    opening_up: float
    opening_down: float
    upper_lid: np.ndarray
    """[13, 2] from the left corner to the right one."""
    lower_lid: np.ndarray
    brow: np.ndarray
    """[9, 2] from the inner end to the outer one."""


@dataclass(frozen=True)
class Mouth:
    """Lip contours, each [15, 2] from the left corner to the right one."""

    half_width: float
    corner_y: float
    gap: float
    """Height of the opening in its middle."""
    upper_outer: np.ndarray
    upper_inner: np.ndarray
    lower_inner: np.ndarray
    lower_outer: np.ndarray


@dataclass(frozen=True)
class Geometry:
    """All of a face that moves."""

    head: np.ndarray
    """Closed smooth contour [n, 2], clockwise from the crown."""
    chin_y: float
    nose_y: float
    nose_half_width: float
    eyes: tuple[Eye, Eye]
    """Left and right as seen in the picture."""
    mouth: Mouth


def place(identity: Identity, muscles: Muscles) -> Geometry:
    """Lay out the face of `identity` under `muscles`."""
    chin_y = CHIN_Y + identity.chin_drop + 9.0 * muscles.jaw - 0.8 * muscles.chin
    return Geometry(
        head=_head(identity, muscles, chin_y),
        chin_y=chin_y,
        nose_y=NOSE_Y + identity.nose_drop - 3.2 * muscles.nose,
        nose_half_width=identity.nose_half_width + 2.2 * muscles.nose + 0.7 * muscles.smile,
        eyes=(_eye(identity, muscles, -1), _eye(identity, muscles, 1)),
        mouth=_mouth(identity, muscles),
    )


def _head(identity: Identity, muscles: Muscles, chin_y: float) -> np.ndarray:
    width = identity.head_half_width
    jaw_width = width * identity.jaw
    bulge = 1.6 * max(muscles.smile, 0.8 * muscles.cheek)
    right_half = np.array(
        [
            (0.0, -46.0),
            (width * 0.58, -42.0),
            (width * 0.92, -27.0),
            (width, -8.0),
            (width * 0.98 + 0.4 * bulge, 8.0),
            (jaw_width + bulge, 22.0),
            (jaw_width * 0.62 + 0.8, chin_y - 7.0),
            (jaw_width * 0.27, chin_y - 0.8),
            (0.0, chin_y),
        ]
    )
    return closed_spline(mirrored(right_half))


def _eye(identity: Identity, muscles: Muscles, side: int) -> Eye:
    centre_x = side * identity.eye_spacing
    scale = identity.eye_scale
    half_width = 11.4 * scale
    squint = muscles.cheek * (1 - 0.4 * muscles.lid)
    up = 5.4 * scale + 5.6 * muscles.lid - 2.0 * squint - 1.3 * muscles.nose - 0.6 * muscles.brow_lower
    down = 4.6 * scale + 0.8 * muscles.lid - 3.6 * muscles.cheek - 1.0 * muscles.nose - 0.4 * muscles.smile
    up, down = max(up, 1.0), max(down, 0.5)
    lid_x = centre_x + half_width * _LID_X
    tilt = -0.5 * side * _LID_X
    upper_lid = np.stack([lid_x, EYE_Y + tilt - up * _LID_Y], axis=1)
    lower_lid = np.stack([lid_x, EYE_Y + tilt + down * _LID_Y], axis=1)
    return Eye(centre_x, half_width, up, down, upper_lid, lower_lid, _brow(identity, muscles, side))


def _brow(identity: Identity, muscles: Muscles, side: int) -> np.ndarray:
    inner_lift = 9.5 * muscles.inner_brow * (1 - 0.15 * muscles.brow_lower)
    lowering = muscles.brow_lower * (1 - 0.5 * muscles.inner_brow)
    outer_lift = 9.0 * muscles.outer_brow
    rest = BROW_Y - identity.brow_height
    inner = (
        side * (8.2 - 3.6 * muscles.brow_lower),
        rest + 1.2 - inner_lift + 7.0 * lowering + 2.0 * muscles.nose,
    )
    middle = (
        side * (identity.eye_spacing + 0.8 - 1.4 * muscles.brow_lower),
        rest - 2.6 - 0.40 * inner_lift - 0.75 * outer_lift + 4.2 * muscles.brow_lower + 0.8 * muscles.nose,
    )
    outer = (
        side * (identity.eye_spacing + 13.0),
        rest
        + 2.2
        - outer_lift
        + 1.6 * muscles.brow_lower
        + 0.8 * muscles.inner_brow * (1 - muscles.outer_brow),
    )
    return arc_through(inner, middle, outer)


def _mouth(identity: Identity, muscles: Muscles) -> Mouth:
    wide = max(muscles.smile, muscles.stretch)
    half_width = (
        identity.mouth_half_width
        + 5.5 * muscles.smile
        + 9.5 * muscles.stretch * (1 - 0.4 * muscles.smile)
        - 4.0 * muscles.chin
        - 3.0 * muscles.jaw * (1 - wide)
    )
    centre_y = (
        MOUTH_Y + 0.5 * identity.chin_drop - 3.5 * muscles.chin - 4.0 * muscles.frown + 2.4 * muscles.smile
    )
    gap_up = 2.8 * muscles.part + 0.8 * muscles.jaw + 1.2 * muscles.nose * muscles.part
    gap_down = 5.0 * muscles.part + muscles.jaw * (10.0 + 0.5 * muscles.part)
    gap = gap_up + gap_down
    roundness = 1.0 - 0.45 * min(1.0, gap / 9.0)

    bow = 1 - _ACROSS**2
    corner_lift = -11.0 * muscles.smile * _ACROSS**2 + 11.0 * muscles.frown * np.abs(_ACROSS) ** 2.5
    corner_lift += 1.8 * muscles.chin * _ACROSS**2 + 3.0 * muscles.jaw * _ACROSS**2
    middle_line = centre_y + corner_lift
    opening = bow**roundness
    upper_inner = middle_line - gap_up * opening
    lower_inner = middle_line + gap_down * opening

    thinness = 1 - 0.5 * muscles.stretch - 0.2 * muscles.smile
    upper_lip = 4.0 * identity.lip_scale * thinness + 1.2 * muscles.nose - 1.2 * muscles.chin
    lower_lip = 5.2 * identity.lip_scale * thinness + 3.6 * muscles.chin
    cupid = 1 - 0.22 * np.exp(-((_ACROSS / 0.2) ** 2))
    upper_outer = upper_inner - max(upper_lip, 1.0) * bow**0.7 * cupid
    lower_outer = lower_inner + lower_lip * bow**0.7
    across = half_width * _ACROSS
    return Mouth(
        half_width=half_width,
        corner_y=float(middle_line[0]),
        gap=gap,
        upper_outer=np.stack([across, upper_outer], axis=1),
        upper_inner=np.stack([across, upper_inner], axis=1),
        lower_inner=np.stack([across, lower_inner], axis=1),
        lower_outer=np.stack([across, lower_outer], axis=1),
    )
