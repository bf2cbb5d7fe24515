"""The settings of `fineface`. No torch here."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from inference import au_encoders
from methods.lora_settings import LoRASettings
from settings.experiment import SampleSettings
from settings.nearest import hint


class FineFaceTrain(LoRASettings):
    """An AU adapter: AU encoder, decoupled cross-attention and LoRA on all attentions (paper, section 3)."""

    method: Literal["fineface"] = Field("fineface", description="An AU adapter trained on the training set.")
    encoder: str = Field(
        "res_mlp64", description="AU encoder: those of the paper's Table 2 and of inference.au_encoders."
    )

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

    text_guidance: float | None = Field(
        None,
        ge=1,
        description="Guidance of the text alone; `guidance`, or what is chosen of the candidates, is then "
        "that of the AUs, and must be above 1. null: one for both.",
    )

    @model_validator(mode="after")
    def _guides(self) -> FineFaceSample:
        if self.guidance is not None and (complaint := self.refuses(self.guidance)):
            raise ValueError(complaint)
        return self

    def refuses(self, guidance: float) -> str | None:
        """Why nothing can be drawn at that guidance of the AUs; None if it can."""
        if self.text_guidance is None or guidance > 1:
            return None
        return f"text_guidance: guidance, that of the AUs, is {guidance:g}, not above 1"

    @property
    def arguments(self) -> dict[str, Any]:
        """What the pipeline is called with besides."""
        apart = {} if self.text_guidance is None else {"text_guidance_scale": self.text_guidance}
        return {"au_scale": self.au_scale, **apart}

    def text_guidance_at(self, guidance: float) -> float:
        """Guidance of the text alone where `guidance` was chosen."""
        return guidance if self.text_guidance is None else self.text_guidance
