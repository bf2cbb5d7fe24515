"""Losses of editing methods, pure functions."""

from __future__ import annotations

from collections.abc import Callable

import torch


def gradient_penalty(
    score: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, made: torch.Tensor, mix: torch.Tensor
) -> torch.Tensor:
    """(‖∂score/∂x‖ - 1)² at x = mix · real + (1 - mix) · made, the mean over pictures (WGAN-GP, eq. 3).

    real, made [n, 3, h, w]; mix [n], 0-1; a picture's scores are averaged.
    """
    between = torch.lerp(made, real, mix[:, None, None, None]).requires_grad_()
    scores = score(between).flatten(1).mean(dim=1)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def total_variation(maps: torch.Tensor) -> torch.Tensor:
    """Σ |difference of neighbours|, down and across, of maps [n, C, h, w]; the mean over n."""
    down, across = maps.diff(dim=2).abs(), maps.diff(dim=3).abs()
    return (down.sum() + across.sum()) / len(maps)
