"""The settings of whatever trains a LoRA."""

from pydantic import Field

from settings.experiment import DenoisingSettings


class LoRASettings(DenoisingSettings):
    """LoRA on to_q, to_k, to_v and to_out of all attentions (paper, section 3)."""

    rank: int = Field(32, ge=1, description="LoRA rank.")
    alpha: float = Field(8, gt=0, description="LoRA alpha; its scale is alpha / rank.")
