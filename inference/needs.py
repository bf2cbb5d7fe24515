"""What has to be there before anything is computed: files, packages, memory, disk; and the way to get them.

Providers say theirs by `needs()`, stages in `assets.needs`; `pipelines.preflight` gathers them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from inference import devices, weights

LARGE = 1 << 30
"""Bytes of weights from which on memory is looked at: finding an accelerator takes seconds."""
GB = 1e9
HUB_SECONDS = 5.0
MODEL_PARTS = ("",)


class Need(NamedTuple):
    """One thing that must be there.

    problem: what is wrong with it, empty if nothing is. how: the way to get it. blocks: whether a stage fails
    without it; if not, it is worth knowing. disk: what will be written, the folder, and how many bytes.
    """

    what: str = ""
    problem: str = ""
    how: str = ""
    blocks: bool = True
    disk: tuple[str, Path, int] | None = None


def disk(what: str, folder: Path, size: int) -> Need:
    """Room for `size` bytes of `what` below `folder`; whether there is enough shows when all is added up."""
    return Need(disk=(what, folder, size))


def package(name: str, install: str) -> Need:
    """The Python package `name`, which `install` brings."""
    return Need(f"the package {name}", "" if find_spec(name) else "is not installed", install)


def model(
    name: str, revision: str | None = None, precision: str = "float32", parts: Sequence[str] = MODEL_PARTS
) -> Iterator[Need]:
    """The weights `name`, a folder or a hub id, that they are pinned, and the memory for them.

    parts: the subfolders of a pipeline's models. What a folder or the hub's cache holds is looked at, no
    weights are read; what is not there yet is asked of the hub, for its size.
    """
    what = f"the model {name}"
    try:
        local = weights.is_local(name)
        folder = Path(name).expanduser().resolve() if local else weights.cached(name, revision)
    except weights.ModelNotFound as error:
        yield Need(
            what, str(error), "name a folder of a saved model, or a model's id on the Hugging Face hub"
        )
        return
    lacking = [part for part in parts if folder is None or not weights.complete(folder / part)]
    if local and lacking:
        where = ", ".join(str(Path(folder or "", part)) for part in lacking)
        yield Need(what, f"{where} lacks config.json or some of its safetensors", "save the model there anew")
        return
    if not local:
        yield _pinned(name, revision, folder)
    if folder is None or lacking:
        yield _fetchable(name, revision)
        return
    yield Need(what)
    yield from memory(what, sum(weights.parameters(folder / part) for part in parts), precision)


def memory(what: str, parameters: int, precision: str) -> Iterator[Need]:
    """Memory for so many parameters, on the accelerator if there is one, else the machine's own; small models
    always have it.
    """
    size = parameters * (4 if precision == "float32" else 2)
    if size < LARGE:
        return
    where, there = _memory()
    problem = "" if size <= there else f"takes {size / GB:.1f} GB, {where} has {there / GB:.1f} GB"
    how = "a smaller model or precision: bfloat16 takes half of float32; or a machine with more"
    yield Need(f"memory for {what}", problem, how)


def base(name: str, revision: str | None, size: int, precision: str) -> Iterator[Need]:
    """A Stable Diffusion base whose parts fit each other and pictures of `size` pixels."""
    what, how = f"a base that fits: {name}", "choose another base.model, or another base.size"
    try:
        folder = Path(name).expanduser() if weights.is_local(name) else weights.cached(name, revision)
        parts = [] if folder is None else weights.pipeline_parts(folder).models
    except weights.ModelNotFound as error:
        if weights.is_local(name):
            yield Need(f"the model {name}", str(error), how)
            return
        folder, parts = None, []
    said = list(model(name, revision, precision, parts or MODEL_PARTS))
    yield from said
    if Need(f"the model {name}") not in said or folder is None:
        return
    if "unet" not in parts:
        yield Need(what, f"it has no UNet ({', '.join(parts)}), which the adapter joins", how)
        return
    unet, vae = (_config(folder / part) for part in ("unet", "vae"))
    texts = [_config(folder / part)["hidden_size"] for part in parts if part.startswith("text_encoder")]
    step = 2 ** (len(vae["block_out_channels"]) - 1) * 2 ** (len(unet["block_out_channels"]) - 1)
    if unet["cross_attention_dim"] != sum(texts):
        problem = (
            f"its unet reads texts of width {unet['cross_attention_dim']}, its text encoders write "
            f"{' + '.join(map(str, texts))}"
        )
    elif unet["in_channels"] != vae["latent_channels"]:
        problem = f"its unet takes {unet['in_channels']} channels, its vae makes {vae['latent_channels']}"
    elif size % step:
        problem = f"base.size {size} is no multiple of {step}"
    else:
        problem = ""
    yield Need(what, problem, how)


def _config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def _memory() -> tuple[str, int]:
    import psutil
    import torch

    if devices.pick().type == "cuda":
        return "the accelerator", torch.cuda.mem_get_info()[1]
    return "this machine", psutil.virtual_memory().total


def _pinned(name: str, revision: str | None, folder: Path | None) -> Need:
    """Whether a hub id says which commit of it is meant: without, tomorrow's run may get another model."""
    what = f"the revision of {name}"
    if revision is not None:
        return Need(what)
    latest = weights.commit(folder) if folder is not None else None
    if latest is None and isinstance(found := _on_the_hub(name, None), dict):
        latest = found["commit"]
    how = f"add revision: {latest}" if latest else "add the commit that its page on the hub shows"
    return Need(what, "is not said: the hub's latest is taken", how, blocks=False)


def _fetchable(name: str, revision: str | None) -> Need:
    """A model that is not here yet: how large it is on the hub, or why it cannot be had from here."""
    what, at = f"the model {name}", f" --revision {revision}" if revision else ""
    found = _on_the_hub(name, revision)
    if isinstance(found, str):
        return Need(
            what,
            f"is not in the hub's cache {_cache()}, and cannot be fetched: {found}",
            f"hf download {name}{at}; where there is no network, bring that cache along, or name a folder",
        )
    return Need(f"{what} (fetched by the run)", disk=(what, _cache(), found["bytes"]))


def _cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


@lru_cache(maxsize=64)
def _on_the_hub(name: str, revision: str | None) -> dict[str, Any] | str:
    """The model's `commit` and the `bytes` of the files that count, as the hub says; else why it does not."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if (down := _unreachable()) is not None:
        return down
    try:
        info = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=HUB_SECONDS)
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except HfHubHTTPError as error:
        return str(error).strip().splitlines()[-1]
    except Exception as error:  # the hub's client raises a dozen kinds
        return f"{type(error).__name__}: {error}"
    counted = [file for file in info.siblings or [] if weights.counts(file.rfilename)]
    return {"commit": info.sha, "bytes": sum(file.size or 0 for file in counted)}


@lru_cache(maxsize=1)
def _unreachable() -> str | None:
    """Why the hub does not answer at all, asked once; None if it does."""
    import os
    import socket
    from urllib.parse import urlsplit

    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    place = urlsplit(ENDPOINT)
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return None  # only the proxy can say
    try:
        port = place.port or (443 if place.scheme == "https" else 80)
        socket.create_connection((place.hostname or "", port), HUB_SECONDS).close()
    except OSError as error:
        return f"{ENDPOINT} does not answer ({error})"
    return None
