"""`lacgan`: where in a face each action unit may change it, and the attention that joins these regions."""

from __future__ import annotations

import functools

import torch

from facs import ACTION_UNITS, MAXIMUM
from methods.editing.model import Edited
from methods.ganimation.model import GANimation, Generator
from methods.lacgan.settings import LACGANTrain

REGIONS: dict[int, tuple[float, float, float, float]] = {
    **dict.fromkeys((1, 2, 4), (0.50, 0.32, 0.30, 0.10)),
    5: (0.50, 0.40, 0.30, 0.08),
    6: (0.50, 0.50, 0.32, 0.12),
    9: (0.50, 0.50, 0.14, 0.14),
    **dict.fromkeys((12, 15, 20, 25), (0.50, 0.72, 0.25, 0.12)),
    17: (0.50, 0.82, 0.18, 0.12),
    26: (0.50, 0.80, 0.25, 0.18),
}
"""AU → centre (x, y) and half-widths (x, y) of where it moves the face, as shares of a framed picture's side.
Read off the muscles that FACS names and the framing of the training set; the paper takes landmarks."""


@functools.cache
def regions(size: int) -> torch.Tensor:
    """How far each AU reaches, [12, size, size] in 0…1: 1 at its centre, e^-½ at its half-width."""
    places = (torch.arange(size) + 0.5) / size
    found = []
    for au in ACTION_UNITS:
        x, y, across, down = REGIONS[au]
        distance = ((places[None] - x) / across).square() + ((places[:, None] - y) / down).square()
        found.append(torch.exp(-distance / 2))
    return torch.stack(found)


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
