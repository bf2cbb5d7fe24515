"""CLIP image embeddings, for CLIP-I. The cosine itself is taken in `evaluation/`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from inference import devices, weights
from store.hashing import fingerprint

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

CODE_VERSION = "1"


class Clip:
    """`CLIPModel` from a hub id or a local folder; only its vision half runs."""

    def __init__(
        self,
        model: str | os.PathLike,
        revision: str | None = None,
        precision: str = "float32",
        batch_size: int = 64,
        device: str = "auto",
    ):
        self.model, self.revision = str(model), revision
        self.precision = devices.check_precision(precision)
        self.batch_size, self.device = batch_size, device
        self.calls = 0

    @cached_property
    def folder(self) -> Path:
        """The model's files on this machine."""
        return weights.resolve(self.model, self.revision)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, precision and code version. Loads no model."""
        return fingerprint(
            kind="clip", code=CODE_VERSION, weights=weights.content(self.folder), precision=self.precision
        )

    @cached_property
    def _loaded(self):
        from transformers import CLIPImageProcessorPil, CLIPModel

        processor = CLIPImageProcessorPil.from_pretrained(self.folder, local_files_only=True)
        net = CLIPModel.from_pretrained(
            self.folder, dtype=devices.dtype(self.precision), use_safetensors=True, local_files_only=True
        )
        return processor, net.to(devices.pick(self.device)).eval()

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Pictures → float32 [N, d], rows of length 1, in order; [0, d] for no pictures."""
        import numpy as np
        import torch

        processor, net = self._loaded
        rows = [np.empty((0, net.config.projection_dim), np.float32)]
        for start in range(0, len(images), self.batch_size):
            batch = list(images[start : start + self.batch_size])
            pixels = processor(batch, return_tensors="pt").pixel_values
            with torch.inference_mode():
                embeds = net.get_image_features(pixels.to(net.device, net.dtype)).pooler_output.float()
            rows.append(torch.nn.functional.normalize(embeds, dim=-1).cpu().numpy())
        self.calls += len(images)
        return np.concatenate(rows)
