"""Where a model runs and in which number format."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)
"""Heard by whoever asks a model: a run, or a worker."""

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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the accelerator's or the machine's; torch has a class for some of it only."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(said in str(error) for said in OUT_OF_MEMORY)
    )


OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")


def release() -> None:
    """Give the accelerator back what nothing holds any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halving(
    read: Callable[[Sequence[Any]], Sequence[Any]], inputs: Sequence[Any], batch_size: int
) -> tuple[list[Any], int]:
    """`read` over `inputs` in batches, halved whenever memory runs out: the answers in order, and the batch
    size that fitted. Raises MemoryError if not even one fits.
    """
    answers: list[Any] = []
    while len(answers) < len(inputs):
        batch = inputs[len(answers) : len(answers) + batch_size]
        try:
            answers.extend(read(batch))
            continue
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise MemoryError(
                    f"out of memory with one at a time, the least there is ({_first_line(error)}): "
                    "precision: bfloat16, a smaller model or more memory is what is left"
                ) from error
        # Out of the except clause: its traceback keeps the batch's tensors alive.
        batch_size = len(batch) // 2
        release()
        log.warning(f"out of memory with {len(batch)} at once: {batch_size} at once from now on")
    return answers, batch_size


def in_fitting_batches(
    read: Callable[[Sequence[Any]], Sequence[Any]], batch_size: int
) -> Callable[[Sequence[Any]], list[Any]]:
    """`read` for any number of inputs, by `halving`, which starts from what fitted before."""
    fits = batch_size

    def answers(inputs: Sequence[Any]) -> list[Any]:
        nonlocal fits
        found, fits = halving(read, inputs, fits)
        return found

    return answers


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
