"""The settings of `relative_msf`. No torch here."""

from typing import Literal

from pydantic import Field

from methods.editing.settings import AdversarialSettings


class RelativeMSFTrain(AdversarialSettings):
    """Edits by the change of action units; multi-scale fusion (ECCV 2020; its authors mention a patent)."""

    method: Literal["relative_msf"] = Field("relative_msf", description="Relative AUs, multi-scale fusion.")
    generator_every: int = Field(4, ge=1, description="The generator takes every so many steps one.")
    generator_every_late: int = Field(3, ge=1, description="And that, once the learning rate falls.")
    identity_weight: float = Field(30, ge=0, description="Of what no change changes (L1).")
    source_jitter: float = Field(
        0.02, ge=0, description="Uniform noise on the source's AUs in training, ± this share of 5."
    )
    target_jitter: float = Field(0.1, ge=0, description="And on the target's.")

    def updates_generator(self, step: int) -> bool:
        """Whether the generator takes a step after the critic's `step` (from 0)."""
        late = step >= self.decay_from * self.steps
        return (step + 1) % (self.generator_every_late if late else self.generator_every) == 0
