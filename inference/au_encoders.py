"""AU encoders (paper, Table 2): intensities in, tokens out. What uses them lives in `adapter`."""

from typing import ClassVar

import torch
from torch import nn

from facs import ACTION_UNITS


class ResMLP64(nn.Module):
    """Res+MLP64, the paper's method (Table 2): the 12 raw values ‖ Linear 12→64 ‖ zeros, as one token."""

    tokens: ClassVar[int] = 1
    hidden: ClassVar[int] = 64

    def __init__(self, width: int):
        super().__init__()
        self.padding = width - len(ACTION_UNITS) - self.hidden
        if self.padding < 0:
            least = len(ACTION_UNITS) + self.hidden
            raise ValueError(
                f"encoder res_mlp64 needs a cross-attention width of {least}, the base has {width}"
            )
        self.mlp = nn.Linear(len(ACTION_UNITS), self.hidden)

    def forward(self, aus: torch.Tensor) -> torch.Tensor:
        """[N, 12] intensities → [N, 1, width]."""
        aus = aus.to(self.mlp.weight.dtype)
        projected = self.mlp(aus)
        token = torch.cat([aus.to(projected.dtype), projected], dim=-1)
        return nn.functional.pad(token, (0, self.padding)).unsqueeze(1)


# Every encoder maps [N, 12] intensities to [N, tokens, width]; the number of AU tokens is its property alone.
ENCODERS: dict[str, type[nn.Module]] = {"res_mlp64": ResMLP64}
