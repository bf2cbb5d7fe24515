"""Whether a trained model is what the training left: the hash of its weights is written down beside it."""

import json
from pathlib import Path

from store.errors import CorruptFile
from store.file_system import write
from store.hashing import hash_folder

WEIGHTS, RESULT = "weights.hash", "output/result.json"


def intact(folder: Path, model: Path | None = None) -> str | None:
    """The hash of the weights of the model trained in the job folder `folder`; null for one in training.

    What is asked for first, with the folder `model` that the training just wrote, is what counts later.
    Raises CorruptFile for weights that differ from it, and for a result that cannot be read.
    """
    result, noted = folder / RESULT, folder / WEIGHTS
    if not result.is_file():
        return None
    try:
        json.loads(result.read_text())
        if model is None and not noted.is_file():
            return None
        named, _, expected = noted.read_text().partition(" ") if noted.is_file() else ("", "", "")
        found = hash_folder(folder / named if named else model or folder, ["**/*.safetensors"])
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{folder} cannot be read ({error}); 'fineface repair' sets it aside") from error
    if model is not None and not noted.is_file():
        write(noted, f"{model.relative_to(folder)} {found}")
    elif found != expected:
        raise CorruptFile(
            f"the weights in {folder} have changed since they were trained; "
            "'fineface repair' sets them aside, and they are trained again"
        )
    return found
