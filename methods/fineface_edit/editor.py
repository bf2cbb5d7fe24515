"""`fineface_edit`: DDIM inversion of a picture, two ways back, and their difference within the face."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import methods.registry
from inference import images
from inference.faces import Outlines, inside
from inference.generation import Generator
from methods.editing.editor import Material, Vectors
from methods.fineface_edit.settings import FineFaceEditTrain
from settings.base import identity
from store.hashing import fingerprint

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from inference.pipeline import FineFacePipeline

CODE_VERSION = "1"
SOFT = 0.04
"""Of the side: how far the border of what may change fades."""


class Asked(NamedTuple):
    """What the network is told of n pictures beside latents and time."""

    text: torch.Tensor
    aus: torch.Tensor
    added: dict[str, torch.Tensor]


class Inverting:
    """The base with an experiment's adapter.

    The picture is inverted by DDIM with the action units that it shows, through `depth` of the diffusion. Two
    ways lead back: with the same action units, and with the target's, whose difference to those counts
    `guidance` times at every step. What the pictures at their ends differ by is added to the source within
    the face, so that no change changes nothing, and what inversion and VAE lose is not lost.
    """

    def __init__(self, settings: FineFaceEditTrain, material: Material):
        adapter, base = material.adapter, material.base
        if adapter is None or base is None or material.folder is None or material.model_hash is None:
            raise ValueError(f"{settings.method} edits by an experiment's trained model in its base")
        self.settings, self._adapter = settings, adapter
        self.size, self.batch_size = settings.size, material.batch_size
        self._generator = Generator(
            base.model,
            base.revision,
            install=partial(methods.registry.load, settings=adapter, folder=material.folder),
            model_hash=material.model_hash,
            size=settings.size,
            steps=settings.steps,
            scheduler="ddim",
            precision=base.precision,
            device=material.device,
        )
        self._outlines = Outlines(material.faces)
        self._known: dict[bytes, torch.Tensor] = {}

    @property
    def name(self) -> str:
        """The method."""
        return self.settings.method

    @cached_property
    def fingerprint(self) -> str:
        """Hash of base, adapter, settings, and of what outlines faces. Loads no model."""
        return fingerprint(
            kind="fineface_edit",
            code=CODE_VERSION,
            generator=self._generator.fingerprint,
            settings=identity(self.settings),
            outlines=self._outlines.fingerprint,
        )

    def edit(
        self, pictures: Sequence[Image.Image], source: Vectors, target: Vectors
    ) -> list[tuple[Image.Image, float | None]]:
        """Each picture, made square of `size`, from the intensities `source` to `target`; what is kept of it
        lies outside of the face. Where no face is found, all may change."""
        import torch
        from PIL import Image

        squares = [images.resized(picture, self.size) for picture in pictures]
        pixels = torch.from_numpy(images.as_array(squares)).permute(0, 3, 1, 2).float()
        within = torch.stack(self._faces(squares))
        with torch.inference_mode():
            difference = self._difference(pixels / 127.5 - 1, source, target)
        shown = (pixels + 127.5 * within[:, None] * difference).round().clamp(0, 255).byte()
        kept = (1 - within).flatten(1).mean(dim=1).tolist()
        made = [Image.fromarray(one) for one in shown.permute(0, 2, 3, 1).numpy()]
        return list(zip(made, kept, strict=True))

    def _difference(self, pixels: torch.Tensor, source: Vectors, target: Vectors) -> torch.Tensor:
        """What the target's AUs change in `pixels` [n, 3, size, size] in -1…1, in the same terms."""
        from diffusers import DDIMInverseScheduler, DDIMScheduler

        pipe, steps = self._generator.pipe, self.settings.steps
        vae, like = pipe.vae, {"clip_sample": False, "timestep_spacing": "leading"}
        back = DDIMScheduler.from_config(pipe.scheduler.config, **like)
        shared = set(inspect.signature(DDIMInverseScheduler.__init__).parameters) & set(back.config)
        there = DDIMInverseScheduler(**{name: back.config[name] for name in shared})
        for scheduler in (back, there):
            scheduler.set_timesteps(steps)
        taken = max(1, round(self.settings.depth * steps))
        encoded = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mean
        latents = encoded * vae.config.scaling_factor
        shown, wanted = (self._asked(pipe, aus, latents) for aus in (source, target))
        for time in there.timesteps[:taken]:
            latents = there.step(self._answer(pipe, latents, time, shown), time, latents).prev_sample
        same, other = latents, latents
        for time in back.timesteps[-taken:]:
            as_it_is = self._answer(pipe, other, time, shown)
            step = as_it_is + self.settings.guidance * (self._answer(pipe, other, time, wanted) - as_it_is)
            same = back.step(self._answer(pipe, same, time, shown), time, same).prev_sample
            other = back.step(step, time, other).prev_sample
        plain, edited = (vae.decode(one / vae.config.scaling_factor).sample for one in (same, other))
        return (edited - plain).float().cpu()

    def _asked(self, pipe: FineFacePipeline, aus: Vectors, latents: torch.Tensor) -> Asked:
        """The prompt with `aus`, as the adapter's method words them."""
        import torch

        from inference import texts

        word = methods.registry.wording(self._adapter)
        worded = word([self.settings.prompt] * len(aus), aus)
        said = texts.encode(pipe, worded.prompts, latents.device)
        vectors = [[0.0] * len(row) for row in aus] if worded.aus is None else worded.aus
        told = torch.tensor([list(row) for row in vectors], device=latents.device, dtype=latents.dtype)
        return Asked(said.tokens, told, texts.added_conditions(pipe, said, latents.shape[-2:]))

    def _answer(
        self, pipe: FineFacePipeline, latents: torch.Tensor, time: torch.Tensor, asked: Asked
    ) -> torch.Tensor:
        from methods.model import Batch

        times = time.to(latents.device).expand(len(latents))
        batch = Batch(latents, latents, times, asked.text, asked.aus, asked.added)
        answer: torch.Tensor = self._model.predict(pipe.unet, latents, batch)
        return answer

    @cached_property
    def _model(self) -> Any:
        return methods.registry.get(self._adapter.method).trained_model(self._adapter)

    def _faces(self, squares: Sequence[Image.Image]) -> list[torch.Tensor]:
        """`_within` of each; the same picture, which comes under many requests, is looked at once."""
        contents = [square.tobytes() for square in squares]
        new = {one: square for one, square in zip(contents, squares, strict=True) if one not in self._known}
        traced = self._outlines.trace(list(new.values())) if new else []
        here = {one: self._known[one] for one in contents if one in self._known}
        self._known = here | {one: self._within(found) for one, found in zip(new, traced, strict=True)}
        return [self._known[one] for one in contents]

    def _within(self, outline: list[float] | None) -> torch.Tensor:
        """Where the face is that has `outline`, grown by `reach`, softly: [size, size] in 0…1."""
        import numpy as np
        import torch
        from PIL import Image, ImageFilter

        if outline is None:
            return torch.ones(self.size, self.size)
        points = np.array(outline).reshape(-1, 2)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        grown = middle + self.settings.reach * (points - middle)
        hard = Image.fromarray(inside(grown.flatten().tolist(), self.size).astype(np.uint8) * 255)
        soft = hard.filter(ImageFilter.GaussianBlur(SOFT * self.size))
        return torch.from_numpy(np.asarray(soft, dtype=np.float32) / 255)
