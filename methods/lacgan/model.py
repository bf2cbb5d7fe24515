"""`lacgan`: the attention that joins the regions of the action units that change."""

from __future__ import annotations

import torch

from facs import ACTION_UNITS, MAXIMUM
from methods.editing.model import Edited
from methods.editing.regions import regions
from methods.ganimation.model import GANimation, Generator
from methods.lacgan.settings import LACGANTrain


class LACGAN(GANimation):
    """A mask an AU, within its region and as far as it changes: no change gives the picture back exactly."""

    settings: LACGANTrain

    def build(self) -> Generator:
        """The untrained generator, with a mask an AU."""
        return Generator(self.settings.channels, self.settings.residual_blocks, masks=len(ACTION_UNITS))

    def generate(self, pictures: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> Edited:
        """An AU that changes by one level or more has its whole mask; kept is what none of them takes."""
        colours, masks = self.generator(pictures, target)
        kept = (1 - masks * self._reach(pictures, source, target)).prod(dim=1, keepdim=True)
        return Edited(kept * pictures + (1 - kept) * colours, kept)

    def further_losses(
        self, pictures: torch.Tensor, made: torch.Tensor, source: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """L1 of what changed, weighted by how far outside of all regions it lies."""
        outside = 1 - self._reach(pictures, source, target).amax(dim=1, keepdim=True)
        return {"outside": self.settings.outside_weight * ((made - pictures).abs() * outside).mean()}

    @staticmethod
    def _reach(pictures: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """[n, 12, h, w] in 0…1: the region of each AU, as far as it changes."""
        changes = ((target - source).abs() * MAXIMUM).clamp(max=1)
        return regions(pictures.shape[-1]).to(pictures.device) * changes[:, :, None, None]
