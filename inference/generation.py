"""Pictures from requests: a base, maybe a trained model in it, and one prompt, AU vector and seed a picture.

Which pictures are wanted is the protocol's business, whether they are known already the memo's.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference import devices, weights
from store.hashing import fingerprint

if TYPE_CHECKING:
    from PIL import Image

    from inference.pipeline import FineFacePipeline

CODE_VERSION = "3"

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "dpm": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "pndm": "PNDMScheduler",
}
"""Samplers without randomness of their own: the seed's initial noise alone decides."""


class Generator:
    """A Stable Diffusion base (hub id or local folder), untouched or with a trained model in it.

    `install` puts the model into the pipeline, `model_hash` is the hash of its content; `arguments` are what
    the pipeline is called with besides.

    Every picture has a generator of its own, seeded with its own seed, so neither its neighbours in a batch
    nor the order of requests changes it (beyond rounding, about 1e-5 of a latent).
    """

    def __init__(
        self,
        base: str | os.PathLike,
        revision: str | None = None,
        *,
        install: Callable[[FineFacePipeline], None] | None = None,
        model_hash: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        size: int = 512,
        steps: int = 50,
        scheduler: str = "ddim",
        precision: str = "float32",
        batch_size: int = 16,
        device: str = "auto",
    ):
        if scheduler not in SCHEDULERS:
            raise ValueError(f"scheduler {scheduler!r} is not one of {', '.join(SCHEDULERS)}")
        if (install is None) != (model_hash is None):
            raise ValueError("a trained model and the hash of its content go together")
        self.base, self.revision = str(base), revision
        self.install, self.model_hash, self.arguments = install, model_hash, dict(arguments or {})
        self.size, self.steps, self.scheduler = size, steps, scheduler
        self.precision = devices.check_precision(precision)
        self.batch_size, self.device = batch_size, device
        self.calls = 0
        self._loaded: list[FineFacePipeline] = []

    def called_with(self, arguments: Mapping[str, Any]) -> Generator:
        """This generator, its pipeline called with other `arguments`; both share the model that one loads."""
        other = copy.copy(self)
        other.__dict__.pop("fingerprint", None)
        other.arguments = dict(arguments)
        return other

    @cached_property
    def folder(self) -> Path:
        """The base's files on this machine."""
        return base_folder(self.base, self.revision)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides a picture besides its request: base, model, sampler, steps. Loads no
        model.
        """
        return fingerprint(
            kind="generation",
            code=CODE_VERSION,
            base=base_content(self.base, self.revision),
            model=self.model_hash,
            arguments=self.arguments,
            size=self.size,
            steps=self.steps,
            scheduler=self.scheduler,
            precision=self.precision,
        )

    def generate(
        self,
        prompts: Sequence[str],
        aus: Sequence[Sequence[float]] | None,
        seeds: Sequence[int],
        guidance: float,
    ) -> list[Image.Image]:
        """One RGB picture, size × size, a prompt, in order.

        `aus` holds one vector of 12 intensities a prompt (None for words alone), `seeds` one seed a
        prompt, `guidance` is the classifier-free guidance scale of all. Raises ValueError for lists of
        unequal length.
        """
        import torch

        if len(seeds) != len(prompts) or (aus is not None and len(aus) != len(prompts)):
            raise ValueError(
                f"{len(prompts)} prompts, {len(seeds)} seeds, {'no' if aus is None else len(aus)} AUs"
            )
        pictures: list[Image.Image] = []
        for start in range(0, len(prompts), self.batch_size):
            part = slice(start, start + self.batch_size)
            generators = [torch.Generator("cpu").manual_seed(int(seed)) for seed in seeds[part]]
            with torch.inference_mode():
                pictures += self.pipe(
                    list(prompts[part]),
                    aus=None if aus is None else [tuple(vector) for vector in aus[part]],
                    generator=generators,
                    guidance_scale=guidance,
                    num_inference_steps=self.steps,
                    height=self.size,
                    width=self.size,
                    **self.arguments,
                ).images
        self.calls += len(prompts)
        return pictures

    @property
    def pipe(self) -> FineFacePipeline:
        """The base with the model in it, loaded when it is first asked for."""
        if not self._loaded:
            self._loaded.append(self._load())
        return self._loaded[0]

    def _load(self) -> FineFacePipeline:
        import diffusers
        import torch

        from inference.pipeline import FineFacePipeline

        precision = devices.dtype(self.precision)
        pipe = FineFacePipeline.from_pretrained(
            self.folder,
            dtype={"unet": torch.float32, "default": precision},
            use_safetensors=True,
            local_files_only=True,
        )
        scheduler = getattr(diffusers, SCHEDULERS[self.scheduler])
        pipe.scheduler = scheduler.from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        if self.install is not None:
            self.install(pipe)
            if getattr(pipe.unet, "peft_config", None):
                # No other LoRA will be loaded. In float32, whatever the precision: in bfloat16 most of a
                # small update would be rounded back to the weights that it is added to.
                pipe.unet.fuse_lora()
        torch.nn.Module.to(pipe.unet, precision)  # diffusers' own `to` warns of parts that it does not have
        return pipe.to(devices.pick(self.device))


def base_folder(base: str | os.PathLike, revision: str | None = None) -> Path:
    """The local folder of a Stable Diffusion base (a folder or a hub id, then fetched when missing), with all
    the parts that its model_index.json names.

    Raises `inference.weights.ModelNotFound`, naming the base.
    """
    if local := weights.is_local(base):
        root = Path(base).expanduser().resolve()
    else:
        found = weights.cached(str(base), revision)
        there = found is not None and (found / weights.INDEX_FILE).is_file()
        root = found if found and there else weights.fetch(str(base), revision, [weights.INDEX_FILE])
    parts = weights.pipeline_parts(root)
    for part in parts.models:
        weights.resolve(base, revision, subfolder=part)
    if not local and not all((root / part).is_dir() for part in parts.small):
        weights.fetch(str(base), revision, [f"{part}/*" for part in parts.small])
    return root


def base_content(base: str | os.PathLike, revision: str | None = None) -> str:
    """One hash over the files of a Stable Diffusion base, of whatever kind, that decide its pictures."""
    root = base_folder(base, revision)
    parts = weights.pipeline_parts(root)
    return fingerprint(parts={part: weights.content(root / part) for part in (*parts.models, *parts.small)})
