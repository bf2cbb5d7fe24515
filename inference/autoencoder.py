"""Pictures to the VAE's latent moments. Sampling from them and scaling belong to `training/`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from inference import devices, images, weights
from store.hashing import fingerprint

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

CODE_VERSION = "3"


class Autoencoder:
    """The `vae` of a Stable Diffusion base, from a hub id or a local folder."""

    def __init__(
        self,
        base: str | os.PathLike,
        revision: str | None = None,
        precision: str = "float32",
        batch_size: int = 8,
        device: str = "auto",
    ):
        self.base, self.revision = str(base), revision
        self.precision = devices.check_precision(precision)
        self.batch_size, self.device = batch_size, device
        self.calls = 0

    @cached_property
    def folder(self) -> Path:
        """The VAE's files on this machine."""
        return weights.resolve(self.base, self.revision, subfolder="vae")

    @property
    def name(self) -> str:
        """The base as tables name it."""
        return weights.name(self.base, self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the VAE's weights, precision and code version; the rest of the base plays no part."""
        return fingerprint(
            kind="autoencoder",
            code=CODE_VERSION,
            **weights.identity(self.base, self.revision, self.folder),
            precision=self.precision,
        )

    @cached_property
    def _net(self):
        from diffusers import AutoencoderKL

        net = AutoencoderKL.from_pretrained(
            self.folder.parent,
            subfolder="vae",
            torch_dtype=devices.dtype(self.precision),
            use_safetensors=True,
            local_files_only=True,
        )
        return net.to(devices.pick(self.device)).eval()

    def encode(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Pictures of one square size → float16 [N, 2C, h, w]: mean and log variance, unscaled, in order.

        A latent is `mean + exp(logvar / 2) · noise`, times the VAE's scaling factor.
        Raises ValueError when sizes differ or do not fit the VAE, FloatingPointError when float16 overflows.
        """
        import numpy as np
        import torch

        net, rows = self._net, []
        step = 2 ** (len(net.config.block_out_channels) - 1)
        sizes = {picture.size for picture in pictures}
        if len(sizes) != 1 or any(side % step for side in next(iter(sizes))):
            raise ValueError(f"pictures of one size, divisible by {step}, are needed; got {sorted(sizes)}")
        for start in range(0, len(pictures), self.batch_size):
            pixels = torch.from_numpy(images.as_array(pictures[start : start + self.batch_size]))
            pixels = (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).to(net.device, net.dtype)
            with torch.inference_mode():
                distribution = net.encode(pixels).latent_dist
            moments = torch.cat([distribution.mean, distribution.logvar], 1)
            rows.append(moments.to(torch.float16).cpu().numpy())
        self.calls += len(pictures)
        # Convolutions answer in channels-last order, and safetensors writes memory as it lies.
        moments = np.ascontiguousarray(np.concatenate(rows))
        if not np.isfinite(moments).all():
            raise FloatingPointError(f"the VAE of {self.base} gave no finite moments in {self.precision}")
        return moments
