"""CLIP embeddings of pictures and texts. Cosines are taken in `evaluation/`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from inference import devices
from inference.pretrained import Pretrained
from store.hashing import fingerprint

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

CODE_VERSION = "3"


class Clip(Pretrained):
    """`CLIPModel` from a hub id or a local folder."""

    def __init__(
        self,
        model: str | os.PathLike,
        revision: str | None = None,
        precision: str = "float32",
        batch_size: int = 64,
        device: str = "auto",
    ):
        super().__init__(model, revision, precision, device)
        self.batch_size = batch_size

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights (on the hub also id and revision), precision and code version. Loads no model."""
        return fingerprint(
            kind="clip",
            code=CODE_VERSION,
            **self.identity,
            precision=self.precision,
        )

    @cached_property
    def prepare(self) -> Callable[[Image.Image], torch.Tensor]:
        """Picture → pixels [3, side, side], as the model's own processor makes them; safe in threads."""
        images = self._processor
        return lambda picture: images(picture, return_tensors="pt").pixel_values[0]

    @property
    def side(self) -> int:
        """The longer side of what a picture is first resized to."""
        return max(dict(self._processor.size).values())

    @cached_property
    def _processor(self):
        from transformers import CLIPImageProcessorPil

        return CLIPImageProcessorPil.from_pretrained(self.folder, local_files_only=True)

    @cached_property
    def _tokenizer(self):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)

    @cached_property
    def _net(self):
        from transformers import CLIPModel

        net = CLIPModel.from_pretrained(
            self.folder, dtype=devices.dtype(self.precision), use_safetensors=True, local_files_only=True
        )
        return net.to(devices.pick(self.device)).eval()

    def embed_images(self, pictures: Sequence[Any]) -> np.ndarray:
        """Pictures (or what `prepare` made of them) → float32 [N, d], rows of length 1, in order; [0, d] for
        none."""
        import torch

        def read(batch: Sequence[Any]) -> torch.Tensor:
            made = [one if isinstance(one, torch.Tensor) else self.prepare(one) for one in batch]
            pixels = torch.stack(made).to(self._net.device, self._net.dtype)
            return self._net.get_image_features(pixels).pooler_output

        self.calls += len(pictures)
        return self._embed(read, pictures)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts, cut at the model's longest → float32 [N, d] in the pictures' space, rows of length 1, in
        order."""

        def read(batch: Sequence[str]) -> torch.Tensor:
            longest = self._net.config.text_config.max_position_embeddings
            tokens = self._tokenizer(
                list(batch), padding=True, truncation=True, max_length=longest, return_tensors="pt"
            )
            return self._net.get_text_features(**tokens.to(self._net.device)).pooler_output

        return self._embed(read, texts)

    def _embed(self, read: Callable[[Sequence[Any]], torch.Tensor], inputs: Sequence[Any]) -> np.ndarray:
        import numpy as np
        import torch

        rows = [np.empty((0, self._net.config.projection_dim), np.float32)]
        for start in range(0, len(inputs), self.batch_size):
            with torch.inference_mode():
                embeds = read(inputs[start : start + self.batch_size]).float()
            rows.append(torch.nn.functional.normalize(embeds, dim=-1).cpu().numpy())
        return np.concatenate(rows)
