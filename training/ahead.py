"""The next step's samples, made ready while a step is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """What `make` makes of the steps before `end`, asked for in their order: a thread makes the next one.

    `make` gives the same for the same step whenever it is called. What it raises is raised where its step is
    asked for.
    """

    def __init__(self, make: Callable[[int], Made], end: int):
        self._make, self._end = make, end
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._coming: tuple[int, Future[Made]] | None = None

    def at(self, step: int) -> Made:
        """What `make` makes of `step`; that of the next one is begun."""
        if self._coming is not None and self._coming[0] == step:
            future = self._coming[1]
        else:
            future = self._thread.submit(self._make, step)
        made, then = future.result(), step + 1
        self._coming = (then, self._thread.submit(self._make, then)) if then < self._end else None
        return made


def pinned(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`tensor` where a GPU can fetch it without the processor's waiting for it; as it is for a CPU."""
    return tensor.pin_memory() if device.type == "cuda" else tensor
