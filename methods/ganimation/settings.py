"""The settings of `ganimation`. No torch here."""

from typing import Literal

from pydantic import Field

from methods.editing.settings import AdversarialSettings


class GANimationTrain(AdversarialSettings):
    """Edits by absolute action units under an attention mask (ECCV 2018)."""

    method: Literal["ganimation"] = Field("ganimation", description="Absolute AUs, an attention mask.")
    batch_size: int = Field(25, ge=1, description="Samples an optimiser step, all processes together.")
    decay_from: float = Field(
        2 / 3, ge=0, le=1, description="Share of the steps after which the learning rate falls linearly to 0."
    )
    au_weight: float = Field(
        160, ge=0, description="Of the AUs' error; the published 4000 divided by its batch of 25."
    )
    cycle_weight: float = Field(10, ge=0, description="Of what there and back changes (L1).")
    attention_weight: float = Field(
        0.1, ge=0, description="Of the mean of the mask, there and back; more of it keeps less of the source."
    )
    residual_blocks: int = Field(6, ge=1, description="Of the generator.")
