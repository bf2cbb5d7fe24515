"""Distribution smoothing of AU labels (paper, supplement): integers become a density."""

import torch

from facs import MAXIMUM


def smooth(
    aus: torch.Tensor, variance: float, round_probability: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Intensities [N, 12] → smoothed intensities of the same shape, within 0–5.

    y' = clip(y + N(0, variance), 0, 5), then each value by itself is rounded to a whole number with
    `round_probability`. All-zero vectors are smoothed like any other. Variance 0 only clips and rounds.
    """
    noise = torch.randn(aus.shape, generator=generator) * variance**0.5
    rounded = torch.rand(aus.shape, generator=generator) < round_probability
    smoothed = (aus + noise).clamp(0, MAXIMUM)
    return torch.where(rounded, smoothed.round(), smoothed)
