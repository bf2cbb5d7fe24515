"""The provider "libreface": LibreFace's action-unit intensities, from its own package and environment.

The network runs in `inference/environments/libreface_worker.py`; here is what decides a reading.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from facs import ACTION_UNITS
from inference import environments
from inference.abilities import EstimatorUnavailable
from inference.environments import Worker, pins
from inference.needs import Need
from store.hashing import fingerprint, hash_file

CODE_VERSION = "3"
WEIGHTS = Path("AU_Recognition") / "weights" / "resnet.pt"
DECISIVE = ("libreface", "mediapipe", "opencv-python-headless", "pillow")


class LibreFace:
    """All twelve AUs by LibreFace's batched head, from the weights in the folder `model`.

    `model` is laid out as the package lays it out (`weights_download_dir`). Nothing is ever downloaded.
    """

    supported = ACTION_UNITS

    def __init__(self, model: str | os.PathLike | None = None, batch_size: int = 64):
        self.model, self.batch_size = model, batch_size

    @property
    def name(self) -> str:
        """The model as tables name it."""
        return f"libreface {pins('libreface')['libreface']}"

    @property
    def path(self) -> Path:
        """The weights. Raises EstimatorUnavailable, saying where they come from and under which licence."""
        path = Path("~" if self.model is None else self.model).expanduser().absolute() / WEIGHTS
        if self.model is not None and path.is_file():
            return path
        looked = "au_estimator.model names no folder" if self.model is None else f"{path} does not exist"
        raise EstimatorUnavailable(
            f"the weights of LibreFace are not here: {looked}. {WEIGHTS} comes from its authors' release "
            "(github.com/ihp-lab/LibreFace, University of Southern California) under their licence for "
            "research and non-commercial use; docs/annotators.md says how to fetch it. It is never "
            "downloaded by a run"
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, code version and the packages that decide a reading. Starts nothing."""
        versions = pins("libreface")
        return fingerprint(
            kind="libreface",
            code=CODE_VERSION,
            weights=hash_file(self.path),
            packages={package: versions[package] for package in DECISIVE},
        )

    def needs(self) -> Iterator[Need]:
        """Its environment and its weights."""
        yield environments.need("libreface")
        try:
            found = self.path
        except EstimatorUnavailable as error:
            yield Need(
                "the weights of LibreFace",
                str(error),
                "docs/annotators.md, LibreFace: two commands fetch them",
            )
        else:
            yield Need(f"the weights of LibreFace, {found}")

    def worker(self, questions: Mapping[str, str] | None = None) -> Worker:
        """Who reads pictures: the fields of a Reading, the twelve intensities as au1 … au26."""
        return Worker("libreface", {"weights": str(self.path), "batch_size": self.batch_size})
