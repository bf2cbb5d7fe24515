"""Which expressions occur: vectors of twelve intensities, as in DISFA or on the web. No pictures."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtr, ndtri

from facs import ACTION_UNITS

_INDEX = {unit: position for position, unit in enumerate(ACTION_UNITS)}

# Share of DISFA's 130,363 frames with intensity >= 1 and >= 2, in the order of ACTION_UNITS.
DISFA_AT_LEAST_1 = np.array([6.7, 5.3, 18.6, 2.1, 14.9, 5.5, 23.6, 6.0, 9.9, 3.5, 35.3, 19.2]) / 100
DISFA_AT_LEAST_2 = np.array([5.0, 4.0, 15.0, 0.9, 7.9, 4.2, 12.9, 2.1, 5.1, 2.3, 27.8, 8.8]) / 100
DISFA_ALL_ZERO = 0.373

# (units, typical intensities, weight): the looks that photographs on the web are full of.
_PROTOTYPES = (
    ("polite smile", {12: 2.5}, 0.10),
    ("smile", {6: 3.0, 12: 3.5, 25: 2.5}, 0.18),
    ("laugh", {6: 4.0, 12: 4.0, 25: 4.0, 26: 3.0}, 0.10),
    ("surprise", {1: 3.5, 2: 3.5, 5: 3.5, 25: 2.5, 26: 3.5}, 0.12),
    ("sadness", {1: 3.5, 4: 3.0, 15: 3.5, 17: 2.5}, 0.13),
    ("anger", {4: 4.0, 5: 2.5, 17: 2.5}, 0.10),
    ("disgust", {9: 4.0, 4: 2.5, 17: 2.0}, 0.08),
    ("fear", {1: 3.5, 2: 2.5, 4: 3.0, 5: 3.5, 20: 3.5, 25: 2.5}, 0.10),
    ("speech", {25: 3.0, 26: 2.5}, 0.05),
    ("doubt", {15: 2.5, 17: 3.5}, 0.04),
)

# How much more often these are drawn when units are drawn one by one.
_SUBTLE = {1: 1.25, 15: 2.5, 17: 2.5, 20: 3.0}

# Fitted once on 200,000 vectors: with this share of frames forced to neutral, and these correlations between
# the Gaussians behind the intensities, the vectors reproduce the marginals above, DISFA's 37.3 % of all-zero
# frames, its number of active units a frame and its strongest correlations between intensities (1-2 .73,
# 6-12 .59, 12-25 .58, 6-25 .47, 25-26 .44, 4-9 .42). Pairs that its table does not list are guesses.
_FORCED_NEUTRAL = 0.15
_LATENT_CORRELATIONS = {
    (1, 2): 0.89,
    (4, 9): 0.68,
    (6, 12): 0.73,
    (6, 25): 0.63,
    (12, 25): 0.69,
    (25, 26): 0.56,
    (1, 5): 0.30,
    (1, 26): 0.10,
    (2, 5): 0.35,
    (4, 6): 0.20,
    (4, 15): 0.15,
    (4, 17): 0.20,
    (4, 20): 0.20,
    (4, 25): 0.10,
    (6, 9): 0.20,
    (6, 26): 0.20,
    (9, 17): 0.20,
    (9, 25): 0.15,
    (12, 26): 0.25,
    (15, 17): 0.40,
    (20, 25): 0.20,
}


def disfa_intensities(rng: np.random.Generator, n: int) -> np.ndarray:
    """Sample float32 [n, 12] of whole intensities 0-5 with DISFA's statistics, each row independent."""
    expressive = rng.random(n) >= _FORCED_NEUTRAL
    quantiles = ndtr(rng.standard_normal((n, len(ACTION_UNITS))) @ _latent_mixing())
    intensities = _intensities_at(quantiles, 1 - _FORCED_NEUTRAL) * expressive[:, None]
    return rounded(intensities).astype(np.float32)


def disfa_track(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Sample one video: float32 [frames, 12] in [0, 5], smooth in time (20 frames a second).

    Units rise, hold and fall over about a second. The rounded intensities come close to DISFA's marginals
    within each video, so that every unit is seen even in a short one.
    """
    noise = rng.standard_normal((frames, len(ACTION_UNITS) + 1))
    smooth = gaussian_filter1d(noise, sigma=9.0, axis=0, mode="wrap")
    smooth /= smooth.std(axis=0)
    latent, calm = smooth[:, :-1] @ _latent_mixing(), smooth[:, -1]
    calm_from = ndtri(1 - _FORCED_NEUTRAL)
    latent = latent - 3.0 * np.clip((calm - calm_from) / 1.2 + 0.5, 0.0, 1.0)[:, None]
    quantiles = (latent.argsort(axis=0).argsort(axis=0) + 0.5) / frames
    abrupt = _intensities_at(quantiles, 1.0)
    return gaussian_filter1d(abrupt, sigma=1.2, axis=0, mode="nearest").astype(np.float32)


def rounded(intensities: np.ndarray) -> np.ndarray:
    """The whole intensity 0-5 a coder would write down."""
    return np.floor(np.asarray(intensities) + 0.5)


def _latent_mixing() -> np.ndarray:
    """[12, 12]; independent Gaussians times this are correlated as _LATENT_CORRELATIONS says."""
    correlations = np.eye(len(ACTION_UNITS))
    for (first, second), value in _LATENT_CORRELATIONS.items():
        i, j = _INDEX[first], _INDEX[second]
        correlations[i, j] = correlations[j, i] = value
    eigenvalues, eigenvectors = np.linalg.eigh(correlations)
    valid = (eigenvectors * np.maximum(eigenvalues, 1e-3)) @ eigenvectors.T
    scale = np.sqrt(np.diag(valid))
    return np.linalg.cholesky(valid / np.outer(scale, scale)).T


def _intensities_at(quantiles: np.ndarray, share: float) -> np.ndarray:
    """Continuous intensities at `quantiles` (0-1) of the frames not forced neutral, `share` of all frames."""
    at_least_1, at_least_2 = DISFA_AT_LEAST_1 / share, DISFA_AT_LEAST_2 / share
    fading_in = np.clip((quantiles - (1 - 1.25 * at_least_1)) / (0.25 * at_least_1), 0.0, 1.0)
    weak = np.clip((quantiles - (1 - at_least_1)) / (at_least_1 - at_least_2), 0.0, 1.0)
    strong = np.clip((quantiles - (1 - at_least_2)) / at_least_2, 0.0, 1.0)
    return np.minimum(0.499 * fading_in + 1.0 * weak + 3.7 * strong**1.4 + 0.001 * (weak > 0), 5.0)


def web_intensities(rng: np.random.Generator, n: int) -> np.ndarray:
    """Sample float32 [n, 12] in [0, 5] as in web photographs: every unit at every strength, alone and not.

    About 10 % are neutral, 45 % emotional looks of random strength with units dropped or added, 45 % one to
    five units at uniform strength, the subtle ones chosen more often: they take more examples to learn.
    """
    vectors = np.zeros((n, len(ACTION_UNITS)), dtype=np.float32)
    kinds = rng.choice(3, size=n, p=[0.10, 0.45, 0.45])
    odds = np.array([_SUBTLE.get(unit, 1.0) for unit in ACTION_UNITS])
    weights = np.array([weight for _, _, weight in _PROTOTYPES])
    looks = rng.choice(len(_PROTOTYPES), size=n, p=weights / weights.sum())
    for vector, kind, look in zip(vectors, kinds, looks, strict=True):
        if kind == 1:
            strength = rng.uniform(0.3, 1.4)
            for unit, typical in _PROTOTYPES[look][1].items():
                if rng.random() < 0.85:
                    vector[_INDEX[unit]] = typical * strength * rng.uniform(0.7, 1.3)
            if rng.random() < 0.3:
                vector[rng.integers(len(ACTION_UNITS))] += rng.uniform(0.0, 4.0)
        elif kind == 2:
            chosen = rng.choice(
                len(ACTION_UNITS), size=rng.integers(1, 6), replace=False, p=odds / odds.sum()
            )
            vector[chosen] = rng.uniform(0.0, 5.0, size=len(chosen))
    return np.clip(vectors, 0.0, 5.0)
