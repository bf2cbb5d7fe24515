"""What `lora_t` installs, trains, saves and loads; the LoRA itself is `inference.lora`'s."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from inference import lora
from inference.adapter import check_shapes, read_tensors
from inference.pipeline import FineFacePipeline
from methods.folded_lora import fold
from methods.lora_t import LoRATTrain
from methods.model import TrainedModel, freeze


class LoRAT(TrainedModel[LoRATTrain]):
    """A LoRA in the UNet."""

    def install(self, pipe: FineFacePipeline) -> dict[str, nn.Parameter]:
        """The LoRA, drawn from the seed."""
        settings = self.settings
        freeze(pipe)
        lora.seeded(pipe.unet, settings.rank, settings.alpha, settings.seed)
        fold(pipe.unet, lora.NAME)
        return lora.parameters(pipe.unet)

    def save(self, pipe: FineFacePipeline, folder: Path, base: Mapping[str, str | None]) -> None:
        """The LoRA as diffusers reads it."""
        folder.mkdir(parents=True, exist_ok=True)
        lora.save(pipe.unet, folder, self.settings.rank, self.settings.alpha)

    def load(self, pipe: FineFacePipeline, folder: Path) -> None:
        """The LoRA of `folder`. Raises AdapterError where it does not fit."""
        tensors = read_tensors(folder / lora.FILE)
        check_shapes(lora.shapes(pipe.unet, self.settings.rank), tensors, folder)
        lora.seeded(pipe.unet, self.settings.rank, self.settings.alpha, self.settings.seed)
        lora.fill(pipe.unet, tensors)
        pipe.unet.requires_grad_(False)
