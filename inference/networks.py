"""The kinds of networks that an adapter joins: which attentions read the text, how, and what of diffusers
lets them read a further condition beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxIPAdapterAttnProcessor
from torch import nn


class NoAdapterFits(ValueError):
    """The network is of a kind that no adapter joins; the message says why."""


@dataclass(frozen=True)
class Kind:
    """One kind of network.

    processor: diffusers' attention with further conditions. prefix: the network's name in LoRA files.
    bias: whether such an attention's keys and values have one. reads_text: whether an attention reads the
    text. width: of the text embeddings. text_maps: the linear maps from text embeddings to an attention's
    keys and values, as copies.
    """

    processor: type[Any]
    prefix: str
    bias: bool
    reads_text: Callable[[Any], bool]
    width: Callable[[Any], int]
    text_maps: Callable[[Any, Any], tuple[nn.Linear, nn.Linear]]


def kind_of(network: Any) -> Kind:
    """The kind of `network`. Raises NoAdapterFits."""
    for known, kind in KINDS.items():
        if isinstance(network, known):
            return kind
    raise NoAdapterFits(
        f"no adapter joins a {type(network).__name__}; it joins {', '.join(one.__name__ for one in KINDS)}"
    )


def text_attentions(network: Any) -> dict[str, Any]:
    """The attentions of `network` that read the text, by name. Raises NoAdapterFits where there are none."""
    reads = kind_of(network).reads_text
    layers = {name: network.get_submodule(name) for name in map(_attention, network.attn_processors)}
    found = {name: layer for name, layer in layers.items() if reads(layer)}
    if not found:
        raise NoAdapterFits(
            f"the {type(network).__name__} has no attention to the text for an adapter to join"
        )
    return found


def _attention(processor: str) -> str:
    return processor.removesuffix(".processor")


def _unet_width(unet: Any) -> int:
    widths = {attention.to_k.in_features for attention in text_attentions(unet).values()}
    if len(widths) > 1:
        raise NoAdapterFits(f"the UNet's cross-attentions have different widths: {sorted(widths)}")
    return int(widths.pop())


def _unet_maps(unet: Any, attention: Any) -> tuple[nn.Linear, nn.Linear]:
    return _copied(attention.to_k), _copied(attention.to_v)


def _copied(linear: Any) -> nn.Linear:
    copied = nn.Linear(linear.in_features, linear.out_features, bias=False)
    copied.weight.data.copy_(linear.weight.data)
    return copied


def _flux_maps(transformer: Any, attention: Any) -> tuple[nn.Linear, nn.Linear]:
    """Text enters once (context_embedder), and each block has maps of its own (add_k_proj, add_v_proj)."""
    entry = transformer.context_embedder
    return _composed(entry, attention.add_k_proj), _composed(entry, attention.add_v_proj)


def _composed(first: Any, second: Any) -> nn.Linear:
    composed = nn.Linear(first.in_features, second.out_features)
    composed.weight.data.copy_(second.weight.data @ first.weight.data)
    composed.bias.data.copy_(second.weight.data @ first.bias.data + second.bias.data)
    return composed


KINDS: dict[type, Kind] = {
    UNet2DConditionModel: Kind(
        processor=IPAdapterAttnProcessor2_0,
        prefix="unet",
        bias=False,
        reads_text=lambda attention: attention.is_cross_attention,
        width=_unet_width,
        text_maps=_unet_maps,
    ),
    # The double-stream blocks; in the others text and picture are one sequence.
    FluxTransformer2DModel: Kind(
        processor=FluxIPAdapterAttnProcessor,
        prefix="transformer",
        bias=True,
        reads_text=lambda attention: attention.added_kv_proj_dim is not None,
        width=lambda transformer: transformer.config.joint_attention_dim,
        text_maps=_flux_maps,
    ),
}
