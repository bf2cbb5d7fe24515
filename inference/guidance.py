"""Guidance by the text and by action units, each at a scale of its own, in any pipeline of diffusers.

Their loops know one scale and two branches; so what the UNet is asked, and what it answers, is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import nn

_NOT_BY_ROW = ("cross_attention_kwargs",)
"""What a UNet is told that has no row for each latent, whatever its shape."""


@contextmanager
def apart(pipe: DiffusionPipeline, text_scale: float | None) -> Iterator[None]:
    """Within, `pipe` guides by its own scale s along the AUs, and by `text_scale` along the text:

    ε(∅,∅) + text_scale · (ε(text,∅) − ε(∅,∅)) + s · (ε(text,AU) − ε(text,∅)).

    Pictures of image adapters count as text. `pipe` asks for the branches (∅,∅) and (text,AU) in one batch
    [2N, …], the AUs last among `added_cond_kwargs["image_embeds"]`; here the third joins that batch. Where
    both scales are equal, or there is no `text_scale`, all is as ever. Raises ValueError, when the UNet is
    asked, where `pipe` does not guide: its scale must be above 1.
    """
    if text_scale is None:
        yield
        return

    def asked(unet: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        if not pipe.do_classifier_free_guidance:
            raise ValueError(
                "text_guidance_scale needs a guidance_scale, that of the AUs then, above 1, "
                f"not {pipe.guidance_scale:g}"
            )
        return None if pipe.guidance_scale == text_scale else three_branches(args, kwargs)

    def answered(unet: nn.Module, args: Any, said: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
        if pipe.guidance_scale == text_scale:
            return None
        return (two_branches(said[0], text_scale / pipe.guidance_scale),)

    hooks = (
        pipe.unet.register_forward_pre_hook(asked, with_kwargs=True),
        pipe.unet.register_forward_hook(answered),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def three_branches(args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What a UNet is asked in the branches (∅,∅) and (text,AU) [2N, …], with (text,∅) after them [3N, …]."""
    rows = len(args[0])
    by_row = {name: value for name, value in kwargs.items() if name not in _NOT_BY_ROW}
    args, by_row = _once_more(args, rows), _once_more(by_row, rows)
    *others, aus = by_row["added_cond_kwargs"]["image_embeds"]
    nothing, asked, _ = aus.chunk(3)
    by_row["added_cond_kwargs"]["image_embeds"] = [*others, torch.cat([nothing, asked, nothing])]
    return args, {**kwargs, **by_row}


def two_branches(answers: torch.Tensor, share: float) -> torch.Tensor:
    """Answers to `three_branches` → [2N, …]: ε(∅,∅), and x such that ε(∅,∅) + s · (x − ε(∅,∅)) is the
    guidance of `apart`, with `share` = text_scale / s."""
    nothing, both, text = answers.chunk(3)
    return torch.cat([nothing, nothing + share * (text - nothing) + (both - text)])


def _once_more(value: Any, rows: int) -> Any:
    """`value` with the second half of each tensor of so many `rows` after it once more."""
    if isinstance(value, torch.Tensor) and value.ndim and len(value) == rows:
        return torch.cat([value, value[rows // 2 :]])
    if isinstance(value, Mapping):
        return {name: _once_more(part, rows) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_once_more(part, rows) for part in value)
    return value
