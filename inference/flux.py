"""FLUX with action units, as far as it goes: drawing. Installation, saving and loading are
`inference.adapter`'s; `training` does not know FLUX (it denoises as DDPM does, FLUX matches flows).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxPipeline

from inference import adapter as au_adapter
from inference.pipeline import ActionUnits, adapter_folder, au_vectors, count_prompts, one_an_image


class FineFaceFluxPipeline(FluxPipeline):
    """FLUX that takes one vector of AU intensities a prompt.

    >>> pipe = FineFaceFluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", adapter="adapters/flux")
    >>> pipe("A young man in a park", aus={"AU6": 3, "AU12": 4.5}).images[0]
    """

    @classmethod
    def from_pretrained(cls, base: str | Path, adapter: str | Path | None = None, **kwargs):
        """As in diffusers, with the saved `adapter`, a folder or an id on the hub. Raises AdapterError."""
        pipe = super().from_pretrained(base, **kwargs)
        if adapter is not None:
            pipe.load_adapter(adapter)
        return pipe

    def load_adapter(self, adapter: str | Path) -> None:
        """Install the saved `adapter`; see `inference.adapter.load`."""
        au_adapter.load(self.transformer, adapter_folder(adapter))

    def __call__(
        self,
        prompt: str | list[str] | None = None,
        *args,
        aus: Sequence[ActionUnits] | ActionUnits | torch.Tensor = None,
        au_scale: float = 1.0,
        **kwargs,
    ):
        """Sample an image a prompt, under the AUs of its row, as `inference.pipeline.FineFacePipeline` does.

        FLUX's own guidance is one of its inputs; with `true_cfg_scale` there is a negative branch, of AUs 0.
        Raises ValueError for AUs without an adapter, and for image prompts.
        """
        for name in ("ip_adapter_image", "ip_adapter_image_embeds"):
            if kwargs.get(name) is not None:
                raise ValueError(f"{name}: on FLUX the action units are the only condition beside the text")
        if au_adapter.installed(self.transformer) is None:
            if aus is not None:
                raise ValueError("aus were given, but no adapter is loaded: from_pretrained(base, adapter=…)")
            return super().__call__(prompt, *args, **kwargs)
        rows = count_prompts(prompt, kwargs.get("prompt_embeds"))
        vectors = au_vectors(aus, rows).to(self._execution_device, self.transformer.dtype).unsqueeze(1)
        au_adapter.set_scale(self.transformer, au_scale)
        both: dict[str, Any] = {
            "ip_adapter_image_embeds": [vectors],
            "negative_ip_adapter_image_embeds": [torch.zeros_like(vectors)],
        }
        return super().__call__(prompt, *args, **kwargs, **both)

    def prepare_ip_adapter_image_embeds(
        self, ip_adapter_image, ip_adapter_image_embeds, device, num_images_per_prompt
    ):
        """One row of AUs an image; the parent would repeat all rows for every image."""
        return [one_an_image(rows, num_images_per_prompt).to(device) for rows in ip_adapter_image_embeds]

    def load_ip_adapter(self, *args, **kwargs):
        """As in diffusers; ValueError with an adapter, which it would destroy."""
        if au_adapter.installed(self.transformer) is not None:
            raise ValueError("load_ip_adapter cannot be used with an adapter installed, on FLUX")
        super().load_ip_adapter(*args, **kwargs)
