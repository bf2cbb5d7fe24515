"""What one training is: `TrainingJob`, read from and written to JSON. No torch here."""

import json
import math
import types
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from store.hashing import fingerprint, hash_file

CODE_VERSION = "1"
"""Raised when a change in this room changes what is trained; part of an adapter's key."""
SAMPLES_FILE = "samples.parquet"
RESULT_FILE = "result.json"
SCHEDULES = ("constant", "cosine")
# Float16 would need loss scaling, whose state would be one more thing to resume.
PRECISIONS = ("float32", "bfloat16")
_NOT_DECISIVE = {"base", "dataset", "output", "processes", "device", "checkpoint_every", "log_every"}
_NOT_DECISIVE |= {"sample_every", "validation_prompts"}


class JobError(ValueError):
    """A training cannot start as asked; the message names the setting or the file."""


@dataclass(frozen=True)
class TrainingJob:
    """One training of an adapter. The defaults are the paper's (section 4 and supplement) where it says them.

    base, revision: the Stable Diffusion model, an id or a folder; base_fingerprint: for the record
    dataset: the folder that holds samples.parquet (see `training.dataset`); output: the folder to write
    encoder, rank, alpha: the adapter (see `inference.adapter.AdapterConfig`)
    steps, batch_size: optimiser steps, and samples a step in all processes together
    warmup_steps, schedule: the learning rate rises linearly, then stays or falls to 0 along a cosine
    timestep_exponent: timesteps are T·u^exponent, u uniform in [0, 1): 1 draws all alike, as the paper does,
    less than 1 more of the noisy ones, at which a face's expression is decided
    text_dropout: share of samples trained with the empty text and all AUs 0, for guidance
    smoothing_variance, round_probability: see `training.smoothing`
    gradient_clip: largest norm of the gradient of all parameters together
    checkpoint_every, log_every, sample_every: in steps; sample_every 0 draws no sample sheets
    processes: 0 takes one a GPU, or without a GPU one a core (at most 4, and dividing batch_size)
    device: auto or cpu
    """

    base: str
    dataset: str
    output: str
    steps: int
    revision: str | None = None
    base_fingerprint: str | None = None
    encoder: str = "res_mlp64"
    rank: int = 32
    alpha: float = 8.0
    batch_size: int = 16
    learning_rate: float = 1e-4
    warmup_steps: int = 0
    schedule: str = "constant"
    seed: int = 0
    timestep_exponent: float = 1.0
    text_dropout: float = 0.1
    smoothing_variance: float = 0.2
    round_probability: float = 0.2
    gradient_clip: float = 1.0
    checkpoint_every: int = 500
    log_every: int = 50
    sample_every: int = 500
    precision: str = "float32"
    gradient_checkpointing: bool = False
    processes: int = 1
    device: str = "auto"
    validation_prompts: tuple[str, ...] = ("a close-up of a young man", "a woman in the park")

    def __post_init__(self):
        for field in fields(self):
            self._check_type(field.name, field.type)
        object.__setattr__(self, "validation_prompts", tuple(self.validation_prompts))
        for name, low, high in (
            ("steps", 1, math.inf),
            ("batch_size", 1, math.inf),
            ("rank", 1, math.inf),
            ("warmup_steps", 0, math.inf),
            ("text_dropout", 0, 1),
            ("smoothing_variance", 0, math.inf),
            ("round_probability", 0, 1),
            ("checkpoint_every", 1, math.inf),
            ("log_every", 1, math.inf),
            ("sample_every", 0, math.inf),
            ("processes", 0, math.inf),
        ):
            if not low <= getattr(self, name) <= high:
                raise JobError(f"{name} must be in {low}–{high}, not {getattr(self, name)}")
        for name in ("learning_rate", "alpha", "gradient_clip", "timestep_exponent"):
            if not getattr(self, name) > 0:
                raise JobError(f"{name} must be above 0, not {getattr(self, name)}")
        for name, known in (("schedule", SCHEDULES), ("precision", PRECISIONS), ("device", ("auto", "cpu"))):
            if getattr(self, name) not in known:
                raise JobError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        if self.processes and self.batch_size % self.processes:
            raise JobError(f"batch_size {self.batch_size} cannot be divided by {self.processes} processes")

    def _check_type(self, name, annotation):
        value = getattr(self, name)
        if name == "validation_prompts":
            right = isinstance(value, (list, tuple)) and all(isinstance(prompt, str) for prompt in value)
        elif annotation is float:
            right = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        elif annotation is int:
            right = isinstance(value, int) and not isinstance(value, bool)
        else:
            right = isinstance(value, annotation)
        if not right:
            kind = annotation if isinstance(annotation, types.UnionType) else annotation.__name__
            raise JobError(f"{name} must be {kind}, not {value!r}")

    @classmethod
    def read(cls, path: Path | str) -> "TrainingJob":
        """The job in a JSON file; relative folders are taken from the file's own place.

        Raises JobError for a file that is missing, not JSON, or has unknown, missing or impossible settings.
        """
        path = Path(path)
        try:
            settings = json.loads(path.read_text())
        except OSError as error:
            raise JobError(f"cannot read the job {path}: {error.strerror}") from error
        except ValueError as error:
            raise JobError(f"{path} is not JSON: {error}") from error
        if not isinstance(settings, dict):
            raise JobError(f"{path} holds no job: a JSON object is expected")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(settings.keys() - known):
            raise JobError(f"{path}: unknown settings {', '.join(unknown)}")
        if missing := [name for name in ("base", "dataset", "output", "steps") if name not in settings]:
            raise JobError(f"{path} lacks {', '.join(missing)}")
        job = cls(**settings)
        for name in ("dataset", "output", "base"):
            nearby = (path.parent / getattr(job, name)).resolve()
            if name != "base" or nearby.is_dir():  # a base may also be an id
                object.__setattr__(job, name, str(nearby))
        return job

    def write(self, path: Path | str) -> None:
        """Write the job as JSON."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(asdict(self), indent=2) + "\n")

    def identity(self) -> str:
        """Hash of all that decides the trained adapter, the samples included: what a checkpoint belongs to.

        Folders are not part of it, nor what only decides where and how visibly the training runs.
        """
        decisive = {name: value for name, value in asdict(self).items() if name not in _NOT_DECISIVE}
        return fingerprint(**decisive, samples=hash_file(Path(self.dataset) / SAMPLES_FILE))

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of optimiser step `step` (from 0)."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2
