"""Pictures to the VAE's latent moments. Sampling from them and scaling belong to `training/`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from inference import devices, images
from inference.pretrained import Pretrained
from store.hashing import fingerprint

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

CODE_VERSION = "4"


class Autoencoder(Pretrained):
    """The `vae` of a Stable Diffusion base, from a hub id or a local folder."""

    subfolder = "vae"

    def __init__(
        self,
        base: str | os.PathLike,
        revision: str | None = None,
        precision: str = "float32",
        batch_size: int = 8,
        device: str = "auto",
    ):
        super().__init__(base, revision, precision, device)
        self.batch_size = batch_size

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the VAE's weights, precision and code version; the rest of the base plays no part."""
        return fingerprint(
            kind="autoencoder",
            code=CODE_VERSION,
            **self.identity,
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
            raise FloatingPointError(f"the VAE of {self.model} gave no finite moments in {self.precision}")
        return moments
