"""Training an editing method on pictures: its data, its optimisers, their gradients. What a step is, is the
method's own; the loop is `training.loop`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from PIL import Image

import facs
from methods.editing.model import EditingModel, Faces
from methods.editing.settings import AdversarialSettings
from methods.model import MethodError
from training import sheets
from training.ahead import Ahead, pinned
from training.job import HELD_OUT_FILE, SAMPLES_FILE, JobError, TrainingJob
from training.pictures import Pictures
from training.task import Exchange, Task, mean_of_all

BETAS = (0.5, 0.999)
SHOWN = 6
"""People on a sheet."""


class Editing(Task):
    """Generator and critic of `model`, each with an Adam of its own. Raises JobError where its data do not
    serve."""

    samples: Pictures

    def __init__(self, job: TrainingJob, model: EditingModel[Any], accelerator: Accelerator):
        assert isinstance(job.loop, AdversarialSettings)
        self._settings, self._model, self._accelerator = job.loop, model, accelerator
        folder = Path(job.dataset)
        self.samples = Pictures(folder / SAMPLES_FILE, self._settings, model.target_weights)
        there = self._settings.validate_every > 0 and (folder / HELD_OUT_FILE).is_file()
        self._held_out = Pictures(folder / HELD_OUT_FILE, self._settings) if there else None
        self._ahead = Ahead(self._read, self._settings.steps)
        nets = {name: net.to(accelerator.device) for name, net in model.nets.items()}
        self._trained = {name: list(net.parameters()) for name, net in nets.items()}
        self.parameters = {
            f"{name}.{part}": parameter
            for name, net in nets.items()
            for part, parameter in net.named_parameters()
        }
        self.optimisers = {
            name: torch.optim.Adam(trained, lr=self._settings.learning_rate, betas=BETAS)
            for name, trained in self._trained.items()
        }

    def _read(self, step: int) -> Faces:
        rank, world = self._accelerator.process_index, self._accelerator.num_processes
        faces = self.samples.batch(step, rank, world)
        return Faces(*(pinned(value, self._accelerator.device) for value in vars(faces).values()))

    @property
    def watched(self) -> bool:
        """Whether there are held-out samples to be asked."""
        return self._held_out is not None

    def step(self, step: int, exchange: Exchange) -> torch.Tensor:
        """The method's step. Raises JobError for what the method says cannot go on."""
        faces = _moved(self._ahead.at(step), self._accelerator.device)

        def update(name: str, loss: torch.Tensor) -> None:
            trained, optimiser = self._trained[name], self.optimisers[name]
            gradients = torch.autograd.grad(loss, trained, allow_unused=True)
            for parameter, gradient in zip(trained, gradients, strict=True):
                parameter.grad = gradient
            exchange.mean(trained)
            for group in optimiser.param_groups:
                group["lr"] = self._settings.learning_rate_at(step)
            optimiser.step()

        try:
            return self._model.step(step, faces, update)
        except MethodError as error:
            raise JobError(f"step {step + 1}: {error}") from error

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """The mean of what the generator brings down, but for the adversarial term."""
        assert self._held_out is not None
        device, rank = self._accelerator.device, self._accelerator.process_index
        held_out = self._held_out.held_out(rank, self._accelerator.num_processes)
        counted = ((_moved(faces, device), len(faces.pictures)) for faces in held_out)
        errors = ((self._model.errors(faces) * count, count) for faces, count in counted)
        return mean_of_all(self._accelerator, errors)

    def sheet(self) -> Image.Image:
        """Some people: as they are, with no change, and under the expressions of `sheets.COLUMNS`."""
        data = self._held_out or self.samples
        count = min(SHOWN, len(data))
        device = self._accelerator.device
        pictures = torch.stack(data.opened(range(count))).to(device)
        source = data.aus[:count].to(device)
        columns = [source, *(torch.tensor([facs.parse(aus)] * count).to(device) for aus in sheets.COLUMNS)]
        shown = [pictures, *(self._model.edit(pictures, source, target).pictures for target in columns)]
        return _grid(shown)

    def save(self, folder: Path) -> None:
        """As the method saves it."""
        self._model.save(folder)


def _moved(faces: Faces, device: torch.device) -> Faces:
    return Faces(*(value.to(device, non_blocking=True) for value in vars(faces).values()))


def _grid(columns: Sequence[torch.Tensor]) -> Image.Image:
    """A row a picture, a column an entry of `columns`, each [n, 3, s, s] in -1…1."""
    pixels = (torch.stack([*columns], dim=1).clamp(-1, 1) * 127.5 + 127.5).round().byte().cpu()
    rows, across, _, side, _ = pixels.shape
    joined = pixels.permute(0, 3, 1, 4, 2).reshape(rows * side, across * side, 3)
    return Image.fromarray(joined.numpy())
