"""Whether a trained model is what the training left: the hash of its weights is written down beside it."""

import json
from pathlib import Path

from store import file_system
from store.errors import CorruptFile
from store.hashing import hash_folder

WEIGHTS, RESULT, MODEL = "weights.hash", "output/result.json", "output/model"


def intact(folder: Path, model: Path | None = None) -> str | None:
    """The hash of the weights of the model trained in the job folder `folder`; null for one in training.

    What is asked for first, with the folder `model` that the training just wrote, is what counts later, if it
    has the content that the training's result names.
    Raises CorruptFile for weights that differ from it, and for a result that cannot be read.
    """
    result, noted = folder / RESULT, folder / WEIGHTS
    if file_system.size(result) is None:
        return None
    try:
        content = json.loads(file_system.read(result)).get("content")
        note = file_system.read(noted).decode() if file_system.size(noted) is not None else ""
        if content and not note and hash_folder(model or folder / MODEL) != content:
            raise CorruptFile(_changed(folder))
        if model is None and not note:
            return None
        named, _, expected = note.partition(" ")
        weights = folder / named if named else model or folder
        found = hash_folder(file_system.local(weights), ["**/*.safetensors"])
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{folder} cannot be read ({error}); 'fineface repair' sets it aside") from error
    if model is not None and not note:
        file_system.write(noted, f"{model.relative_to(folder)} {found}")
    elif found != expected:
        raise CorruptFile(_changed(folder))
    return found


def model_here(home: Path, folder: str) -> Path:
    """The model in `folder`, as tables name it in `home`, on this machine. Raises CorruptFile for one that is
    no longer what was trained."""
    model = home / folder
    intact(model.parents[1])
    return file_system.local(model)


def _changed(folder: Path) -> str:
    return (
        f"the weights in {folder} have changed since they were trained; "
        "'fineface repair' sets them aside, and they are trained again"
    )
