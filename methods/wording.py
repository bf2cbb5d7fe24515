"""How a request says its action units: as a vector beside the prompt, or as words in it."""

from __future__ import annotations

from collections.abc import Sequence

import facs
from methods.registry import Requests, Vectors


def as_vectors(prompts: Sequence[str], vectors: Vectors) -> Requests:
    """The prompts as they are, the vectors beside them."""
    return Requests(list(prompts), [list(map(float, vector)) for vector in vectors])


def as_words(prompts: Sequence[str], vectors: Vectors) -> Requests:
    """The AUs as words at the end of the prompt (paper, Table 1): "a man, lip corner puller 4"."""
    said = [facs.as_text(vector) for vector in vectors]
    pairs = zip(prompts, said, strict=True)
    return Requests([f"{prompt}, {words}" if words else prompt for prompt, words in pairs], None)
