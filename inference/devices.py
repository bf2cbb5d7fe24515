"""Where a model runs and in which number format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

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


def fitting(picture_bytes: int, device: torch.device, most: int = 256, without_accelerator: int = 16) -> int:
    """The largest power of two, at most `most`, of pictures of `picture_bytes` that the accelerator's free
    memory holds; a fixed number on the CPU, where a larger batch gains nothing.
    """
    import torch

    if device.type != "cuda":
        return without_accelerator
    free, _ = torch.cuda.mem_get_info(device)
    return 1 << (max(1, min(most, free // picture_bytes)).bit_length() - 1)


def halving(
    read: Callable[[Sequence[Any]], list[Any]], pictures: Sequence[Any], batch_size: int
) -> tuple[list[Any], int]:
    """`read` over `pictures` in batches, halved whenever the accelerator's memory runs out: the answers in
    order, and the batch size that fitted. Raises torch.OutOfMemoryError if not even one picture fits.
    """
    import torch

    answers: list[Any] = []
    while len(answers) < len(pictures):
        try:
            answers += read(pictures[len(answers) : len(answers) + batch_size])
            continue
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
        # Out of the except clause: its traceback keeps the batch's tensors alive.
        batch_size //= 2
        torch.cuda.empty_cache()
    return answers, batch_size
