"""What is painted on the skin, over reference coordinates: brows, lips, beard, and the wrinkles of each AU.

Maps are drawn once, seen from the front; colours and strengths are the shading's business.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from facs import ACTION_UNITS

STEP = 0.0004
"""Metres a texel."""
LEFT, BOTTOM, WIDTH, HEIGHT = -0.095, 0.0, 0.19, 0.265
EYE_X, EYE_Z, EYE_HALF_WIDTH = 0.0335, 0.1435, 0.0135
MOUTH_Z, MOUTH_HALF_WIDTH = 0.0728, 0.0245

CHANNELS: tuple[str, ...] = (
    *(f"au{unit}" for unit in ACTION_UNITS),
    "age",
    "brow_thin",
    "brow_thick",
    "lips",
    "lip_line",
    "moustache",
    "beard",
    "blush",
    "shadow",
    "pores",
    "strands",
    "freckles",
)
"""Channels of the atlas. The AUs' and "age" are relief: below 0 a fold, above 0 the ridge beside it."""
INDEX = {name: position for position, name in enumerate(CHANNELS)}


@functools.cache
def atlas() -> np.ndarray:
    """float32 [rows, columns, channels] within ±1; row 0 is BOTTOM, column 0 is LEFT. Made once a process."""
    columns = np.arange(LEFT + STEP / 2, LEFT + WIDTH, STEP, dtype=np.float32)
    rows = np.arange(BOTTOM + STEP / 2, BOTTOM + HEIGHT, STEP, dtype=np.float32)
    x, z = np.meshgrid(columns, rows)
    maps = {**_wrinkles(np.abs(x), z), **_features(x, z)}
    return np.ascontiguousarray(np.stack([maps[name] for name in CHANNELS], axis=-1), dtype=np.float32)


def at(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The atlas [N, channels] at reference coordinates `x`, `z` [N], metres; beyond it the nearest texel."""
    painted = atlas()
    columns = np.clip((x - LEFT) / STEP, 0, painted.shape[1] - 1).astype(np.int32)
    rows = np.clip((z - BOTTOM) / STEP, 0, painted.shape[0] - 1).astype(np.int32)
    return painted.reshape(-1, painted.shape[2])[rows * painted.shape[1] + columns]


def _line(distance: np.ndarray, width: float) -> np.ndarray:
    """A fold where `distance` is 0, `width` metres to its edge, with a fainter ridge on both sides."""
    return 0.35 * np.exp(-(((np.abs(distance) - 1.9 * width) / (0.8 * width)) ** 2)) - np.exp(
        -((distance / width) ** 2)
    )


def _blob(x, z, middle_x, middle_z, half_x, half_z) -> np.ndarray:
    return np.exp(-(((x - middle_x) / half_x) ** 2) - ((z - middle_z) / half_z) ** 2)


def _within(value, low, high, soft) -> np.ndarray:
    """1 between `low` and `high`, 0 outside, over about `soft`."""
    return expit((value - low) / soft * 4) * expit((high - value) / soft * 4)


def _segment(x, z, start, end, bend: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to a bent segment, and the position along it (0 start, 1 end)."""
    (x0, z0), (x1, z1) = start, end
    length = np.hypot(x1 - x0, z1 - z0)
    along = ((x - x0) * (x1 - x0) + (z - z0) * (z1 - z0)) / length**2
    across = ((x - x0) * (z1 - z0) - (z - z0) * (x1 - x0)) / length
    return across - bend * 4 * along * (1 - along), along


def _fold(x, z, start, end, width, bend=0.0) -> np.ndarray:
    across, along = _segment(x, z, start, end, bend)
    return _line(across, width) * _within(along, 0.05, 0.95, 0.25)


def _wrinkles(x: np.ndarray, z: np.ndarray) -> dict[str, np.ndarray]:
    """Relief of each AU over |x| and z (source: the FACS manual's descriptions of appearance changes)."""
    zero = np.zeros_like(z)
    forehead = [_line(z - base - 6.0 * x**2, 0.0017) for base in (0.175, 0.1835, 0.192)]
    outer = [_line(z - base + 7.0 * (x - 0.034) ** 2, 0.0017) for base in (0.178, 0.187)]
    inner = sum(forehead) * _within(x, -1, 0.026, 0.014)
    lateral = sum(outer) * _within(x, 0.016, 0.055, 0.012)
    furrow = _fold(x, z, (0.0062, 0.150), (0.0072, 0.176), 0.0019, bend=-0.001)
    bulge = 0.45 * _blob(x, z, 0.0, 0.163, 0.004, 0.009) + 0.35 * _blob(x, z, 0.016, 0.164, 0.006, 0.006)
    crow = sum(
        _fold(x, z, (0.0505, 0.1425 + 0.0022 * k), (0.064, 0.1415 + 0.0080 * k), 0.0014) for k in (-1, 0, 1)
    )
    pouch = _line(z - 0.1305 - 10.0 * (x - 0.0335) ** 2, 0.0019) * _within(x, 0.018, 0.050, 0.008)
    cheek = 0.30 * _blob(x, z, 0.045, 0.119, 0.014, 0.008)
    bridge = sum(_line(z - base - 9.0 * x**2, 0.0015) for base in (0.1365, 0.1430, 0.1495))
    bridge = bridge * _within(x, -1, 0.0105, 0.005)
    flank = _fold(x, z, (0.0105, 0.133), (0.0225, 0.110), 0.0020, bend=0.001)
    nasolabial = _fold(x, z, (0.0195, 0.106), (0.0390, 0.0735), 0.0021, bend=-0.0022)
    mouth_side = _fold(x, z, (0.0320, 0.081), (0.0335, 0.064), 0.0015, bend=-0.002)
    marionette = _fold(x, z, (0.0262, 0.0705), (0.0310, 0.0500), 0.0024, bend=-0.0015)
    corner_pad = 0.35 * _blob(x, z, 0.034, 0.066, 0.005, 0.006)
    mentolabial = _line(z - 0.0565 + 9.0 * x**2, 0.0020) * _within(x, -1, 0.016, 0.007)
    spots = np.sin(x / 0.0062 * np.pi + 0.6) * np.sin(z / 0.0058 * np.pi)
    chin = np.clip(spots, -1, 0.5) * 0.9 * _blob(x, z, 0.0, 0.0455, 0.015, 0.0085)
    stretched = sum(
        _fold(x, z, (0.0310 + step, 0.0850), (0.0325 + step, 0.0610), 0.0017, bend=-0.0035)
        for step in (0.0, 0.0075)
    )
    flat_chin = 0.30 * _blob(x, z, 0.0, 0.046, 0.018, 0.007)
    return {
        "au1": inner,
        "au2": lateral,
        "au4": 1.3 * furrow + bulge,
        "au5": zero,
        "au6": 0.9 * crow + 0.9 * pouch + cheek,
        "au9": bridge + 0.9 * flank,
        "au12": 0.9 * nasolabial + 0.45 * mouth_side + 0.5 * cheek,
        "au15": marionette + corner_pad,
        "au17": 0.9 * mentolabial + chin,
        "au20": 0.8 * stretched + flat_chin,
        "au25": zero,
        "au26": zero,
        "age": 0.5 * (inner + lateral)
        + 0.6 * nasolabial
        + 0.45 * crow
        + 0.5 * pouch
        + 0.35 * marionette
        + 0.25 * furrow,
    }


def _features(x: np.ndarray, z: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    ax = np.abs(x)

    # Brow: a bow that rises to two thirds of its length, thins outwards, with hairs along it.
    along = np.clip((ax - 0.0115) / 0.0415, 0, 1)
    middle = 0.1585 + 0.0075 * np.sin(along**0.9 * 2.35) - 0.0015 * along
    hairs = gaussian_filter(rng.standard_normal(x.shape).astype(np.float32), (2.2, 0.7))
    hairs /= hairs.std()
    edges = _within(ax, 0.0120, 0.0520, 0.0030)

    def brow(half: float) -> np.ndarray:
        height = half * (1.0 - 0.62 * along**1.5)
        profile = expit((height - np.abs(z - middle)) / 0.0007)
        return np.clip(profile * (1.0 + 0.16 * hairs), 0, 1) * edges

    # Lips: upper edge with a bow, lower edge rounder.
    share = np.clip(ax / MOUTH_HALF_WIDTH, 0, 1.2)
    top = MOUTH_Z + 0.0098 * np.clip(1 - share**1.7, 0, 1) - 0.0016 * np.exp(-((ax / 0.0042) ** 2))
    bottom = MOUTH_Z - 0.0112 * np.clip(1 - share**2.3, 0, 1) ** 0.9
    inside = _within(z, bottom, top, 0.0012) * (share < 1.02)
    line = np.exp(-(((z - MOUTH_Z) / 0.0011) ** 2)) * _within(ax, -1, MOUTH_HALF_WIDTH, 0.002)

    stubble = gaussian_filter(rng.standard_normal(x.shape).astype(np.float32), (1.4, 0.8))
    stubble = 1.0 + 0.13 * stubble / stubble.std()
    under_nose = _within(z, 0.0790, 0.0975, 0.004) * _within(ax, 0.0015, 0.0335 - 0.3 * (z - 0.079), 0.004)
    around = _fold(ax, z, (0.031, 0.088), (0.0270, 0.052), 0.006)
    cheek_edge = 0.064 + np.clip((ax - 0.030) / 0.042, 0, 1) ** 1.1 * 0.066
    jaw = _within(z, -1, np.where(ax > 0.028, cheek_edge, 0.0565 + 0.3 * ax), 0.008)
    jaw *= 1 - 0.55 * _blob(ax, z, 0.010, 0.0585, 0.006, 0.003)
    moustache = np.clip(under_nose + 0.8 * np.clip(-around, 0, 1), 0, 1)
    keep_lips = 1 - inside

    strands = gaussian_filter(rng.standard_normal(x.shape).astype(np.float32), (14, 1.1))
    pores = gaussian_filter(rng.standard_normal(x.shape).astype(np.float32), 1.2)
    blotches = gaussian_filter(rng.standard_normal(x.shape).astype(np.float32), 22)
    dots = gaussian_filter((rng.random(x.shape) < 0.0016).astype(np.float32), 1.6)
    nose_and_cheeks = _blob(ax, z, 0.034, 0.118, 0.026, 0.018) + _blob(ax, z, 0, 0.122, 0.014, 0.014)
    sockets = _blob(ax, z, 0.020, 0.148, 0.006, 0.009) + 0.8 * _blob(ax, z, 0.033, 0.1295, 0.014, 0.004)
    return {
        "brow_thin": brow(0.0023),
        "brow_thick": brow(0.0050),
        "lips": inside,
        "lip_line": line,
        "moustache": np.clip(moustache * stubble, 0, 1) * keep_lips,
        "beard": np.clip(jaw * stubble, 0, 1) * keep_lips,
        "blush": np.clip(
            _blob(ax, z, 0.046, 0.113, 0.017, 0.014) + 0.6 * _blob(ax, z, 0, 0.108, 0.013, 0.010), 0, 1
        ),
        "shadow": np.clip(sockets, 0, 1),
        "pores": np.clip(0.4 * pores / pores.std() + 0.5 * blotches / blotches.std(), -1, 1),
        "strands": np.clip(0.5 * strands / strands.std(), -1, 1),
        "freckles": np.clip(dots / dots.max() * 1.6, 0, 1) * np.clip(nose_and_cheeks, 0, 1),
    }
