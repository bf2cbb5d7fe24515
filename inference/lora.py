"""LoRA on all attentions of a UNet, or of FLUX's transformer (paper, section 3): added, saved, filled, for
whoever trains one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn

from inference.networks import kind_of

NAME = "fineface"
TARGETS = ("to_k", "to_out.0", "to_q", "to_v")
FILE = "pytorch_lora_weights.safetensors"


def add(unet: UNet2DConditionModel, rank: int, alpha: float) -> None:
    """Give `unet` an untrained LoRA of scale alpha / rank, gaussian, drawn from torch's own generator. LoRAs
    that it has stay on."""
    others = unet.active_adapters() if getattr(unet, "peft_config", None) else []
    unet.add_adapter(_config(rank, alpha), adapter_name=NAME)
    if others:
        unet.set_adapter([*others, NAME])


def parameters(unet: UNet2DConditionModel) -> dict[str, nn.Parameter]:
    """The parameters of the LoRA by names that do not change."""
    return {name: parameter for name, parameter in unet.named_parameters() if f".{NAME}." in name}


def leave_casts_to_autocast(unet: UNet2DConditionModel) -> None:
    """Let the LoRA layers of `unet`, which is only run under autocast from now on, take their inputs as they
    come. peft makes them float32, as its weights are, and autocast then makes them what they were: two passes
    over the activations of each layer, and two back, for the same numbers."""
    for layer in unet.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.cast_input_dtype_enabled = False


def save(unet: UNet2DConditionModel, folder: Path, rank: int, alpha: float) -> None:
    """Write the LoRA into `folder`, in the form that diffusers' `load_lora_weights` reads, with alpha. Equal
    LoRAs give equal bytes."""
    state = get_peft_model_state_dict(unet, adapter_name=NAME)
    prefix = kind_of(unet).prefix
    tensors = {f"{prefix}.{name}": value.contiguous() for name, value in state.items()}
    # One entry of metadata alone: safetensors writes several in random order.
    save_file(tensors, folder / FILE, metadata={LORA_ADAPTER_METADATA_KEY: _metadata(rank, alpha, prefix)})


def seeded(unet: UNet2DConditionModel, rank: int, alpha: float, seed: int) -> None:
    """`add`, drawn from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        add(unet, rank, alpha)


def fill(unet: UNet2DConditionModel, tensors: Mapping[str, torch.Tensor]) -> None:
    """Set the weights of the LoRA that `unet` has to those of `tensors`, as `save` names them."""
    prefix = f"{kind_of(unet).prefix}."
    weights = {name.removeprefix(prefix): value for name, value in tensors.items()}
    set_peft_model_state_dict(unet, weights, adapter_name=NAME)


def shapes(unet: UNet2DConditionModel, rank: int) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a LoRA of `rank` on `unet`, by the names that `save` gives them."""
    attentions = [name.removesuffix("processor") for name in unet.attn_processors]
    targets = {f"{attention}{target}" for attention in attentions for target in TARGETS}
    found: dict[str, tuple[int, ...]] = {}
    for name, linear in unet.named_modules():
        if name in targets:  # not all have each: FLUX's single-stream blocks lack to_out
            path = f"{kind_of(unet).prefix}.{name}"
            found[f"{path}.lora_A.weight"] = (rank, linear.in_features)
            found[f"{path}.lora_B.weight"] = (linear.out_features, rank)
    return found


def _config(rank: int, alpha: float) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(TARGETS), init_lora_weights="gaussian")


def _metadata(rank: int, alpha: float, prefix: str) -> str:
    """What diffusers' `load_lora_weights` reads alpha from."""
    values = _config(rank, alpha).to_dict()
    # peft keeps the targets as a set, whose order changes from run to run.
    values = {
        f"{prefix}.{n}": sorted(value) if isinstance(value, set) else value for n, value in values.items()
    }
    return json.dumps(values, sort_keys=True)
