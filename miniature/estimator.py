"""The provider "conv": a `ConvEstimator` (in `conv_estimator.py`) behind the AUEstimator contract."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from facs import ACTION_UNITS
from inference import devices, images
from inference.abilities import Reading, unmeasured
from inference.pretrained import Pretrained
from store.hashing import fingerprint

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    from miniature.conv_estimator import ConvEstimator

CODE_VERSION = "3"


class TinyEstimator(Pretrained):
    """Twelve intensities and "no face" from a small convolutional network saved in the folder `model`.

    A picture of another size is resized to the network's, squashed if it is no square.
    """

    supported = ACTION_UNITS

    def __init__(
        self,
        model: str | os.PathLike,
        revision: str | None = None,
        batch_size: int = 128,
        device: str = "auto",
    ):
        super().__init__(model, revision, device=device)
        self.batch_size = batch_size

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights (on the hub also id and revision) and code version. Loads no model."""
        return fingerprint(kind="conv", code=CODE_VERSION, **self.identity)

    @cached_property
    def size(self) -> int:
        """Side of the network's input in pixels."""
        return json.loads((self.folder / "config.json").read_text())["image_size"]

    @property
    def side(self) -> int:
        """The network's input."""
        return self.size

    def prepare(self, picture: Image.Image) -> np.ndarray:
        """Picture → uint8 [size, size, 3]."""
        return images.as_array([images.resized(picture, self.size)])[0]

    def estimate(self, pictures: Sequence[Any]) -> list[Reading]:
        """One Reading a picture (or what `prepare` made of it), in order; the network counts faces as none or
        one."""
        if not pictures:
            return []
        intensities, face = self.predict(pictures)
        self.calls += len(pictures)
        return [
            Reading(tuple(values), 1, None) if found else unmeasured()
            for values, found in zip(intensities.tolist(), face.tolist(), strict=True)
        ]

    def predict(self, pictures: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Of each of one or more pictures (or what `prepare` made of it) the intensities, float [N, 12], 0-5,
        and whether there is a face, bool [N]."""
        import numpy as np
        import torch

        parts = []
        for start in range(0, len(pictures), self.batch_size):
            batch = pictures[start : start + self.batch_size]
            made = [one if isinstance(one, np.ndarray) else self.prepare(one) for one in batch]
            pixels = torch.from_numpy(np.stack(made)).to(next(self._net.parameters()).device)
            parts.append(self._net.predict(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1))
        intensities, face = zip(*parts, strict=True)
        return torch.cat(intensities), torch.cat(face)

    @cached_property
    def _net(self) -> ConvEstimator:
        from miniature.conv_estimator import ConvEstimator

        return ConvEstimator.from_pretrained(self.folder).to(devices.pick(self.device))
