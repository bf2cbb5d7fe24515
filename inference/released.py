"""The reference implementation's released checkpoints, of both forms, in a plain UNet.

SD 2.1: au_encoder.ckpt, attn_processors.ckpt, pytorch_lora_weights.safetensors (1024 wide). SD 1.5:
sd15_au_encoder.ckpt, sd15_attn_processors.ckpt (768 wide), without LoRA. What this project trains is saved
and loaded by `inference.adapter`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.utils import convert_unet_state_dict_to_peft
from safetensors import SafetensorError
from safetensors.torch import load_file

from facs import ACTION_UNITS
from inference import adapter, lora
from inference.adapter import AdapterConfig, AdapterError

Tensors = dict[str, torch.Tensor]

ENCODER_FILES = ("au_encoder.ckpt", "sd15_au_encoder.ckpt")
PROCESSOR_FILES = ("attn_processors.ckpt", "sd15_attn_processors.ckpt")
_RENAMED = {
    "au_encoder.weight": "encoder.mlp.weight",
    "au_encoder.bias": "encoder.mlp.bias",
    ".processor.au_to_k.weight": ".to_k_ip.weight",
    ".processor.au_to_v.weight": ".to_v_ip.weight",
}


def load_reference(unet: UNet2DConditionModel, folder: Path | str) -> UNet2DConditionModel:
    """Install the released checkpoint in `folder` into the plain `unet`, frozen, and return it.

    Called afterwards with `added_cond_kwargs={"image_embeds": [aus.unsqueeze(1)]}` (intensities [N, 12]), it
    answers as the reference implementation. The encoder is known by its width: 12 → 64 beside raw values and
    zeros (SD 2.1), or 12 → width - 12 beside raw values (SD 1.5). The LoRA says no alpha; the reference runs
    it at scale 1. Raises AdapterError where a file is missing, is no such checkpoint, or does not fit `unet`.
    """
    folder = Path(folder)
    au = _renamed(_one_of(folder, ENCODER_FILES)) | _renamed(_one_of(folder, PROCESSOR_FILES))
    weights = _lora(folder / lora.FILE) if (folder / lora.FILE).is_file() else _no_lora(unet)
    rank = next(len(value) for name, value in weights.items() if name.endswith("lora_A.weight"))
    config = AdapterConfig(_encoder(au, folder), rank, rank)  # alpha = rank: scale 1
    adapter.install_trained(unet, config, au, weights, folder)
    return unet


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise AdapterError(f"no released checkpoint in {folder}: {' or '.join(names)} is missing")


def _renamed(path: Path) -> Tensors:
    """The tensors of a .ckpt by the names that `inference.adapter` gives them. Nothing in it is run."""
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever a damaged or foreign file raises
        raise AdapterError(f"{path} is damaged or holds more than tensors: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise AdapterError(f"{path} holds no tensors by name")
    renamed = {}
    for name, value in found.items():
        ours = str(name).removeprefix("unet.")
        for theirs, own in _RENAMED.items():
            ours = ours.replace(theirs, own)
        renamed[ours] = value
    return renamed


def _lora(path: Path) -> Tensors:
    """The LoRA's tensors as unet.….lora_A.weight, whichever of diffusers' spellings the file has."""
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise AdapterError(f"{path} is damaged: {error}") from error
    spelt = convert_unet_state_dict_to_peft({name.removeprefix("unet."): v for name, v in found.items()})
    if not any(name.endswith("lora_A.weight") for name in spelt):
        raise AdapterError(f"{path} holds no LoRA")
    return {f"unet.{name}": value for name, value in spelt.items()}


def _no_lora(unet: UNet2DConditionModel) -> Tensors:
    """A LoRA that changes nothing: the checkpoint has none."""
    return {name: torch.zeros(shape) for name, shape in lora.shapes(unet, 1).items()}


def _encoder(au: Tensors, folder: Path) -> str:
    """The name of the encoder, by the shape of its one layer."""
    weight = au.get("encoder.mlp.weight")
    if weight is None or weight.ndim != 2 or weight.shape[1] != len(ACTION_UNITS):
        raise AdapterError(f"{folder}: au_encoder.weight is no layer of {len(ACTION_UNITS)} AUs")
    return "res_mlp64" if len(weight) == 64 else "res_mlp"
