"""What providers with weights of their own share: where these lie, what they are called, what they need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from inference import devices, needs, weights
from inference.needs import Need


class Pretrained:
    """A model saved in a folder or on the hub, loaded when it is first asked.

    `subfolder` holds its files where it is a part of something larger. `calls` counts pictures seen so far.
    """

    subfolder: str | None = None

    def __init__(
        self,
        model: str | os.PathLike,
        revision: str | None = None,
        precision: str = "float32",
        device: str = "auto",
    ):
        self.model, self.revision, self.device = str(model), revision, device
        self.precision = devices.check_precision(precision)
        self.calls = 0

    @cached_property
    def folder(self) -> Path:
        """The model's files on this machine."""
        return weights.resolve(self.model, self.revision, self.subfolder)

    @property
    def name(self) -> str:
        """The model as tables name it."""
        return weights.name(self.model, self.folder)

    @property
    def identity(self) -> dict[str, str | None]:
        """What a fingerprint says of the weights; on the hub also id and revision."""
        return weights.identity(self.model, self.revision, self.folder)

    def needs(self) -> Iterator[Need]:
        """Its weights, and memory for them."""
        return needs.model(self.model, self.revision, self.precision)
