"""How a request says its action units: as a vector beside the prompt, or as words in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import Field

import facs
from methods.registry import Requests, Vectors
from settings.experiment import TrainSettings

SAYINGS: dict[str, Callable[[Sequence[float]], str]] = {"name": facs.as_text, "sentence": facs.as_sentences}


class Worded(TrainSettings):
    """A method that is told AUs in words."""

    wording: Literal["name", "sentence"] = Field(
        "name",
        description='How words say AUs: name ("lip corner puller 4"), or a sentence of what is seen each.',
    )


def as_vectors(settings: TrainSettings, prompts: Sequence[str], vectors: Vectors) -> Requests:
    """The prompts as they are, the vectors beside them."""
    return Requests(list(prompts), [list(map(float, vector)) for vector in vectors])


def as_words(settings: Any, prompts: Sequence[str], vectors: Vectors) -> Requests:
    """The AUs as words at the end of the prompt (paper, Table 1): "a man, lip corner puller 4"; `settings`
    are `Worded`."""
    said = [SAYINGS[settings.wording](vector) for vector in vectors]
    pairs = zip(prompts, said, strict=True)
    return Requests([f"{prompt}, {words}" if words else prompt for prompt, words in pairs], None)
