"""`EditingModel`: what an editing method is to those who train it and edit with it, and the adversarial step
that the methods share. Data, optimisers and gradients' exchange are `training.editing`'s.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import mse_loss

from facs import MAXIMUM
from methods.editing.critic import Critic
from methods.editing.losses import gradient_penalty
from methods.editing.settings import AdversarialSettings
from methods.model import MethodError
from settings.base import identity

WEIGHTS, RECORD = "generator.safetensors", "editor.json"
GENERATOR, CRITIC = "generator", "critic"

Trained = TypeVar("Trained", bound=AdversarialSettings)
Update = Callable[[str, torch.Tensor], None]
"""Takes one optimiser's step (GENERATOR's or CRITIC's) down the gradient of a loss."""


@dataclass
class Faces:
    """One process's n samples of a step, on its device.

    pictures [n, 3, size, size] in -1…1; source, target [n, 12]: intensities 0-5 that they show, and that they
    are to show; jitter [n, 2, 12] in -1…1 and mix [n] in 0…1: uniform noise, a sample its own.
    """

    pictures: torch.Tensor
    source: torch.Tensor
    target: torch.Tensor
    jitter: torch.Tensor
    mix: torch.Tensor


class Edited(NamedTuple):
    """Pictures [n, 3, h, w] in -1…1, and how much of each pixel is kept of the source, [n, 1, h, w] in 0…1;
    None for a method without an attention mask."""

    pictures: torch.Tensor
    kept: torch.Tensor | None = None


class EditingModel(ABC, Generic[Trained]):
    """A generator, and the critic that it is trained by; both drawn from the seed of `settings`."""

    biased_critic = False

    def __init__(self, settings: Trained):
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.generator = self.build()
            self.critic = self.build_critic()

    @property
    def nets(self) -> dict[str, nn.Module]:
        """What is trained."""
        return {GENERATOR: self.generator, CRITIC: self.critic}

    @abstractmethod
    def build(self) -> nn.Module:
        """The untrained generator."""

    def build_critic(self) -> nn.Module:
        """The untrained critic: pictures → scores and action units, as `Critic` gives them."""
        return Critic(self.settings.size, self.settings.channels, self.biased_critic)

    def target_weights(self, aus: torch.Tensor) -> torch.Tensor | None:
        """How often each of the samples `aus` [N, 12], 0-5, is the target of another, [N]; None: equally."""
        return None

    @abstractmethod
    def generate(self, pictures: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> Edited:
        """`pictures` changed from the action units `source` to `target`, [n, 12] in 0…1."""

    @abstractmethod
    def generator_losses(
        self, pictures: torch.Tensor, source: torch.Tensor, target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """The weighted terms that the generator brings down, by name, among them "adversarial"."""

    def conditions(self, faces: Faces) -> tuple[torch.Tensor, torch.Tensor]:
        """Source and target action units as the nets are trained with them, in 0…1."""
        return faces.source / MAXIMUM, faces.target / MAXIMUM

    def unmasking(self, real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        """What the critic brings down, of its scores of real and edited pictures: WGAN's difference."""
        return made.mean() - real.mean()

    def deceiving(self, made: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        """What the generator brings down, of the scores of its edits of `pictures`: WGAN's."""
        return -made.mean()

    def step(self, step: int, faces: Faces, update: Update) -> torch.Tensor:
        """Step `step` (from 0): the critic's (`unmasking`, and the action units of real pictures), then its
        penalty as a step of its own, then, at its turn, the generator's.

        Returns the weighted error of the action units that the critic reads off the edited pictures.
        """
        settings, pictures = self.settings, faces.pictures
        source, target = self.conditions(faces)
        with torch.no_grad():
            made = self.generate(pictures, source, target).pictures
        real_score, real_aus = self.critic(pictures)
        made_score, made_aus = self.critic(made)
        unmasked = self.unmasking(real_score, made_score)
        update(CRITIC, unmasked + settings.au_weight * mse_loss(real_aus, source))
        penalty = gradient_penalty(lambda one: self.critic(one)[0], pictures, made, faces.mix)
        update(CRITIC, settings.penalty_weight * penalty)
        if settings.updates_generator(step):
            losses = self.generator_losses(pictures, source, target)
            update(GENERATOR, torch.stack([*losses.values()]).sum())
        return settings.au_weight * mse_loss(made_aus.detach(), target)

    @torch.no_grad()
    def errors(self, faces: Faces) -> torch.Tensor:
        """What the generator brings down, but for the adversarial term: a number, the mean over `faces`."""
        losses = self.generator_losses(faces.pictures, faces.source / MAXIMUM, faces.target / MAXIMUM)
        return torch.stack([loss for name, loss in losses.items() if name != "adversarial"]).sum()

    @torch.no_grad()
    def edit(self, pictures: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> Edited:
        """`pictures` [n, 3, size, size] in -1…1 from the intensities `source` to `target`, [n, 12], 0-5."""
        return self.generate(pictures, source / MAXIMUM, target / MAXIMUM)

    def save(self, folder: Path) -> None:
        """Write the generator into the new `folder`; the critic is of no use to who edits."""
        folder.mkdir(parents=True)
        tensors = {
            name: value.detach().cpu().contiguous() for name, value in self.generator.state_dict().items()
        }
        save_file(tensors, folder / WEIGHTS)
        record = {"version": self.settings.code_version, "settings": identity(self.settings)}
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Put the generator saved in `folder` into this model, frozen. Raises MethodError for what is no
        editor, or one of other settings."""
        try:
            record: Mapping[str, object] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            tensors = load_file(folder / WEIGHTS)
        except (OSError, ValueError, SafetensorError) as error:
            raise MethodError(f"{folder} holds no editor: {error}") from error
        if record.get("settings") != json.loads(json.dumps(identity(self.settings))):
            raise MethodError(f"the editor in {folder} was trained with other settings: see its {RECORD}")
        self.generator.load_state_dict(tensors)
        self.generator.requires_grad_(False).eval()
