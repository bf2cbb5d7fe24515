"""Editing pictures with what was trained: PIL pictures in and out, whatever the method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
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
    from settings.profile import Base

CODE_VERSION = "1"

Vectors = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Material:
    """What editors are made of; each takes what its method needs.

    folder, model_hash: where the trained model lies, and the hash of its content
    adapter, base: where the model is an experiment's, the settings that it was trained with, and its base
    faces: the model file of MediaPipe; null: where it is found
    """

    folder: Path | None = None
    model_hash: str | None = None
    adapter: TrainSettings | None = None
    base: Base | None = None
    faces: str | Path | None = None
    batch_size: int = 16
    device: str = "auto"


def editor(settings: TrainSettings, material: Material) -> Editor:
    """Who edits as `settings` say. Loads nothing yet. Raises ValueError where a trained model is missing."""
    module, _, name = methods.registry.get(settings.method).editor.partition(":")
    made: Editor = getattr(import_module(module), name)(settings, material)
    return made


class Unchanging:
    """Gives every picture back."""

    name = "unedited"

    def __init__(self, settings: EditSettings, material: Material):
        self.size, self.batch_size = settings.size, material.batch_size

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

    def __init__(self, settings: AdversarialSettings, material: Material):
        if material.folder is None or material.model_hash is None:
            raise ValueError(f"an editor of {settings.method} needs its trained model")
        self.settings, self.folder, self.model_hash = settings, material.folder, material.model_hash
        self.size, self.batch_size, self.device = settings.size, material.batch_size, material.device

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
