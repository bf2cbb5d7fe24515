"""The second estimator of the rendered world: MediaPipe, which nobody here trained, and a small network for
the two AUs that blendshapes hardly show. How its files are made stands in `miniature.train.judge`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from facs import ACTION_UNITS
from inference.abilities import Reading
from inference.calibrated_mediapipe import CalibratedMediaPipe
from inference.needs import Need
from miniature.estimator import TinyEstimator
from store.hashing import fingerprint

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "1"
CALIBRATION = "mediapipe_calibration.json"
BY_NETWORK = (4, 9)
"""AUs of which MediaPipe has no channel (9) or a weak one (4)."""


class Judge:
    """Ten AUs by MediaPipe through the folder's calibration, AU4 and AU9 by the network in the same folder.

    MediaPipe alone says whether there is a face. Raises EstimatorUnavailable, naming it, where a file or the
    package is missing.
    """

    supported = ACTION_UNITS
    side = None

    def __init__(self, model: str | os.PathLike, batch_size: int = 32):
        self.folder, self.batch_size = Path(model).expanduser(), batch_size
        self.detector = CalibratedMediaPipe(self.folder / CALIBRATION, batch_size=batch_size)
        self.network = TinyEstimator(self.folder, device="cpu")
        self.calls = 0

    @property
    def name(self) -> str:
        """Both models as tables name them."""
        units = " and ".join(f"AU{au}" for au in BY_NETWORK)
        return f"{self.detector.name}; {units}: {self.network.name}"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of both, of who reads what and of the code version. Loads no model."""
        return fingerprint(
            kind="mediapipe_and_network",
            code=CODE_VERSION,
            detector=self.detector.fingerprint,
            network=self.network.fingerprint,
            by_network=BY_NETWORK,
        )

    def needs(self) -> Iterator[Need]:
        """MediaPipe with its model file, and the network."""
        yield from self.detector.needs()
        yield from self.network.needs()

    def prepare(self, picture: Image.Image) -> Image.Image:
        """The picture itself: the two want it in different sizes."""
        return picture

    def estimate(self, pictures: Sequence[Image.Image]) -> list[Reading]:
        """One Reading a picture, in order."""
        if not pictures:
            return []
        by_network = self.network.predict(pictures)[0].tolist()
        found = [
            reading if reading.reason_code else reading._replace(intensities=_merged(reading, values))
            for reading, values in zip(self.detector.estimate(pictures), by_network, strict=True)
        ]
        self.calls += len(found)
        return found


def _merged(reading: Reading, values: Sequence[float]) -> tuple[float | None, ...]:
    return tuple(
        value if au in BY_NETWORK else read
        for au, read, value in zip(ACTION_UNITS, reading.intensities, values, strict=True)
    )
