"""Editing pictures with what was trained: PIL pictures in and out, whatever the method."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import methods.registry
from inference import devices, images
from inference.abilities import Editor
from methods.editing.settings import AdversarialSettings, EditSettings
from settings.experiment import TrainSettings
from store.hashing import fingerprint

if TYPE_CHECKING:
    from PIL import Image

    from methods.editing.model import EditingModel

CODE_VERSION = "1"

Vectors = Sequence[Sequence[float]]


def editor(
    settings: TrainSettings,
    folder: Path | None,
    model_hash: str | None,
    batch_size: int = 16,
    device: str = "auto",
) -> Editor:
    """Who edits with the model that was trained with `settings`, saved in `folder`, and has the content
    `model_hash`; both None for a method that trains nothing. Loads nothing yet."""
    if isinstance(settings, AdversarialSettings):
        if folder is None or model_hash is None:
            raise ValueError(f"an editor of {settings.method} needs its trained model")
        return Trained(settings, folder, model_hash, batch_size, device)
    assert isinstance(settings, EditSettings)
    return Unchanging(settings.size, batch_size)


class Unchanging:
    """Gives every picture back."""

    name = "unedited"

    def __init__(self, size: int, batch_size: int = 16):
        self.size, self.batch_size = size, batch_size

    @cached_property
    def fingerprint(self) -> str:
        """Of the size alone."""
        return fingerprint(kind="unedited", code=CODE_VERSION, size=self.size)

    def edit(
        self, pictures: Sequence[Image.Image], source: Vectors, target: Vectors
    ) -> list[tuple[Image.Image, float | None]]:
        """The pictures, all of them kept."""
        return [(images.resized(picture, self.size), 1.0) for picture in pictures]


class Trained:
    """The generator of an `EditingModel`."""

    def __init__(
        self,
        settings: AdversarialSettings,
        folder: Path,
        model_hash: str,
        batch_size: int = 16,
        device: str = "auto",
    ):
        self.settings, self.folder, self.model_hash = settings, folder, model_hash
        self.size, self.batch_size, self.device = settings.size, batch_size, device

    @property
    def name(self) -> str:
        """The method."""
        return self.settings.method

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the model and of this code. Loads no model."""
        return fingerprint(kind="editing", code=CODE_VERSION, model=self.model_hash)

    @cached_property
    def _model(self) -> EditingModel:
        model: EditingModel = methods.registry.get(self.settings.method).trained_model(self.settings)
        model.load(self.folder)
        model.generator.to(devices.pick(self.device))
        return model

    def edit(
        self, pictures: Sequence[Image.Image], source: Vectors, target: Vectors
    ) -> list[tuple[Image.Image, float | None]]:
        """Each picture, made square of `size`, from the intensities `source` to `target`."""
        import torch
        from PIL import Image

        device = devices.pick(self.device)
        pixels = torch.from_numpy(images.as_array([images.resized(one, self.size) for one in pictures]))
        given = pixels.permute(0, 3, 1, 2).float().to(device) / 127.5 - 1
        aus = (torch.tensor([list(row) for row in rows], device=device) for rows in (source, target))
        made, kept = self._model.edit(given, *aus)
        shown = ((made + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        shares = [None] * len(pictures) if kept is None else kept.flatten(1).mean(dim=1).tolist()
        return [(Image.fromarray(one), share) for one, share in zip(shown, shares, strict=True)]
