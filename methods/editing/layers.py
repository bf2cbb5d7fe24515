"""Layers that the nets of editing methods are made of, and how they are told action units."""

from __future__ import annotations

import torch
from torch import nn

SLOPE = 0.01
"""Of the leaky ReLU."""


def normed(layer: nn.Module, activation: nn.Module) -> nn.Sequential:
    """A convolution, instance normalisation with weights of its own, an activation."""
    return nn.Sequential(layer, nn.InstanceNorm2d(layer.out_channels, affine=True), activation)


def convolution(given: int, made: int, kernel: int) -> nn.Sequential:
    """Same size, odd `kernel`; no bias, which the normalisation would take away."""
    return normed(nn.Conv2d(given, made, kernel, padding=kernel // 2, bias=False), nn.ReLU())


def halving(given: int, made: int) -> nn.Sequential:
    """Half the size."""
    return normed(nn.Conv2d(given, made, 4, 2, 1, bias=False), nn.LeakyReLU(SLOPE))


def doubling(given: int, made: int, activation: nn.Module | None = None) -> nn.Sequential:
    """Twice the size; ReLU unless said."""
    return normed(nn.ConvTranspose2d(given, made, 4, 2, 1, bias=False), activation or nn.ReLU())


def with_aus(maps: torch.Tensor, aus: torch.Tensor) -> torch.Tensor:
    """[n, C, h, w] and vectors [n, 12] → [n, C + 12, h, w]: the vector at every place."""
    tiled = aus[:, :, None, None].expand(-1, -1, *maps.shape[2:])
    return torch.cat([maps, tiled.to(maps.dtype)], dim=1)
