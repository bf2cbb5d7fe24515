"""The settings of `slidergan`. No torch here."""

from typing import Literal

from pydantic import Field

from methods.ganimation.settings import GANimationTrain


class SliderGANTrain(GANimationTrain):
    """Edits by the change of blendshapes; a relativistic critic (IJCV 2020)."""

    method: Literal["slidergan"] = Field(  # type: ignore[assignment]
        "slidergan", description="The change of blendshapes, a relativistic critic."
    )
