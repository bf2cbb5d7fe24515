"""The critic: whether a picture looks real, and which action units it shows (GANimation, ECCV 2018)."""

from __future__ import annotations

import torch
from torch import nn

from facs import ACTION_UNITS
from methods.editing.layers import SLOPE

WIDEST = 32
"""Times `channels`: the published 2048 at 128 px. The papers have no larger pictures; these get no more."""


class Critic(nn.Module):
    """Pictures [n, 3, size, size] in -1…1 → a map of scores [n, 1, 2, 2], and intensities / 5 [n, 12].

    A convolution of 5 and of 4s, each with stride 2, down to 2 × 2; no normalisation, with which the gradient
    penalty, one a picture, would not go together.
    """

    def __init__(self, size: int, channels: int, bias: bool):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 5, 2, 2, bias=bias), nn.LeakyReLU(SLOPE)]
        width, side = channels, size // 2
        while side > 2:
            wider = min(2 * width, WIDEST * channels)
            layers += [nn.Conv2d(width, wider, 4, 2, 1, bias=bias), nn.LeakyReLU(SLOPE)]
            width, side = wider, side // 2
        self.trunk = nn.Sequential(*layers)
        self.real = nn.Conv2d(width, 1, 3, padding=1, bias=bias)
        self.aus = nn.Conv2d(width, len(ACTION_UNITS), side, bias=bias)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and intensities."""
        seen = self.trunk(pictures)
        return self.real(seen), self.aus(seen).flatten(1)
