"""`slidergan`: blendshapes as the condition, and a critic that compares real with edited pictures."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus

from facs import ACTION_UNITS
from methods.editing.model import Edited
from methods.ganimation.model import GANimation, Generator

_LEFT_RIGHT: dict[int, tuple[str, ...]] = {
    2: ("browOuterUp",),
    4: ("browDown",),
    5: ("eyeWide",),
    6: ("cheekSquint", "eyeSquint"),
    9: ("noseSneer",),
    12: ("mouthSmile",),
    15: ("mouthFrown",),
    20: ("mouthStretch",),
    25: ("mouthLowerDown", "mouthUpperUp"),
}
BLENDSHAPES: dict[str, int] = {
    "browInnerUp": 1,
    **{
        f"{name}{side}": au
        for au, names in _LEFT_RIGHT.items()
        for name in names
        for side in ("Left", "Right")
    },
    "mouthShrugLower": 17,
    "mouthShrugUpper": 17,
    "jawOpen": 26,
}
"""ARKit's blendshapes that the twelve AUs move, and which AU does. The paper fits a face model to each
picture and conditions on its coefficients; here these are the labels' AUs, whose 0 to 5 is 0 to 1."""


def blendshapes(aus: torch.Tensor) -> torch.Tensor:
    """AUs [n, 12] in 0…1 → the coefficients of BLENDSHAPES, [n, 24] in 0…1."""
    return aus[:, [ACTION_UNITS.index(au) for au in BLENDSHAPES.values()]]


class SliderGAN(GANimation):
    """GANimation's generator, told how far each blendshape moves, under a relativistic critic."""

    def build(self) -> Generator:
        """The untrained generator."""
        return Generator(self.settings.channels, self.settings.residual_blocks, told=len(BLENDSHAPES))

    def generate(self, pictures: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> Edited:
        """The generator is told the change, in -1…1."""
        colours, kept = self.generator(pictures, blendshapes(target) - blendshapes(source))
        return Edited(kept * pictures + (1 - kept) * colours, kept)

    def unmasking(self, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """That an edit looks no more real than its source (relativistic GAN, Jolicoeur-Martineau 2019)."""
        return softplus(made - real).mean()

    def deceiving(self, made: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """That it looks more so."""
        with torch.no_grad():
            real, _ = self.critic(pictures)
        return softplus(real - made).mean()
