"""What one training is: `TrainingJob`, read from and written to JSON. No torch here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, ValidationError, field_validator, model_validator

import methods
import methods.registry
from settings.base import OPERATIONAL, UNKNOWN_KEY, Settings, identity
from settings.experiment import LoopSettings, MethodTrain, TrainSettings
from store import file_system
from store.hashing import fingerprint, hash_frame

CODE_VERSION = "2"
"""Raised when a change in this room changes what is trained: loop, data, smoothing, order, learning rate.
A method and an encoder have versions of their own."""
SAMPLES_FILE = "samples.parquet"
HELD_OUT_FILE = "held_out.parquet"
CLASS_IMAGES_FILE = "class_images.parquet"
"""What `TrainSettings.drawn_before` asks for, with all AUs 0, in the form of the samples."""
RESULT_FILE = "result.json"
DRAWS_FILE = "draws.parquet"
"""How often each sample was drawn: sample_id, draws."""
MODEL_FOLDER = "model"
RENDEZVOUS = "FINEFACE_RENDEZVOUS"
"""The environment variable that names the file at which a training's processes meet."""


class JobError(ValueError):
    """A training cannot start as asked; the message names the setting or the file."""


class TrainingJob(Settings):
    """One training: a method's settings, and what is about this machine.

    dataset holds samples.parquet and maybe held_out.parquet (see `training.samples`); output is written.
    """

    train: MethodTrain = Field(description="The method and its settings, as in a profile.")
    base_content: str | None = Field(
        None,
        description="inference.generation.base_content of the base; another base is refused. null: the "
        "method needs none.",
    )
    base: Annotated[str | None, OPERATIONAL] = Field(
        None, description="The Stable Diffusion model, an id or a folder; null: the method needs none."
    )
    revision: Annotated[str | None, OPERATIONAL] = Field(None, description="Revision of a hub id.")
    dataset: Annotated[str, OPERATIONAL] = Field(description="The folder of the samples.")
    output: Annotated[str, OPERATIONAL] = Field(description="The folder to write.")
    device: Annotated[Literal["auto", "cpu"], OPERATIONAL] = Field("auto", description="auto or cpu.")
    sample_prompts: Annotated[tuple[str, ...], OPERATIONAL] = Field(
        ("a close-up of a young man", "a woman in the park"), description="Prompts of the sample pictures."
    )

    @field_validator("train")
    @classmethod
    def _trains(cls, train: TrainSettings) -> TrainSettings:
        if not isinstance(train, LoopSettings):
            raise ValueError(f"method {train.method} trains nothing")
        return train

    @model_validator(mode="after")
    def _has_its_base(self) -> TrainingJob:
        if not methods.registry.get(self.train.method).edits and None in (self.base, self.base_content):
            raise ValueError(f"method {self.train.method} trains a base: base and base_content are missing")
        return self

    @property
    def loop(self) -> LoopSettings:
        """`train`, as the loop reads it."""
        assert isinstance(self.train, LoopSettings)
        return self.train

    @classmethod
    def read(cls, path: Path | str) -> TrainingJob:
        """The job in a JSON file; relative folders are taken from the file's own place.

        Raises JobError for a file that is missing, not JSON, or has unknown, missing or impossible settings.
        """
        path = Path(path)
        try:
            said = json.loads(path.read_text())
        except OSError as error:
            raise JobError(f"cannot read the job {path}: {error.strerror}") from error
        except ValueError as error:
            raise JobError(f"{path} is not JSON: {error}") from error
        if not isinstance(said, dict):
            raise JobError(f"{path} holds no job: a JSON object is expected")
        for name in ("dataset", "output", "base"):
            if isinstance(said.get(name), str):
                nearby = (path.parent / said[name]).resolve()
                if name != "base" or nearby.is_dir():  # a base may also be an id
                    said[name] = str(nearby)
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            problems = [_explain(problem) for problem in error.errors()]
            raise JobError("\n".join(f"{path}: {problem}" for problem in problems)) from None

    def write(self, path: Path | str) -> None:
        """Write the job as JSON."""
        file_system.write(Path(path), self.model_dump_json(indent=2) + "\n")

    def key(self, data: str) -> str:
        """Hash of all that decides the trained model: the job's identity, the code that trains, and `data`,
        a hash of the samples. It names the model's folder and its checkpoints' owner.
        """
        code = f"{CODE_VERSION}, {self.train.code_version}"
        return fingerprint(code=code, data=data, **identity(self))

    def checkpoint_identity(self) -> str:
        """The key with the samples that really lie in the dataset's folder, wherever their latents do."""
        names = (SAMPLES_FILE, CLASS_IMAGES_FILE) if self.train.drawn_before else (SAMPLES_FILE,)
        tables = [pl.read_parquet(Path(self.dataset) / name) for name in names]
        hashes = [hash_frame(table.drop("file", "row", strict=False)) for table in tables]
        return self.key("".join(hashes))


def _explain(problem: Any) -> str:
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        return f"'{key}' is missing"
    if problem["type"] == UNKNOWN_KEY:
        return problem["msg"].replace("unknown key", f"unknown key '{key}'", 1)
    return f"{key}: {problem['msg']}"
