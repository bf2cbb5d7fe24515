"""lora_t: a LoRA alone, the AUs written into the captions (paper, Table 1: LoRA-T)."""

from typing import Literal

from pydantic import Field

from methods.lora_settings import LoRASettings
from methods.registry import Method, register
from methods.wording import Worded, as_words
from settings.experiment import SampleSettings


class LoRATTrain(Worded, LoRASettings):
    """The same LoRA as fineface's, and nothing else; AUs are words of the caption (paper, Table 1)."""

    method: Literal["lora_t"] = Field("lora_t", description="A LoRA, the AUs as text.")


register(Method("lora_t", LoRATTrain, SampleSettings, as_words, model="methods.lora_t.model:LoRAT"))
