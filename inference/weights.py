"""Where a model's files lie and which content they have. No torch: fingerprints must stay cheap."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import NamedTuple

from store.hashing import fingerprint, hash_file

# What decides a model's output. Readmes, pictures and other frameworks' weights do not.
SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".task")
# Second copies of the same weights, never loaded here.
VARIANTS = (".fp16.", ".non_ema.")
INDEX_FILE = "model_index.json"
# Parts of a saved pipeline that are never loaded: they judge pictures, or read those one is prompted with.
NOT_LOADED = ("feature_extractor", "image_encoder", "safety_checker")


class ModelNotFound(FileNotFoundError):
    """The model is neither a local folder nor obtainable from the hub."""


def is_local(model: str | os.PathLike) -> bool:
    """Whether `model` is a folder on this machine; a hub id otherwise."""
    return Path(model).expanduser().is_dir()


def resolve(model: str | os.PathLike, revision: str | None = None, subfolder: str | None = None) -> Path:
    """The local folder holding `model` (a folder or a hub id, then its snapshot, fetched when missing).

    Raises ModelNotFound, naming the model, when it is neither.
    """
    if is_local(model):
        folder = Path(model).expanduser().resolve()
    else:
        folder = _snapshot(str(model), revision, subfolder)
    folder = folder / subfolder if subfolder else folder
    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"{folder} holds no config.json: not a saved model")
    return folder


def name(model: str | os.PathLike, folder: Path) -> str:
    """How tables name the model in `folder`: `id@commit` from the hub, a local folder by its own name."""
    if is_local(model):
        return Path(model).expanduser().resolve().name
    at = commit(folder)
    return f"{model}@{at[:12]}" if at else str(model)


def identity(model: str | os.PathLike, revision: str | None, folder: Path) -> dict[str, str | None]:
    """What a fingerprint says of a model: the hash of its weights and, on the hub, id and revision asked for.

    A local folder's path says nothing: another machine has another.
    """
    return {"weights": content(folder)} | (
        {} if is_local(model) else {"id": str(model), "revision": revision}
    )


def cached(model: str, revision: str | None = None) -> Path | None:
    """The hub's snapshot of `model` that lies in its cache, whole or in part; None if there is none. Raises
    ModelNotFound for what cannot be a hub id.
    """
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
        raise ModelNotFound(f"model folder {model} does not exist")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def counts(path: str) -> bool:
    """Whether the file decides a model's output, or only lies beside those that do."""
    return path.endswith(SUFFIXES) and not any(variant in path for variant in VARIANTS)


def commit(folder: Path) -> str | None:
    """The commit of a hub's snapshot; None for any other folder."""
    return next((part for above, part in pairwise(folder.parts) if above == "snapshots"), None)


def _snapshot(model: str, revision: str | None, subfolder: str | None) -> Path:
    # The cache first: an unchanged run must not need the network.
    if (folder := cached(model, revision)) is not None and complete(folder / (subfolder or "")):
        return folder
    within = f"{subfolder}/" if subfolder else ""
    folder = fetch(model, revision, [f"{within}*{suffix}" for suffix in SUFFIXES])
    if not complete(folder / (subfolder or "")):  # offline, the hub's client hands out what it has
        raise ModelNotFound(f"model {model}: {folder} lacks {within}config.json or some of its safetensors")
    return folder


def fetch(model: str, revision: str | None, patterns: list[str]) -> Path:
    """The hub's snapshot of `model`, its files of these patterns fetched. Raises ModelNotFound."""
    from huggingface_hub import snapshot_download

    ignored = [f"*{variant}*" for variant in VARIANTS]
    try:
        return Path(
            snapshot_download(model, revision=revision, allow_patterns=patterns, ignore_patterns=ignored)
        )
    except Exception as error:  # offline, gated, misspelt: the hub raises a dozen kinds
        at = f" at revision {revision}" if revision else ""
        raise ModelNotFound(
            f"model {model}{at} is no local folder, is not in the hub's cache, and could not be fetched "
            f"({type(error).__name__}: {error})"
        ) from error


class PipelineParts(NamedTuple):
    """The parts of a saved pipeline, subfolders of it: those with weights, and the small ones."""

    models: list[str]
    small: list[str]


def pipeline_parts(folder: Path) -> PipelineParts:
    """What the model_index.json in `folder` names, whatever kind of pipeline it is, but for what is never
    loaded. Raises ModelNotFound where there is none.
    """
    path = folder / INDEX_FILE
    if not path.is_file():
        raise ModelNotFound(f"{folder} holds no {INDEX_FILE}: not a saved pipeline")
    said = {name: kind for name, kind in json.loads(path.read_text()).items() if isinstance(kind, list)}
    kinds = {name: kind for name, (library, kind) in said.items() if library and name not in NOT_LOADED}
    small = [name for name, kind in kinds.items() if "Tokenizer" in kind or kind.endswith("Scheduler")]
    return PipelineParts([name for name in kinds if name not in small], small)


def complete(folder: Path) -> bool:
    """Whether a folder has its configuration and all its weights: a killed download leaves a part."""
    return (
        (folder / "config.json").is_file()
        and bool(files := _weights(folder))
        and all(file.is_file() for file in files)
    )


def parameters(folder: Path) -> int:
    """How many numbers the weights in `folder` hold, by the headers of its safetensors."""
    return sum(_parameters(path) for path in _weights(folder))


def _weights(folder: Path) -> list[Path]:
    """The safetensors that are loaded: those that an index names, else all but second copies."""
    indices = [path for path in folder.glob("*.safetensors.index.json") if counts(path.name)]
    if indices:
        shards = {
            shard for index in indices for shard in json.loads(index.read_text())["weight_map"].values()
        }
        return sorted(folder / shard for shard in shards)
    return sorted(path for path in folder.glob("*.safetensors") if counts(path.name))


def _parameters(path: Path) -> int:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
    return sum(prod(shape) for shape in shapes)


def content(folder: Path) -> str:
    """One hash over the names and contents of the files that decide the model's output.

    Files directly in `folder` only. Hub caches name their large files by content: those are not read again.
    """
    return _hashed(
        folder,
        (path for path in folder.iterdir() if counts(path.name)),
    )


def tree(folder: Path) -> str:
    """One hash over the paths and contents of all files below `folder`, linked folders among them; hidden
    ones, such as a download's notes, aside."""
    found = (Path(top, name) for top, _, names in os.walk(folder, followlinks=True) for name in names)
    return _hashed(folder, (path for path in found if "/." not in f"/{path.relative_to(folder).as_posix()}"))


def not_finite(folder: Path) -> list[str]:
    """The tensors in safetensors files below `folder` that hold a NaN or an infinity, as `file: name`; one is
    read at a time."""
    from safetensors import safe_open

    found = []
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 (no mapping)
                if not bool(tensors.get_tensor(key).isfinite().all()):
                    found.append(f"{path.relative_to(folder).as_posix()}: {key}")
    return found


def _hashed(folder: Path, paths: Iterable[Path]) -> str:
    states = ((path, path.stat()) for path in sorted(paths) if path.is_file())
    return _content(
        folder, tuple((path.relative_to(folder).as_posix(), s.st_size, s.st_mtime_ns) for path, s in states)
    )


@lru_cache(maxsize=64)
def _content(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    return fingerprint(files={name: _file_hash(folder / name) for name, _, _ in files})


def _file_hash(path: Path) -> str:
    target = path.resolve()
    if path.is_symlink() and target.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", target.name):
        return target.name
    return hash_file(path)
