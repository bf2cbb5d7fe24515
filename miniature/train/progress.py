"""What the trainings of the tiny models share: descent, progress lines and atomic checkpoints."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path


class Progress:
    """Iterates over the steps from `first` to `steps`, printing smoothed loss, speed and time left."""

    def __init__(self, name: str, steps: int, first: int = 0, every: int = 50, quiet: bool = False):
        self.name, self.steps, self.first, self.every, self.quiet = name, steps, first, every, quiet
        self.loss: float | None = None
        self.step = first

    def __iter__(self) -> Iterator[int]:
        self.began = time.monotonic()
        for step in range(self.first, self.steps):
            self.step = step
            yield step

    def log(self, loss: float) -> None:
        """Take one step's loss into the running mean; print every few steps."""
        self.loss = loss if self.loss is None else 0.98 * self.loss + 0.02 * loss
        done = self.step + 1 - self.first
        if not self.quiet and (self.step + 1) % self.every == 0:
            seconds = time.monotonic() - self.began
            left = seconds / done * (self.steps - self.step - 1)
            print(
                f"{self.name} {self.step + 1}/{self.steps} loss {self.loss:.4f} "
                f"{seconds:.0f} s, {left / 60:.1f} min left",
                flush=True,
            )


class Checkpoint:
    """State dictionaries of several objects and the next step, in one file that is replaced atomically."""

    def __init__(self, path: Path, parts: dict, every: int = 200):
        self.path, self.parts, self.every = path, parts, every

    def due(self, step: int) -> bool:
        return (step + 1) % self.every == 0

    def save(self, next_step: int) -> None:
        import torch

        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(
            {"next_step": next_step, **{name: part.state_dict() for name, part in self.parts.items()}},
            partial,
        )
        os.replace(partial, self.path)

    def restore(self) -> int:
        """Load the parts if a checkpoint exists; the step to go on from, 0 without one."""
        import torch

        if not self.path.exists():
            return 0
        state = torch.load(self.path, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return state["next_step"]


class Descent:
    """The steps of a training in one process: iterate over them and `descend` once in each.

    AdamW with one cycle of the learning rate. Goes on from the checkpoint at `path`, whose stem is the name
    on the progress lines.
    """

    def __init__(
        self,
        path: Path,
        steps: int,
        model,
        parameters: Iterable,
        learning_rate: float,
        *,
        clip: float = math.inf,
        warm_up: float = 0.05,
        **adam,
    ):
        import torch

        self.parameters, self.clip = list(parameters), clip
        self.optimiser = torch.optim.AdamW(self.parameters, learning_rate, **adam)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, learning_rate, total_steps=steps, pct_start=warm_up
        )
        parts = {"model": model, "optimiser": self.optimiser, "schedule": self.schedule}
        self.checkpoint = Checkpoint(path, parts)
        self.progress = Progress(path.stem, steps, self.checkpoint.restore())

    def __iter__(self) -> Iterator[int]:
        return iter(self.progress)

    def descend(self, loss) -> None:
        """One optimiser step on `loss`."""
        import torch

        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimiser.step()
        self.schedule.step()
        self.progress.log(loss.item())
        if self.checkpoint.due(self.progress.step):
            self.checkpoint.save(self.progress.step + 1)
