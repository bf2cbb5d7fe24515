"""AU encoders of several tokens, which the paper does not have.

With one token the softmax over the AU keys is 1 and the adapter adds the same vector at every pixel; with one
token an AU, each can attend to its own place.
"""

import torch
from torch import nn

from facs import ACTION_UNITS


class TwelveTokens(nn.Module):
    """twelve_tokens: token_i = y_i · w_i + b_i, [N, 12] → [N, 12, width]; w and b start small and random."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(ACTION_UNITS), width) * 0.3)
        self.bias = nn.Parameter(torch.randn(len(ACTION_UNITS), width) * 0.3)

    def forward(self, aus: torch.Tensor) -> torch.Tensor:
        return aus.to(self.weight.dtype).unsqueeze(-1) * self.weight + self.bias
