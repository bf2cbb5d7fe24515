"""The provider "conv": a `ConvEstimator` (in `conv_estimator.py`) behind the AUEstimator contract."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from facs import ACTION_UNITS
from inference import devices, images, weights
from inference.action_units import Reading, unmeasured
from store.hashing import fingerprint

if TYPE_CHECKING:
    from PIL import Image

    from inference.conv_estimator import ConvEstimator

CODE_VERSION = "1"


class TinyEstimator:
    """Twelve intensities and "no face" from a small convolutional network saved in the folder `model`.

    A picture of another size is cropped to its central square and resized to the network's.
    """

    supported = ACTION_UNITS

    def __init__(self, model: str | os.PathLike, batch_size: int = 128, device: str = "auto"):
        self.model, self.batch_size, self.device = str(model), batch_size, device
        self.calls = 0

    @cached_property
    def folder(self) -> Path:
        """The model's files on this machine."""
        return weights.resolve(self.model)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights and code version. Loads no model."""
        return fingerprint(kind="conv", code=CODE_VERSION, weights=weights.content(self.folder))

    @cached_property
    def size(self) -> int:
        """Side of the network's input in pixels."""
        return json.loads((self.folder / "config.json").read_text())["image_size"]

    def estimate(self, pictures: Sequence[Image.Image]) -> list[Reading]:
        """One Reading a picture, in order; the network counts faces as none or one."""
        readings = []
        for start in range(0, len(pictures), self.batch_size):
            readings += self._read(pictures[start : start + self.batch_size])
        self.calls += len(pictures)
        return readings

    @cached_property
    def _net(self) -> ConvEstimator:
        from inference.conv_estimator import ConvEstimator

        return ConvEstimator.from_pretrained(self.folder).to(devices.pick(self.device))

    def _read(self, batch: Sequence[Image.Image]) -> list[Reading]:
        import torch

        pixels = torch.from_numpy(images.as_array([images.square(picture, self.size) for picture in batch]))
        pixels = pixels.to(next(self._net.parameters()).device)
        intensities, face = self._net.predict(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
        return [
            Reading(tuple(values), 1, None) if found else unmeasured()
            for values, found in zip(intensities.tolist(), face.tolist(), strict=True)
        ]
