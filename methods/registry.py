"""The methods by name, known without torch; their models are imported when they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from settings import experiment
from settings.experiment import SampleSettings, TrainSettings
from settings.nearest import hint

if TYPE_CHECKING:
    from inference.pipeline import FineFacePipeline

Vectors = Sequence[Sequence[float]]
Wording = Callable[[Sequence[str], Vectors], "Requests"]


class Requests(NamedTuple):
    """What a pipeline is asked for: a prompt a picture, and a vector of 12 intensities a picture or None."""

    prompts: list[str]
    aus: list[list[float]] | None


@dataclass(frozen=True)
class Method:
    """What the rest of the project knows of a method.

    name: as profiles say it; train, sample: its settings classes
    word: how AUs are asked for, (settings of training, prompts, vectors of 12 intensities) → Requests
    model: `package.module:Class` of its `methods.model.TrainedModel`, or, where it edits, of its
    `methods.editing.model.EditingModel`; None where nothing is trained
    edits: whether it changes the faces of given pictures, on which it is trained then, instead of drawing new
    ones by a base
    editor: where it edits, `package.module:Class` of its `inference.abilities.Editor`
    """

    name: str
    train: type[TrainSettings]
    sample: type[SampleSettings]
    word: Callable[[Any, Sequence[str], Vectors], Requests]
    model: str | None = None
    edits: bool = False
    editor: str = "methods.editing.editor:Trained"

    def trained_model(self, settings: TrainSettings) -> Any:
        """The model that `settings` ask for, untrained, and not yet installed in a base. Imports torch."""
        if self.model is None:
            raise ValueError(f"method {self.name} trains nothing")
        module, _, name = self.model.partition(":")
        return getattr(import_module(module), name)(settings)


METHODS: dict[str, Method] = {}
"""Every registered method by its name."""


def register(method: Method) -> Method:
    """Make a method known, and its settings to profiles. Raises ValueError for a name that is taken."""
    if method.name in METHODS:
        raise ValueError(f"method {method.name!r} is registered already")
    METHODS[method.name] = method
    experiment.declare(method.name, method.train, method.sample, method.edits)
    return method


def get(name: str) -> Method:
    """The method called `name`. Raises KeyError, naming those there are."""
    if name not in METHODS:
        raise KeyError(f"no method {name!r}{hint(name, METHODS)} (there are {', '.join(METHODS)})")
    return METHODS[name]


def wording(settings: TrainSettings) -> Wording:
    """How what was trained with `settings` is asked: (prompts, vectors of 12 intensities) → Requests."""
    return partial(get(settings.method).word, settings)


def load(pipe: FineFacePipeline, settings: TrainSettings, folder: str | Path) -> None:
    """Put the model that was trained with `settings` and saved in `folder` into the base of `pipe`."""
    get(settings.method).trained_model(settings).load(pipe, Path(folder))
