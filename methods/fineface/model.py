"""What `fineface` installs, trains, saves and loads; the adapter itself lives in `inference.adapter`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from inference import adapter, lora
from inference.adapter import AdapterConfig, AdapterError
from inference.pipeline import FineFacePipeline
from methods.fineface.settings import FineFaceTrain
from methods.folded_lora import fold
from methods.model import Batch, MethodError, TrainedModel, freeze


class FineFace(TrainedModel[FineFaceTrain]):
    """An AU adapter in the UNet."""

    def install(self, pipe: FineFacePipeline) -> dict[str, nn.Parameter]:
        """AU encoder, AU keys and values beside the text's, and LoRA, drawn from the seed."""
        settings = self.settings
        freeze(pipe)
        try:
            config = AdapterConfig(settings.encoder, settings.rank, settings.alpha)
            adapter.install(pipe.unet, config, seed=settings.seed)
        except (AdapterError, ValueError) as error:
            raise MethodError(f"the base does not take the adapter: {error}") from error
        fold(pipe.unet, lora.NAME)
        return adapter.trainable_parameters(pipe.unet)

    def predict(self, unet: nn.Module, noisy: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The UNet's answer with the AUs beside the text."""
        return self.answer(unet, noisy, batch, image_embeds=[batch.aus.unsqueeze(1)])

    def save(self, pipe: FineFacePipeline, folder: Path, base: Mapping[str, str | None]) -> None:
        """See `inference.adapter.save`."""
        adapter.save(pipe.unet, folder, base)

    def load(self, pipe: FineFacePipeline, folder: Path) -> None:
        """See `inference.adapter.load`."""
        adapter.load(pipe.unet, folder)
