"""The settings of `lacgan`. No torch here."""

from typing import Literal

from pydantic import Field

from methods.ganimation.settings import GANimationTrain


class LACGANTrain(GANimationTrain):
    """Edits by absolute action units, each within its own part of the face (2020)."""

    method: Literal["lacgan"] = Field(  # type: ignore[assignment]
        "lacgan", description="Local regions of action units, joined by attention."
    )
    outside_weight: float = Field(
        10, ge=0, description="Of what changes outside of the regions of the AUs that change (L1)."
    )
