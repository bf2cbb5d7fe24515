"""The settings of `pattgan`. No torch here."""

from typing import Literal

from pydantic import Field

from methods.ganimation.settings import GANimationTrain


class PAttGANTrain(GANimationTrain):
    """Edits by absolute action units; the critic attends to a patch an action unit (CGF 2021)."""

    method: Literal["pattgan"] = Field(  # type: ignore[assignment]
        "pattgan", description="A critic with a patch an AU, targets balanced over AUs and levels."
    )

    @property
    def code_version(self) -> str:
        """Of this method's code."""
        return "2"
