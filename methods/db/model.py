"""What `db` trains, saves and loads: the UNet itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from safetensors.torch import save_file
from torch import nn

from inference.adapter import check_shapes, read_tensors
from inference.pipeline import FineFacePipeline
from methods.db import DBTrain
from methods.model import Batch, TrainedModel, freeze

FILE = "unet.safetensors"


class DB(TrainedModel[DBTrain]):
    """All weights of the UNet, with prior preservation."""

    def install(self, pipe: FineFacePipeline) -> dict[str, nn.Parameter]:
        """Nothing new; all of the UNet is trained."""
        freeze(pipe)
        pipe.unet.requires_grad_(True)
        return dict(pipe.unet.named_parameters())

    def loss(self, unet: nn.Module, noising: DDPMScheduler, batch: Batch) -> torch.Tensor:
        """The loss on the training set's half, and that on the class images' times `prior_weight`
        (DreamBooth, Eq. 2)."""
        loss = super().loss(unet, noising, batch)
        if batch.beside is None:
            return loss
        return loss + self.settings.prior_weight * super().loss(unet, noising, batch.beside)

    def save(self, pipe: FineFacePipeline, folder: Path, base: Mapping[str, str | None]) -> None:
        """All weights of the UNet."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().contiguous() for name, value in pipe.unet.state_dict().items()}
        save_file(weights, folder / FILE)

    def load(self, pipe: FineFacePipeline, folder: Path) -> None:
        """The weights of `folder` in the place of the base's. Raises AdapterError where they do not fit."""
        weights = read_tensors(folder / FILE)
        wanted = {name: tuple(value.shape) for name, value in pipe.unet.state_dict().items()}
        check_shapes(wanted, weights, folder)
        pipe.unet.load_state_dict(weights)
        pipe.unet.requires_grad_(False)
