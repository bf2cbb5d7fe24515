"""Where a model runs and in which number format."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PRECISIONS = ("float32", "bfloat16", "float16")


def pick(device: str = "auto") -> torch.device:
    """The torch device named; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises ValueError when the device named is not there, so that a run does not fall back to the CPU unseen.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    chosen = torch.device(device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: torch {torch.__version__} sees no CUDA device")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {device!r}: torch {torch.__version__} sees no MPS device")
    return chosen


def check_precision(precision: str) -> str:
    """`precision` itself if it is one of PRECISIONS, else ValueError. Needs no torch."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    return precision


def dtype(precision: str) -> torch.dtype:
    """The torch dtype of a precision named in a profile."""
    import torch

    return getattr(torch, check_precision(precision))
