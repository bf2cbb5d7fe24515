"""`relative_msf`: the generator with multi-scale fusion (MSF) at its skips, and its losses."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import l1_loss, mse_loss

from facs import ACTION_UNITS
from methods.editing.layers import SLOPE, convolution, doubling, halving, normed, with_aus
from methods.editing.losses import total_variation
from methods.editing.model import Edited, EditingModel, Faces
from methods.relative_msf.settings import RelativeMSFTrain

N = len(ACTION_UNITS)


class Fusion(nn.Module):
    """x [n, high, 2h, 2w] of the encoder, y [n, low, h, w] of the level below, change [n, 12] →
    [n, made, 2h, 2w]: both scales tell each other what they see, then are joined (paper, section 3.3)."""

    def __init__(self, high: int, low: int, made: int):
        super().__init__()
        leaky = nn.LeakyReLU(SLOPE)
        raised = min(low, made)
        self.asked = convolution(high + N, high, 5)
        self.high_stays = convolution(high, high // 2, 3)
        self.low_rises = doubling(low, high - high // 2, leaky)
        self.high_sinks = halving(high, low // 2)
        self.low_stays = convolution(low, low - low // 2, 3)
        self.raised = doubling(low, raised)
        self.fine = convolution(high + raised, made // 2, 3)
        self.coarse = convolution(high + raised, made - made // 2, 5)

    def forward(self, x: torch.Tensor, y: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The joined maps."""
        x = self.asked(with_aus(x, change))
        high = torch.cat([self.high_stays(x), self.low_rises(y)], dim=1)
        low = torch.cat([self.high_sinks(x), self.low_stays(y)], dim=1)
        both = torch.cat([high, self.raised(low)], dim=1)
        return torch.cat([self.fine(both), self.coarse(both)], dim=1)


class Generator(nn.Module):
    """Pictures [n, 3, s, s] in -1…1, s a multiple of 16, and the change of AUs [n, 12] in -1…1 → pictures."""

    def __init__(self, channels: int):
        super().__init__()
        c = channels
        first = nn.Conv2d(3, c, 7, padding=3, bias=False)
        self.begin = normed(first, nn.LeakyReLU(SLOPE))
        self.down = nn.ModuleList(
            [halving(c, 2 * c), halving(2 * c, 4 * c), halving(4 * c, 8 * c), halving(8 * c, 8 * c)]
        )
        self.asked = convolution(8 * c + N, 8 * c, 3)
        self.fuse = nn.ModuleList(
            [Fusion(8 * c, 8 * c, 8 * c), Fusion(4 * c, 8 * c, 4 * c), Fusion(2 * c, 4 * c, 2 * c)]
        )
        self.up = nn.ModuleList(
            [doubling(8 * c, 8 * c), doubling(16 * c, 4 * c), doubling(8 * c, 2 * c), doubling(4 * c, c)]
        )
        self.end = nn.Conv2d(c, 3, 7, padding=3, bias=False)

    def forward(self, pictures: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The edited pictures."""
        seen = [self.begin(pictures)]
        for down in self.down:
            seen.append(down(seen[-1]))
        below = self.asked(with_aus(seen[4], change))
        decoded = self.up[0](below)
        for fuse, up, skip in zip(self.fuse, list(self.up)[1:], (seen[3], seen[2], seen[1]), strict=True):
            below = fuse(skip, below, change)
            decoded = up(torch.cat([decoded, below], dim=1))
        return torch.tanh(self.end(decoded))


class RelativeMSF(EditingModel[RelativeMSFTrain]):
    """The change of action units is what the generator is told; no change must give the picture back."""

    def build(self) -> Generator:
        """The untrained generator."""
        return Generator(self.settings.channels)

    def conditions(self, faces: Faces) -> tuple[torch.Tensor, torch.Tensor]:
        """Both with their noise, within 0…1."""
        source, target = super().conditions(faces)
        jitter, settings = faces.jitter, self.settings
        return (
            (source + settings.source_jitter * jitter[:, 0]).clamp(0, 1),
            (target + settings.target_jitter * jitter[:, 1]).clamp(0, 1),
        )

    def generate(self, pictures: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> Edited:
        """The generator is told the difference alone."""
        return Edited(self.generator(pictures, target - source))

    def generator_losses(
        self, pictures: torch.Tensor, source: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """WGAN, AUs, identity at no change, cycle, total variation (paper, section 3.4)."""
        settings, change = self.settings, target - source
        made = self.generator(pictures, change)
        score, aus = self.critic(made)
        back, same = self.generator(made, -change), self.generator(pictures, torch.zeros_like(change))
        variation = settings.total_variation_weight * settings.batch_size  # the published sum is a batch's
        return {
            "adversarial": self.deceiving(score, pictures),
            "aus": settings.au_weight * mse_loss(aus, target),
            "identity": settings.identity_weight * l1_loss(same, pictures),
            "cycle": settings.cycle_weight * l1_loss(back, pictures),
            "total_variation": variation * total_variation(made),
        }
