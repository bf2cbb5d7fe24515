"""What a base is told of a text: its embeddings and, where its UNet asks for them, pooled ones and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from inference.pipeline import FineFacePipeline


class Texts(NamedTuple):
    """Embeddings of n texts: tokens [n, tokens, width], and pooled [n, p] where the base has such (SDXL)."""

    tokens: torch.Tensor
    pooled: torch.Tensor | None = None

    def parts(self) -> list[torch.Tensor]:
        """The tensors there are, tokens first."""
        return [part for part in self if part is not None]


def encode(pipe: FineFacePipeline, texts: Sequence[str], device: torch.device) -> Texts:
    """The embeddings of `texts` as `pipe` itself makes them when it draws.

    The empty text stands for the unconditional branch: where the pipeline gives that zeros (SDXL's
    `force_zeros_for_empty_prompt`), so does this.
    """
    said = pipe.encode_prompt(
        prompt=list(texts), device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )
    tokens, pooled = said[0], said[2] if len(said) > 2 else None
    if pipe.config.get("force_zeros_for_empty_prompt"):
        kept = torch.tensor([text != "" for text in texts], device=tokens.device)
        tokens = tokens * kept[:, None, None]
        pooled = None if pooled is None else pooled * kept[:, None]
    return Texts(tokens, pooled)


def added_conditions(
    pipe: FineFacePipeline, texts: Texts, latent_size: Sequence[int]
) -> dict[str, torch.Tensor]:
    """What the UNet of `pipe` wants as `added_cond_kwargs` for pictures of `latent_size` (height, width).

    Nothing for Stable Diffusion. SDXL is told the pooled text, and the picture's size, as original and target
    and uncropped.
    """
    if pipe.unet.config.addition_embed_type != "text_time":
        return {}
    size = tuple(side * pipe.vae_scale_factor for side in latent_size)
    pooled = texts.pooled
    assert pooled is not None, "a base whose UNet reads pooled texts makes them"
    ids = pipe._get_add_time_ids(
        size, (0, 0), size, pooled.dtype, text_encoder_projection_dim=pooled.shape[-1]
    )
    return {
        "text_embeds": pooled,
        "time_ids": ids.to(pooled.device, non_blocking=True).repeat(len(pooled), 1),
    }
