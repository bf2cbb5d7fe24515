"""The small network that reads action units off 64 px faces. Its provider is in `estimator.py`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from facs import ACTION_UNITS, MAXIMUM

DEFAULTS = {"image_size": 64, "widths": (24, 48, 80, 96), "squeeze": 24, "hidden": 128, "dropout": 0.1}


class ConvEstimator(nn.Module):
    """Pictures [N, 3, size, size] in [-1, 1] → [N, 13]: twelve intensities, unclamped, and a "face" logit.

    Three halvings, then a head that keeps the 8×8 grid: where a brow stands is the measurement, so nothing is
    averaged over space. Train it on the squared error of the intensities and the binary cross-entropy of the
    logit; `predict` clamps.
    """

    def __init__(self, **config):
        super().__init__()
        unknown = set(config) - set(DEFAULTS)
        if unknown:
            raise ValueError(f"ConvEstimator does not know {', '.join(sorted(unknown))}")
        self.config = {**DEFAULTS, **config}
        size, widths = self.config["image_size"], tuple(self.config["widths"])
        squeeze = self.config["squeeze"]
        if size % 8:
            raise ValueError(f"image_size {size} is not divisible by 8")
        self.features = nn.Sequential(
            _convolution(3, widths[0], kernel=5, stride=2),
            _Residual(widths[0]),
            _convolution(widths[0], widths[1], stride=2),
            _Residual(widths[1]),
            _convolution(widths[1], widths[2], stride=2),
            _convolution(widths[2], widths[3]),
            _convolution(widths[3], squeeze, kernel=1),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(self.config["dropout"]),
            nn.Linear(squeeze * (size // 8) ** 2, self.config["hidden"]),
            nn.ReLU(inplace=True),
            nn.Linear(self.config["hidden"], len(ACTION_UNITS) + 1),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, 3, size, size] in [-1, 1] → [N, 13]; differentiable, intensities not clamped."""
        return self.head(self.features(pixels)) * (MAXIMUM / 2)

    @torch.inference_mode()
    def predict(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Intensities [N, 12] clamped to 0-5, and whether there is a face [N], bool."""
        out = self(pixels).float()
        return out[:, :-1].clamp(0, MAXIMUM), out[:, -1] >= 0

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write config.json and model.safetensors into `folder`, made if missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        described = {"architecture": type(self).__name__, "action_units": list(ACTION_UNITS), **self.config}
        (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n")
        save_file(
            {name: tensor.contiguous() for name, tensor in self.state_dict().items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> ConvEstimator:
        """The network saved in `folder`, in evaluation mode. ValueError if it holds something else."""
        config = json.loads((Path(folder) / "config.json").read_text())
        architecture, units = config.pop("architecture", None), config.pop("action_units", None)
        if architecture != cls.__name__ or units != list(ACTION_UNITS):
            raise ValueError(f"{folder} holds {architecture} for action units {units}, not a {cls.__name__}")
        net = cls(**config)
        net.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        return net.eval()


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.block = _convolution(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x)
