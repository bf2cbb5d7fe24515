"""The six AU encoders of the paper's Table 2, each [N, 12] intensities → one token [N, 1, width].

Where the paper leaves an encoder open, the reading is ours and said at the class.
"""

import torch
from torch import nn

from facs import ACTION_UNITS

AUS = len(ACTION_UNITS)


class Raw(nn.Module):
    """none: the 12 raw values ‖ zeros. It has no parameters."""

    def __init__(self, width: int):
        super().__init__()
        self.padding = width - AUS

    def forward(self, aus: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(aus, (0, self.padding)).unsqueeze(1)


class MLP(nn.Module):
    """mlp: Linear 12 → width."""

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Linear(AUS, width)

    def forward(self, aus: torch.Tensor) -> torch.Tensor:
        return self.mlp(aus.to(self.mlp.weight.dtype)).unsqueeze(1)


class ResMLP(nn.Module):
    """res_mlp: the 12 raw values ‖ Linear 12 → width - 12 (the form of the released SD 1.5 checkpoint)."""

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Linear(AUS, width - AUS)

    def forward(self, aus: torch.Tensor) -> torch.Tensor:
        return _beside_raw(aus.to(self.mlp.weight.dtype), self.mlp, 0)


class ResMLP64(nn.Module):
    """res_mlp64, the paper's method: the 12 raw values ‖ Linear 12 → 64 ‖ zeros."""

    hidden = 64

    def __init__(self, width: int):
        super().__init__()
        self.padding = width - AUS - self.hidden
        self.mlp = nn.Linear(AUS, self.hidden)

    def forward(self, aus: torch.Tensor) -> torch.Tensor:
        return _beside_raw(aus.to(self.mlp.weight.dtype), self.mlp, self.padding)


class Res3MLP(nn.Module):
    """res_3mlp: the 12 raw values ‖ 12 → 256 → 256 → width - 12, each hidden layer followed by LayerNorm and
    a leaky ReLU of 0.01 (the paper says three layers, normalisation and leaky ReLU; the widths are ours).
    """

    hidden = 256

    def __init__(self, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (AUS, self.hidden):
            layers += [nn.Linear(inputs, self.hidden), nn.LayerNorm(self.hidden), nn.LeakyReLU(0.01)]
        self.mlp = nn.Sequential(*layers, nn.Linear(self.hidden, width - AUS))

    def forward(self, aus: torch.Tensor) -> torch.Tensor:
        return _beside_raw(aus.to(self.mlp[0].weight.dtype), self.mlp, 0)


class IndividualMLP(nn.Module):
    """individual_mlp: a Linear 1 → width for each AU and one Linear 12 → width for their interaction, summed
    (the paper says one MLP an AU plus an interaction MLP; that they are linear and summed is our reading).
    """

    def __init__(self, width: int):
        super().__init__()
        self.individual = nn.ModuleList(nn.Linear(1, width) for _ in range(AUS))
        self.interaction = nn.Linear(AUS, width)

    def forward(self, aus: torch.Tensor) -> torch.Tensor:
        aus = aus.to(self.interaction.weight.dtype)
        alone = [layer(aus[:, place : place + 1]) for place, layer in enumerate(self.individual)]
        return (self.interaction(aus) + torch.stack(alone).sum(dim=0)).unsqueeze(1)


def _beside_raw(aus: torch.Tensor, projection: nn.Module, padding: int) -> torch.Tensor:
    projected = projection(aus)
    return nn.functional.pad(torch.cat([aus.to(projected.dtype), projected], dim=-1), (0, padding)).unsqueeze(
        1
    )
