"""An AU vector as one more token of the text (paper, Table 1: LoRA-AU): installed, saved, loaded. The adapter
that has attention of its own for AUs is `inference.adapter`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn

from inference import au_encoders
from inference.adapter import AdapterError, check_shapes, read_tensors

FILE = "text_token.safetensors"
ENCODER = "mlp"
"""A linear layer from the twelve intensities to the width of the text."""


class TextToken(nn.Module):
    """Texts [N, T, width] and [intensities [N, 1, 12]] → [N, T + 1, width]: the AUs are the last token."""

    def __init__(self, width: int):
        super().__init__()
        self.encoder = au_encoders.get(ENCODER).make(width)

    def forward(self, texts: torch.Tensor, aus: Sequence[torch.Tensor]) -> torch.Tensor:
        (vectors,) = aus
        token: torch.Tensor = self.encoder(vectors.squeeze(1))
        return torch.cat([texts, token.to(texts.dtype)], dim=1)


def install(unet: UNet2DConditionModel, seed: int = 0) -> None:
    """Let `unet` read an AU vector after its text; untrained, drawn from `seed` alone. It then wants
    `added_cond_kwargs={"image_embeds": [aus]}` with intensities of shape [N, 1, 12].

    Raises AdapterError where the UNet projects its text already.
    """
    if unet.encoder_hid_proj is not None:
        raise AdapterError(
            f"the UNet projects its text by {type(unet.encoder_hid_proj).__name__}: load a fresh base"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        token = TextToken(_width(unet))
    unet.encoder_hid_proj = token.to(unet.device, unet.dtype)
    unet.register_to_config(encoder_hid_dim_type="text_image_proj")


def installed(unet: UNet2DConditionModel) -> bool:
    """Whether `unet` reads AUs as a token of the text."""
    return isinstance(unet.encoder_hid_proj, TextToken)


def parameters(unet: UNet2DConditionModel) -> dict[str, nn.Parameter]:
    """What turns AUs into the token, by names that do not change."""
    return {f"text_token.{name}": value for name, value in unet.encoder_hid_proj.named_parameters()}


def save(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write what turns AUs into the token into `folder`."""
    save_file({name: value.detach().contiguous() for name, value in parameters(unet).items()}, folder / FILE)


def load(unet: UNet2DConditionModel, folder: Path) -> None:
    """Install the token saved in `folder` into a plain `unet`. Raises AdapterError where it does not fit, and
    leaves the UNet as it was."""
    tensors = read_tensors(folder / FILE)
    with torch.device("meta"):
        wanted = {f"text_token.{n}": tuple(p.shape) for n, p in TextToken(_width(unet)).named_parameters()}
    check_shapes(wanted, tensors, folder)
    install(unet)
    with torch.no_grad():
        for name, parameter in parameters(unet).items():
            parameter.copy_(tensors[name])


def _width(unet: UNet2DConditionModel) -> int:
    width: int = unet.config.cross_attention_dim
    return width
