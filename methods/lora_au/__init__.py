"""lora_au: a LoRA, and the AUs as one more token of the text (paper, Table 1: LoRA-AU)."""

from typing import Literal

from pydantic import Field

from methods.lora_settings import LoRASettings
from methods.registry import Method, register
from methods.wording import as_vectors
from settings.experiment import SampleSettings


class LoRAAUTrain(LoRASettings):
    """The same LoRA as fineface's; a layer turns the AU vector into one token at the end of the text
    encoder's output (paper, Table 1: LoRA-AU; where the token stands is our reading)."""

    method: Literal["lora_au"] = Field("lora_au", description="A LoRA, the AUs as a token of the text.")


register(Method("lora_au", LoRAAUTrain, SampleSettings, as_vectors, model="methods.lora_au.model:LoRAAU"))
