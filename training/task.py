"""What the loop trains, whatever it is: `Task`. What denoises is in `training.denoising`, what edits pictures
in `training.editing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn

from training.samples import Samples


class Exchange:
    """The gradients of all processes, made one; and whether any of them was asked to stop.

    `stopped` becomes true in every process at the same step.
    """

    def __init__(self, accelerator: Accelerator, asked_to_stop: Callable[[], bool]):
        self._accelerator, self._asked_to_stop = accelerator, asked_to_stop
        self.stopped = False

    def mean(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean gradient, sent as one vector so that the order of sums is always one.
        Every process calls this at the same point of a step, and at least once in it."""
        asked = self._asked_to_stop()
        if self._accelerator.num_processes == 1:
            self.stopped |= asked
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flag = torch.full((1,), float(asked), device=self._accelerator.device)
        sent = torch.cat([*(gradient.flatten() for gradient in gradients), flag])
        *means, stops = self._accelerator.reduce(sent, "mean").split([*(g.numel() for g in gradients), 1])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))
        self.stopped |= stops.item() > 0


def mean_of_all(accelerator: Accelerator, parts: Iterable[tuple[torch.Tensor, int]]) -> float:
    """The mean over the samples of all processes, each of which calls this, from the sum over a part of them
    and how many these are."""
    found = torch.zeros(2, device=accelerator.device)
    for total, count in parts:
        found += torch.stack([total, torch.full((), float(count), device=accelerator.device)])
    total, count = accelerator.reduce(found, "sum").tolist()
    return total / count


class Task(ABC):
    """A method's model in training: its data, its parameters, and what a step of them is.

    samples: what it is trained on, in their order
    parameters: what is trained, by names that do not change
    optimisers: by names that do not change; together they hold all parameters
    """

    samples: Samples
    parameters: Mapping[str, nn.Parameter]
    optimisers: Mapping[str, torch.optim.Optimizer]

    @property
    @abstractmethod
    def watched(self) -> bool:
        """Whether there are held-out samples to be asked."""

    @abstractmethod
    def step(self, step: int, exchange: Exchange) -> torch.Tensor:
        """Take step `step` (from 0) with this process's share of its samples; the loss, detached.

        All randomness comes from the seed and `step`.
        """

    @abstractmethod
    def held_out_loss(self) -> float:
        """The loss on the held-out samples of all processes; every process calls it. Uses up no
        randomness."""

    @abstractmethod
    def sheet(self) -> Image.Image:
        """What the model makes by now, for the eye. Uses up no randomness of the training."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the trained model into `folder`, which is not there yet."""
