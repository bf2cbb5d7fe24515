"""What an experiment may say: how its model is trained, and how its pictures are drawn.

The settings of one method lie in its folder under `methods`; a method declares them here when it registers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from settings.base import LATER, OPERATIONAL, Settings, identity
from settings.nearest import hint


class TrainSettings(Settings):
    """What every method's `train` says."""

    method: str = Field(description="The method, by the name of its folder under methods/.")

    @property
    def code_version(self) -> str:
        """Version of the code that trains, raised where what is trained changes: part of a model's key."""
        return "1"

    @property
    def adapter(self) -> str | None:
        """The experiment whose trained model is used; None for a method that uses its own, or none."""
        return None

    @property
    def drawn_before(self) -> ClassImages | None:
        """What the stage `class_images` draws before the training; None: nothing."""
        return None


class ClassImages(Settings):
    """Pictures of the untouched base, drawn once with captions of the training set, to which no words for AUs
    are added: what a method is trained on beside the training set, so that the base's prior is preserved.
    Sampler and steps are `evaluation`'s."""

    count: int = Field(1000, ge=1, description="How many; each step draws as many as of the training set.")
    guidance: float = Field(7.5, ge=0, description="Classifier-free guidance that they are drawn with.")
    seed: int = Field(0, description="Seed of the draw of captions and of the noise.")


class SampleSettings(Settings):
    """How an experiment's pictures are drawn; what is null is as `evaluation` says for all experiments."""

    guidance: float | None = Field(
        None,
        ge=0,
        description="Classifier-free guidance; null: the best of evaluation.guidance_candidates.",
    )
    steps: int | None = Field(None, ge=1, description="Denoising steps; null: evaluation.steps.")
    scheduler: Literal["ddim", "dpm", "euler", "pndm"] | None = Field(
        None, description="Sampler; null: evaluation.scheduler."
    )

    @property
    def arguments(self) -> dict[str, Any]:
        """What the pipeline is called with besides; decides pictures."""
        return {}

    def refuses(self, guidance: float) -> str | None:
        """Why nothing can be drawn at that guidance; None if it can."""
        return None

    def text_guidance_at(self, guidance: float) -> float:
        """Guidance of the text alone where `guidance` was chosen: that of the untouched base beside it."""
        return guidance


class Smoothing(Settings):
    """Distribution smoothing of the labels while training (paper, section on smoothing)."""

    variance: float = Field(0.2, ge=0, description="Variance of the Gaussian noise added to every intensity.")
    round_probability: float = Field(0.2, ge=0, le=1, description="Probability that a value is rounded.")


Tracker = Literal["tensorboard", "wandb", "mlflow"]


class LoopSettings(TrainSettings):
    """What every training says, whatever it trains."""

    steps: int = Field(20_000, ge=1, description="Optimiser steps.")
    batch_size: int = Field(16, ge=1, description="Samples an optimiser step, all processes together.")
    learning_rate: float = Field(1e-4, gt=0, description="Of the optimiser, before its schedule.")
    seed: int = Field(0, description="Seed of initialisation, data order and noise.")
    processes: Annotated[int, OPERATIONAL] = Field(
        1, ge=0, description="Processes that train together; 0: as many as fit. They must divide batch_size."
    )
    launch: Annotated[Path | None, OPERATIONAL] = Field(
        None,
        description="A configuration of `accelerate launch` that starts them instead, also on several "
        "machines (docs/machines.md); null: on this one, by `processes`.",
    )
    log_every: Annotated[int, OPERATIONAL] = Field(50, ge=1, description="Steps between progress lines.")
    checkpoint_every: Annotated[int, OPERATIONAL] = Field(
        500, ge=1, description="Steps between checkpoints: what a kill can lose."
    )
    validate_every: Annotated[int, OPERATIONAL] = Field(
        500, ge=0, description="Steps between measurements of the loss on split.validation; 0: none."
    )
    sample_every: Annotated[int, OPERATIONAL] = Field(
        500, ge=0, description="Steps between sample pictures; 0: none."
    )
    trackers: Annotated[tuple[Tracker, ...], OPERATIONAL] = Field(
        (),
        description="Where else losses go while it runs: tensorboard writes beside the checkpoints, wandb "
        "and mlflow send to their servers (docs/experiments.md).",
    )

    @field_validator("processes")
    @classmethod
    def _divides(cls, processes: int, info: ValidationInfo) -> int:
        size = info.data.get("batch_size")
        if processes and size is not None and size % processes:
            fits = [count for count in range(1, size + 1) if size % count == 0]
            closest = min(fits, key=lambda count: abs(count - processes))
            raise ValueError(
                f"batch_size {size} cannot be divided by {processes} processes; {closest} would do"
            )
        return processes

    @property
    def mixed_precision(self) -> Literal["no", "bf16"]:
        """The arithmetic, in accelerate's words."""
        return "no"

    @property
    def where_memory_is_short(self) -> str:
        """What these settings say about memory, and which to change when it runs out."""
        return (
            f"batch_size {self.batch_size}, processes {self.processes}: set more processes where there are "
            "more GPUs, which does not change the model, and the training goes on from its last checkpoint. "
            "A smaller batch_size also helps, but makes another model"
        )


class DenoisingSettings(LoopSettings):
    """How a diffusion base is trained; defaults are the paper's (section 4 and supplement) where it says
    them."""

    learning_rate: float = Field(1e-4, gt=0, description="AdamW's, after the warm-up.")
    warmup_steps: int = Field(0, ge=0, description="Steps over which the learning rate rises linearly.")
    schedule: Literal["constant", "cosine"] = Field("constant", description="The learning rate after that.")
    gradient_clip: float = Field(
        1.0, gt=0, description="Largest norm of the gradient of all parameters together."
    )
    # Float16 would need loss scaling, whose state would be one more thing to resume.
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="Number format of the frozen weights and of the arithmetic."
    )
    smoothing: Smoothing = Smoothing()
    timestep_exponent: float = Field(
        1.0,
        gt=0,
        description="Timesteps are T·u^exponent, u uniform. 1: all alike, as in the paper; less: more of the "
        "noisy ones, which decide expressions.",
    )
    text_dropout: float = Field(
        0.1, ge=0, le=1, description="Share of samples trained without text and AUs, for guidance."
    )
    au_dropout: Annotated[float, LATER] = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of samples trained with their text, but without AUs, for guidance by AUs apart "
        "from the text (`sample.text_guidance`).",
    )
    gradient_checkpointing: Annotated[bool, OPERATIONAL] = Field(
        False, description="Less memory for more time; same result."
    )

    @field_validator("au_dropout")
    @classmethod
    def _leaves_some(cls, au_dropout: float, info: ValidationInfo) -> float:
        if au_dropout + (text_dropout := info.data.get("text_dropout", 0.0)) > 1:
            raise ValueError(f"with text_dropout {text_dropout:g} it drops more than all samples")
        return au_dropout

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of optimiser step `step` (from 0)."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2

    @property
    def mixed_precision(self) -> Literal["no", "bf16"]:
        """The arithmetic, in accelerate's words."""
        return "bf16" if self.precision == "bfloat16" else "no"

    @property
    def where_memory_is_short(self) -> str:
        """What these settings say about memory, and which to change when it runs out."""
        return (
            f"batch_size {self.batch_size}, processes {self.processes}, precision {self.precision}, "
            f"gradient_checkpointing {str(self.gradient_checkpointing).lower()}: set "
            "gradient_checkpointing: true, or more processes where there are more GPUs; neither changes the "
            "model, and the training goes on from its last checkpoint. precision: bfloat16 or a smaller "
            "batch_size also help, but make another model"
        )


_DECLARED: dict[str, tuple[type[TrainSettings], type[SampleSettings]]] = {}
_EDITING: set[str] = set()


def declare(
    method: str, train: type[TrainSettings], sample: type[SampleSettings], edits: bool = False
) -> None:
    """Let experiments name `method`, with its settings of training and sampling; one that `edits` given
    pictures is no experiment's but an editor's."""
    _DECLARED[method] = train, sample
    if edits:
        _EDITING.add(method)


def edits(method: str) -> bool:
    """Whether the declared `method` edits given pictures."""
    return method in _EDITING


def declared() -> dict[str, tuple[type[TrainSettings], type[SampleSettings]]]:
    """The settings of training and of sampling of each declared method."""
    return dict(_DECLARED)


def _train(given: Any) -> Any:
    if isinstance(given, TrainSettings) or not isinstance(given, Mapping) or "method" not in given:
        return given
    method = given["method"]
    if method not in _DECLARED:
        told = f"no method {method!r}{hint(str(method), _DECLARED)} (there are {', '.join(_DECLARED)})"
        problem = InitErrorDetails(
            type=PydanticCustomError("unknown_method", told), loc=("method",), input=method
        )
        raise ValidationError.from_exception_data("train", [problem])
    return _DECLARED[method][0].model_validate(given)


def _sample(given: Any, info: ValidationInfo) -> Any:
    train = info.data.get("train")
    if isinstance(given, SampleSettings) or train is None:
        return given
    return _DECLARED[train.method][1].model_validate(given)


def _draws(train: TrainSettings) -> TrainSettings:
    if edits(train.method):
        raise ValueError(f"method {train.method} edits given pictures: name it under editing.editors")
    return train


def _edits(train: TrainSettings) -> TrainSettings:
    if not edits(train.method):
        raise ValueError(f"method {train.method} draws new pictures: name it under experiments")
    return train


MethodTrain = Annotated[SerializeAsAny[TrainSettings], BeforeValidator(_train)]
"""A method's own settings of training, told by its `method`."""

EditorTrain = Annotated[MethodTrain, AfterValidator(_edits)]
"""Those of a method that edits given pictures."""


class Experiment(Settings):
    """One row of the comparison. Experiments that differ only in `sample` share one training."""

    train: Annotated[MethodTrain, AfterValidator(_draws)]
    sample: Annotated[SerializeAsAny[SampleSettings], BeforeValidator(_sample)] = Field(
        default_factory=dict, validate_default=True
    )
    against: str | None = Field(
        None, description="The experiment that differences are tested to; null: evaluation.competitor."
    )
    paper: Annotated[str | None, OPERATIONAL] = Field(
        None, description="The row of the paper's Tables 1-3 that it is printed beside."
    )

    @property
    def decides(self) -> dict[str, Any]:
        """What decides its pictures, as plain values: how it is trained and how they are drawn, whatever it
        is compared with."""
        return {"train": identity(self.train), "sample": identity(self.sample)}
