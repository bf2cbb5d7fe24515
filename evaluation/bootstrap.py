"""Confidence intervals by resampling prompts. Knows sums and counts a prompt, not what they are of.

The samples of one prompt share its wording and noise, so they are not independent: whole prompts are drawn,
with replacement (cluster bootstrap, percentile intervals). With 15 prompts such intervals are somewhat
narrow.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

DRAWS = 2000
SEED = 0
LEVEL = 0.95


@dataclass(frozen=True)
class Sums:
    """A mean, split by prompt: `total[p]` sums the `count[p]` entries of prompt `prompts[p]`."""

    prompts: tuple[int, ...]
    total: np.ndarray
    count: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, counted: np.ndarray, prompt: np.ndarray) -> Sums:
        """Sum `values` where `counted` (both [N] or [N, K]) by the prompt of each row (`prompt`, [N])."""
        prompts, position = np.unique(prompt, return_inverse=True)
        rows = np.where(counted, values, 0.0).reshape(len(prompt), -1).sum(axis=1)
        counts = np.asarray(counted).reshape(len(prompt), -1).sum(axis=1)
        total = np.bincount(position, weights=rows, minlength=len(prompts))
        return cls(
            tuple(int(p) for p in prompts), total, np.bincount(position, counts, minlength=len(prompts))
        )

    @property
    def n(self) -> int:
        """The number of entries."""
        return int(self.count.sum())


class Estimate(NamedTuple):
    """A value with its 95 % interval, each NaN where it is undefined, and the number of entries behind it."""

    value: float
    low: float
    high: float
    n: int


def estimate(
    statistic: Callable[..., np.ndarray], *sums: Sums, draws: int = DRAWS, seed: int = SEED
) -> Estimate:
    """`statistic` of the means of `sums`, with its interval over resampled prompts.

    `statistic` gets one array a sum, of shape [] or [draws], and is applied elementwise: `lambda a, b: a -
    b` is a paired difference, as every sum sees the same drawn prompts. `n` is the first sum's. Raises
    ValueError if the sums are over different prompts.
    """
    first = sums[0]
    if any(other.prompts != first.prompts for other in sums):
        raise ValueError("cannot compare: the samples are of different prompts")
    drawn = weights(len(first.prompts), draws, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = statistic(*(np.float64(s.total.sum()) / np.float64(s.count.sum()) for s in sums))
        spread = statistic(*((drawn @ s.total) / (drawn @ s.count) for s in sums))
    return Estimate(float(value), *interval(spread), first.n)


def mean(sums: Sums, draws: int = DRAWS, seed: int = SEED) -> Estimate:
    """The mean itself, with its interval."""
    return estimate(lambda value: value, sums, draws=draws, seed=seed)


@functools.lru_cache(maxsize=8)
def weights(prompts: int, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """How often each prompt is drawn: [draws, prompts], rows sum to `prompts`. Read-only."""
    share = np.full(prompts, 1.0 / max(1, prompts))
    drawn = np.random.default_rng(seed).multinomial(prompts, share, size=draws).astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def interval(spread: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The central `level` of the drawn values; (NaN, NaN) if none is finite."""
    finite = spread[np.isfinite(spread)]
    if not finite.size:
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
