"""What `lora_au` installs, trains, saves and loads: `inference.lora` and `inference.text_token`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from inference import lora, text_token
from inference.adapter import AdapterError, check_shapes, read_tensors
from inference.pipeline import FineFacePipeline
from methods.folded_lora import fold
from methods.lora_au import LoRAAUTrain
from methods.model import Batch, MethodError, TrainedModel, freeze


class LoRAAU(TrainedModel[LoRAAUTrain]):
    """A LoRA in the UNet, and an AU token after its text."""

    def install(self, pipe: FineFacePipeline) -> dict[str, nn.Parameter]:
        """The token and the LoRA, both drawn from the seed."""
        settings = self.settings
        freeze(pipe)
        try:
            text_token.install(pipe.unet, settings.seed)
        except AdapterError as error:
            raise MethodError(f"the base does not take the token: {error}") from error
        lora.seeded(pipe.unet, settings.rank, settings.alpha, settings.seed)
        fold(pipe.unet, lora.NAME)
        return text_token.parameters(pipe.unet) | lora.parameters(pipe.unet)

    def predict(self, unet: nn.Module, noisy: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The UNet's answer with the AUs after the text."""
        return self.answer(unet, noisy, batch, image_embeds=[batch.aus.unsqueeze(1)])

    def save(self, pipe: FineFacePipeline, folder: Path, base: Mapping[str, str | None]) -> None:
        """A file of each."""
        folder.mkdir(parents=True, exist_ok=True)
        text_token.save(pipe.unet, folder)
        lora.save(pipe.unet, folder, self.settings.rank, self.settings.alpha)

    def load(self, pipe: FineFacePipeline, folder: Path) -> None:
        """Both files of `folder`. Raises AdapterError where they do not fit."""
        settings, tensors = self.settings, read_tensors(folder / lora.FILE)
        check_shapes(lora.shapes(pipe.unet, settings.rank), tensors, folder)
        text_token.load(pipe.unet, folder)
        lora.seeded(pipe.unet, settings.rank, settings.alpha, settings.seed)
        lora.fill(pipe.unet, tensors)
        pipe.unet.requires_grad_(False)
