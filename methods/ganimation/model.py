"""`ganimation`: the generator with its attention mask, and its losses; a mask that collapses is an error."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import l1_loss, mse_loss

from facs import ACTION_UNITS
from methods.editing.layers import convolution, doubling, normed, with_aus
from methods.editing.losses import total_variation
from methods.editing.model import Edited, EditingModel
from methods.ganimation.settings import GANimationTrain
from methods.model import MethodError

ALL, NOTHING = 0.99, 0.01
PATIENCE = 100
"""Steps of the generator in a row with a mean of the mask beyond these that are a collapse."""


class Residual(nn.Module):
    """Two convolutions, added to what they are given."""

    def __init__(self, channels: int):
        super().__init__()
        second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.change = nn.Sequential(convolution(channels, channels, 3), normed(second, nn.Identity()))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps of the same shape."""
        return maps + self.change(maps)


class Generator(nn.Module):
    """Pictures [n, 3, s, s] in -1…1, s a multiple of 4, and conditions [n, told], such as AUs in 0…1 →
    colours [n, 3, s, s] in -1…1, and masks [n, masks, s, s] in 0…1; a lone one: what of the source stays."""

    def __init__(self, channels: int, residual_blocks: int, told: int = len(ACTION_UNITS), masks: int = 1):
        super().__init__()
        c = channels
        self.body = nn.Sequential(
            convolution(3 + told, c, 7),
            normed(nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False), nn.ReLU()),
            normed(nn.Conv2d(2 * c, 4 * c, 4, 2, 1, bias=False), nn.ReLU()),
            *(Residual(4 * c) for _ in range(residual_blocks)),
            doubling(4 * c, 2 * c),
            doubling(2 * c, c),
        )
        self.colour = nn.Conv2d(c, 3, 7, padding=3, bias=False)
        self.attention = nn.Conv2d(c, masks, 7, padding=3, bias=False)

    def forward(self, pictures: torch.Tensor, told: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Colours and masks."""
        maps = self.body(with_aus(pictures, told))
        return torch.tanh(self.colour(maps)), torch.sigmoid(self.attention(maps))


class GANimation(EditingModel[GANimationTrain]):
    """A · source + (1 - A) · colours. Raises MethodError in training where A has become 1 or 0 everywhere."""

    biased_critic = True

    def __init__(self, settings: GANimationTrain):
        super().__init__(settings)
        self._saturated = 0

    def build(self) -> Generator:
        """The untrained generator."""
        return Generator(self.settings.channels, self.settings.residual_blocks)

    def generate(self, pictures: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> Edited:
        """The generator is told the target alone."""
        colours, kept = self.generator(pictures, target)
        return Edited(kept * pictures + (1 - kept) * colours, kept)

    def generator_losses(
        self, pictures: torch.Tensor, source: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """WGAN, AUs, cycle, and of the masks there and back mean and total variation (paper, section 4.2)."""
        settings = self.settings
        made, kept = self.generate(pictures, source, target)
        score, aus = self.critic(made)
        back, kept_back = self.generate(made, target, source)
        assert kept is not None and kept_back is not None
        if torch.is_grad_enabled():
            self._watch(kept)
        variation = settings.total_variation_weight * settings.batch_size  # the published sum is a batch's
        return {
            "adversarial": self.deceiving(score, pictures),
            "aus": settings.au_weight * mse_loss(aus, target),
            "cycle": settings.cycle_weight * l1_loss(back, pictures),
            "attention": settings.attention_weight * (kept.mean() + kept_back.mean()),
            "total_variation": variation * (total_variation(kept) + total_variation(kept_back)),
            **self.further_losses(pictures, made, source, target),
        }

    def further_losses(
        self, pictures: torch.Tensor, made: torch.Tensor, source: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The weighted terms, by name, that a method adds to GANimation's."""
        return {}

    def _watch(self, kept: torch.Tensor) -> None:
        """Raises MethodError once the mask has kept all or nothing for PATIENCE steps of the generator."""
        mean = float(kept.detach().mean())
        if NOTHING <= mean <= ALL:
            self._saturated = 0
            return
        self._saturated += 1
        if self._saturated >= PATIENCE:
            what = "copies the source" if mean > ALL else "draws every pixel anew"
            way = "a larger" if mean > ALL else "a smaller"
            raise MethodError(
                f"the attention mask of {self.settings.method} has collapsed: its mean was {mean:.3f} for "
                f"{PATIENCE} steps of the generator, which {what}. Try {way} attention_weight "
                f"(now {self.settings.attention_weight:g}), or a lower learning_rate"
            )
