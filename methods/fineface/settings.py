"""The settings of `fineface`. No torch here."""

from typing import Any, Literal

from pydantic import Field, field_validator

from inference import au_encoders
from settings.experiment import DenoisingSettings, SampleSettings
from settings.nearest import hint


class FineFaceTrain(DenoisingSettings):
    """An AU adapter: AU encoder, decoupled cross-attention and LoRA on all attentions (paper, section 3)."""

    method: Literal["fineface"] = Field("fineface", description="An AU adapter trained on the training set.")
    encoder: str = Field(
        "res_mlp64", description="AU encoder: those of the paper's Table 2 and of inference.au_encoders."
    )
    rank: int = Field(32, ge=1, description="LoRA rank.")
    alpha: float = Field(8, gt=0, description="LoRA alpha; its scale is alpha / rank.")

    @field_validator("encoder")
    @classmethod
    def _registered(cls, name: str) -> str:
        if name not in au_encoders.ENCODERS:
            known = au_encoders.ENCODERS
            raise ValueError(f"no AU encoder {name!r}{hint(name, known)} (there are {', '.join(known)})")
        return name

    @property
    def code_version(self) -> str:
        """The version of this method's code and of its encoder's."""
        return f"2, encoder {au_encoders.get(self.encoder).version}"


class FineFaceSample(SampleSettings):
    """How pictures are drawn with an AU adapter."""

    au_scale: float = Field(1.0, description="λ_AU, the weight of the AU attention; 1: as trained.")

    @property
    def arguments(self) -> dict[str, Any]:
        """What the pipeline is called with besides."""
        return {"au_scale": self.au_scale}
