"""LoRA computed in the weights where that is cheaper: for narrow layers, as small bases have them."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from peft.tuners.lora import Linear
from torch import nn


def fold(unet: nn.Module, adapter: str) -> int:
    """Let the layers of the LoRA `adapter` compute (W + s·B·A) x instead of W x + s·B (A x), where it pays.

    The results are the same but for rounding, and so are the gradients. For n tokens, the usual form costs
    about 3·n·r·(in + out) multiplications forward and back, this one n·in·out for the gradient of the sum.
    In bfloat16 the sum would lose most of a small update (8 bits of mantissa round W + s·B·A back to W), so
    there, and under autocast, a folded layer computes the usual form. Returns how many layers were changed.
    """
    folded = 0
    for layer in unet.modules():
        if isinstance(layer, Linear) and adapter in layer.lora_A:
            wide, high = layer.in_features, layer.out_features
            if wide * high <= 3 * layer.r[adapter] * (wide + high):
                layer.forward = functools.partial(_forward, layer, adapter, layer.forward)  # type: ignore
                folded += 1
    return folded


def _forward(
    layer: Linear, adapter: str, usual: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor
) -> torch.Tensor:
    base = layer.get_base_layer()
    if base.weight.dtype != torch.float32 or torch.is_autocast_enabled(x.device.type):
        return usual(x)
    down, up = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    weight = torch.addmm(base.weight, up, down, alpha=layer.scaling[adapter])
    return nn.functional.linear(x, weight, base.bias)
