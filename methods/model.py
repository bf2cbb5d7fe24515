"""What a method does with torch: its parts in a base, their loss, save and load. The loop calls it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from diffusers import DDPMScheduler
from torch import nn

from inference.pipeline import FineFacePipeline
from settings.experiment import TrainSettings

Trained = TypeVar("Trained", bound=TrainSettings)


class MethodError(ValueError):
    """The method and the base do not fit; the message says how."""


@dataclass
class Batch:
    """One process's n samples of a step, on its device.

    latents (scaled for the UNet), noise [n, C, h, w]; timesteps [n]; text [n, tokens, width]: embeddings of
    the captions; aus [n, 12]. Unconditional samples have the empty text and AUs 0. added: what else the
    base's UNet wants as `added_cond_kwargs`, by its names (SDXL's text_embeds, time_ids), one row a sample.
    beside: as many class images, for a method that is trained on some (`TrainSettings.drawn_before`).
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    text: torch.Tensor
    aus: torch.Tensor
    added: dict[str, torch.Tensor] = field(default_factory=dict)
    beside: Batch | None = None

    def parts(self, size: int) -> list[Batch]:
        """The samples in batches of `size`, the last maybe smaller."""
        return [self._part(slice(start, start + size)) for start in range(0, len(self.latents), size)]

    def _part(self, rows: slice) -> Batch:
        added = {name: value[rows] for name, value in self.added.items()}
        own = {name: value[rows] for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        return Batch(**own, added=added, beside=self.beside and self.beside._part(rows))


class TrainedModel(ABC, Generic[Trained]):
    """What a method adds to a Stable Diffusion base, as `settings` ask for it."""

    def __init__(self, settings: Trained):
        self.settings = settings

    @abstractmethod
    def install(self, pipe: FineFacePipeline) -> dict[str, nn.Parameter]:
        """Give the base of `pipe` the untrained parts; the parameters to train, by names that do not change.

        Nothing else requires gradients afterwards. Raises MethodError where the base does not take them.
        """

    def predict(self, unet: nn.Module, noisy: torch.Tensor, batch: Batch) -> torch.Tensor:
        """What the UNet says of the `noisy` latents [n, C, h, w] under the conditions of `batch`: here, its
        text."""
        return self.answer(unet, noisy, batch)

    @staticmethod
    def answer(unet: nn.Module, noisy: torch.Tensor, batch: Batch, **more: Any) -> torch.Tensor:
        """What `unet` says of `noisy` under the text of `batch`, with `more` among its added conditions."""
        added = {**batch.added, **more}
        said: torch.Tensor = unet(
            noisy, batch.timesteps, batch.text, added_cond_kwargs=added, return_dict=False
        )[0]
        return said

    @abstractmethod
    def save(self, pipe: FineFacePipeline, folder: Path, base: Mapping[str, str | None]) -> None:
        """Write what was trained into `folder`; `base` names its base for the record."""

    @abstractmethod
    def load(self, pipe: FineFacePipeline, folder: Path) -> None:
        """Put what was saved in `folder` into the plain base of `pipe`, frozen."""

    def loss(self, unet: nn.Module, noising: DDPMScheduler, batch: Batch) -> torch.Tensor:
        """Mean squared error over the samples of `batch`, in the terms of the base's prediction type.

        A mean over samples: where memory is short, a batch comes in parts whose gradients are added up.
        """
        return denoising_errors(self, unet, noising, batch).mean()


def freeze(pipe: FineFacePipeline) -> None:
    """Let no part of `pipe` require gradients."""
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.requires_grad_(False)


def denoising_errors(
    model: TrainedModel[Any], unet: nn.Module, noising: DDPMScheduler, batch: Batch
) -> torch.Tensor:
    """The mean squared error of each sample of `batch`, [n], float32."""
    noisy = noising.add_noise(batch.latents, batch.noise, batch.timesteps)
    predicted = model.predict(unet, noisy, batch)
    match noising.config.prediction_type:
        case "epsilon":
            target = batch.noise
        case "v_prediction":
            target = noising.get_velocity(batch.latents, batch.noise, batch.timesteps)
        case "sample":
            target = batch.latents
        case other:
            raise MethodError(f"the base's scheduler has an unknown prediction type {other!r}")
    return (predicted.float() - target).square().flatten(1).mean(dim=1)
