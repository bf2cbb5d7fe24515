"""AU encoders by name: intensities in, tokens out. Known here without torch; the modules live beside.

One's own: a module class `(width) -> [N, 12] → [N, tokens, width]` and one call of `register`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


class UnknownEncoder(KeyError):
    """No encoder of this name is registered."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class AUEncoder:
    """An AU encoder: `tokens` an AU vector becomes, the `least_width` of cross-attention it fits, where its
    module class stands (`package.module:Class`), and a `version`, raised when what it computes changes.
    """

    name: str
    tokens: int
    least_width: int
    module: str
    version: str = "1"

    def make(self, width: int) -> nn.Module:
        """The untrained module [N, 12] → [N, tokens, width]. Raises ValueError where `width` is too small."""
        if width < self.least_width:
            raise ValueError(
                f"encoder {self.name} needs a cross-attention width of {self.least_width}, "
                f"the base has {width}"
            )
        module, _, name = self.module.partition(":")
        made: nn.Module = getattr(import_module(module), name)(width)
        return made


ENCODERS: dict[str, AUEncoder] = {}
"""Every registered encoder by its name."""


def register(encoder: AUEncoder) -> AUEncoder:
    """Make an encoder known under its name. Raises ValueError for a name that is taken."""
    if encoder.name in ENCODERS:
        raise ValueError(f"AU encoder {encoder.name!r} is registered already")
    ENCODERS[encoder.name] = encoder
    return encoder


def get(name: str) -> AUEncoder:
    """The encoder called `name`. Raises UnknownEncoder, naming those there are."""
    if name not in ENCODERS:
        raise UnknownEncoder(f"unknown AU encoder {name!r}; known: {', '.join(sorted(ENCODERS))}")
    return ENCODERS[name]


_TABLE_2 = "inference.au_encoders.table2"
# Paper, Table 2. The number of tokens is the encoder's property alone: nothing else counts them.
register(AUEncoder("none", tokens=1, least_width=12, module=f"{_TABLE_2}:Raw"))
register(AUEncoder("mlp", tokens=1, least_width=1, module=f"{_TABLE_2}:MLP"))
register(AUEncoder("res_mlp", tokens=1, least_width=13, module=f"{_TABLE_2}:ResMLP"))
register(AUEncoder("res_mlp64", tokens=1, least_width=76, module=f"{_TABLE_2}:ResMLP64"))
register(AUEncoder("res_3mlp", tokens=1, least_width=13, module=f"{_TABLE_2}:Res3MLP"))
register(AUEncoder("individual_mlp", tokens=1, least_width=1, module=f"{_TABLE_2}:IndividualMLP"))
# Past the paper: one token an AU, so that each can attend to its own place.
register(
    AUEncoder("twelve_tokens", tokens=12, least_width=1, module="inference.au_encoders.tokens:TwelveTokens")
)
