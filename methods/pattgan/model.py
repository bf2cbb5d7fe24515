"""`pattgan`: the patch-attentive critic, and the balance of its targets."""

from __future__ import annotations

import torch
from torch import nn

from facs import ACTION_UNITS
from methods.editing.critic import Critic
from methods.editing.regions import regions
from methods.ganimation.model import GANimation

PATCHES = 8
"""Side of the map on which the critic attends, whatever the pictures' size."""
LOOK = 5.0
"""The critic looks at the middle of an AU's region e to this times likelier than far from it, at first."""


class PatchCritic(Critic):
    """Like `Critic`, but intensities are read off features at 8 × 8: of each AU a softmax over the 64 places
    says where it looks, at first in the AU's region, and a linear head of its own what it sees there."""

    def __init__(self, size: int, channels: int, bias: bool):
        super().__init__(size, channels, bias)
        halvings = (size // PATCHES).bit_length() - 1
        self.near, self.far = self.trunk[: 2 * halvings], self.trunk[2 * halvings :]
        width = self.near[-2].out_channels
        del self.aus, self.trunk
        self.attention = nn.Conv2d(width, len(ACTION_UNITS), 1)
        self.places = nn.Parameter(LOOK * regions(PATCHES).flatten(1))
        self.head = nn.Parameter(torch.randn(len(ACTION_UNITS), width) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(len(ACTION_UNITS)))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores [n, 1, 2, 2] and intensities / 5 [n, 12]."""
        seen = self.near(pictures)
        looks = (self.attention(seen).flatten(2) + self.places).softmax(dim=2)
        patches = torch.einsum("nap,ncp->nac", looks, seen.flatten(2))
        return self.real(self.far(seen)), (patches * self.head).sum(dim=2) + self.bias


class PAttGAN(GANimation):
    """GANimation with that critic, and targets that show every level of every action unit equally often."""

    def build_critic(self) -> PatchCritic:
        """The untrained critic."""
        return PatchCritic(self.settings.size, self.settings.channels, bias=True)

    def target_weights(self, aus: torch.Tensor) -> torch.Tensor:
        """How often each of the samples `aus` [N, 12], 0-5, is a target: as if an AU were drawn, then one of
        the whole levels that it has, then a sample that shows it. [N], their sum is 1."""
        weights = torch.zeros(len(aus))
        for column in aus.round().T:
            levels, place, counts = column.unique(return_inverse=True, return_counts=True)
            weights += 1 / (len(levels) * counts[place])
        return weights / aus.shape[1]
