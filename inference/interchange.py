"""The adapter in the form of a stock IP-Adapter, as far as that can express it. The exact form is written by
`inference.adapter.save`.

A stock image projection ends in a LayerNorm, so tokens of any length cannot be said outright. But those of an
affine encoder can, nearly: two coordinates of ±`BALANCE` outweigh all others, so that the LayerNorm scales
every token alike, one more makes their sum 0, and keys and values do not look at these three.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from facs import ACTION_UNITS
from inference import adapter
from inference.adapter import AdapterError
from inference.networks import text_attentions

STOCK_FILE = "ip_adapter.safetensors"
BALANCE = 1000.0
"""Larger: nearer to linear; smaller: less lost to rounding in float32. Half precision cannot hold both."""
_TOLERANCE = 1e-4
_SPARE = 3


def save(unet: UNet2DConditionModel, folder: Path | str) -> None:
    """Write the AU part of the adapter of `unet` as ip_adapter.safetensors into `folder`.

    A stock pipeline reads it by `load_ip_adapter(folder, subfolder="", weight_name="ip_adapter.safetensors",
    image_encoder_folder=None)`, and by `load_lora_weights` the LoRA that `inference.adapter.save` wrote.
    It is called with `ip_adapter_image_embeds=[torch.stack([zeros, aus])]`, each of shape [1, 12], in
    float32, one AU vector a call: it would mix those of several prompts. Raises AdapterError as `state_dict`
    does.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    said = state_dict(unet)
    flat = {f"{part}.{name}": value for part, tensors in said.items() for name, value in tensors.items()}
    save_file(flat, folder / STOCK_FILE)


def state_dict(unet: UNet2DConditionModel) -> dict[str, dict[str, torch.Tensor]]:
    """The AU part as `load_ip_adapter` takes it, in the form of an IP-Adapter FaceID.

    Raises AdapterError where `unet` has no adapter, or one whose encoder is not affine in the AUs or whose
    tokens fill the whole width: a stock pipeline cannot express those.
    """
    config = adapter.installed(unet)
    if config is None:
        raise AdapterError("nothing to express: the UNet has no adapter")
    if not isinstance(unet, UNet2DConditionModel):
        raise AdapterError(
            f"a {type(unet).__name__}: only adapters of UNets are expressed for stock pipelines"
        )
    parameters = {
        name: value.detach().double().cpu() for name, value in adapter.adapter_parameters(unet).items()
    }
    linear, constant = _affine(unet.encoder_hid_proj.image_projection_layers[-1], config.encoder)
    tokens, width = constant.shape
    # Coordinates in the space that all tokens span: [width, rank].
    span = torch.cat([linear.flatten(0, 1), constant]).T
    left, sizes, _ = torch.linalg.svd(span, full_matrices=False)
    basis = left[:, sizes > sizes.max() * 1e-9]
    rank = basis.shape[1]
    if rank + _SPARE > width:
        raise AdapterError(
            f"the tokens of encoder {config.encoder} span {rank} dimensions of {width}: a stock IP-Adapter "
            f"needs {_SPARE} that are free"
        )
    slope = torch.zeros(tokens, width, len(ACTION_UNITS), dtype=torch.float64)
    offset = torch.zeros(tokens, width, dtype=torch.float64)
    slope[:, :rank] = (linear @ basis).permute(1, 2, 0)
    offset[:, :rank] = constant @ basis
    offset[:, rank], offset[:, rank + 1] = BALANCE, -BALANCE
    slope[:, rank + 2], offset[:, rank + 2] = -slope.sum(1), -offset.sum(1)
    identity = torch.eye(len(ACTION_UNITS)).double()
    projection = {
        # GELU(x) - GELU(-x) = x
        "proj.0.weight": torch.cat([identity, -identity]),
        "proj.0.bias": torch.zeros(2 * len(ACTION_UNITS)),
        "proj.2.weight": torch.cat([slope, -slope], dim=2).flatten(0, 1),
        "proj.2.bias": offset.flatten(),
        "norm.weight": torch.full((width,), BALANCE * (2 / width) ** 0.5),
        "norm.bias": torch.zeros(width),
    }
    attention = {}
    for place, name in enumerate(text_attentions(unet)):
        for part in ("to_k_ip.weight", "to_v_ip.weight"):
            weight = parameters[f"{name}.{part}"]
            looked = torch.zeros_like(weight)
            looked[:, :rank] = weight @ basis
            attention[f"{2 * place + 1}.{part}"] = looked
    return {"image_proj": _float(projection), "ip_adapter": _float(attention)}


def _affine(encoder: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The encoder as tokens = Σ aus_j · linear_j + constant: [12, tokens, width] and [tokens, width]."""
    units = torch.eye(len(ACTION_UNITS))
    trial = 5 * torch.rand(8, len(ACTION_UNITS), generator=torch.Generator().manual_seed(0))
    asked = torch.cat([torch.zeros(1, len(ACTION_UNITS)), units, trial])
    like = next(encoder.parameters(), asked)
    with torch.no_grad():
        told = encoder(asked.to(like.device, like.dtype)).double().cpu()
    constant, linear = told[0], told[1 : 1 + len(units)] - told[0]
    expected = torch.einsum("nj,jtw->ntw", trial.double(), linear) + constant
    if (told[1 + len(units) :] - expected).abs().max() > _TOLERANCE * max(1.0, float(told.abs().max())):
        raise AdapterError(f"encoder {name} is not affine in the AUs: a stock IP-Adapter cannot express it")
    return linear, constant


def _float(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.float().contiguous() for name, value in tensors.items()}
