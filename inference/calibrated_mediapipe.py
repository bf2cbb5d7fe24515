"""MediaPipe's blendshapes on a measured scale: a monotone map an AU, fitted where the truth is known.

`inference.mediapipe` reads blendshapes by ramps that were set by eye on photographs. Where pictures of known
intensity exist, as in the rendered world, the map can be fitted instead; a file holds it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facs import ACTION_UNITS, MAXIMUM
from inference import mediapipe
from inference.abilities import EstimatorUnavailable, Reading, unmeasured
from store.hashing import fingerprint, hash_file

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "2"
SMALLEST = 256
"""Smaller pictures are enlarged to this side: the detector is trained on larger faces."""

CHANNELS: dict[int, tuple[str, ...]] = {
    1: ("browInnerUp",),
    2: ("browOuterUp",),
    4: ("browDown",),
    5: ("eyeWide",),
    6: ("eyeSquint", "cheekSquint"),
    12: ("mouthSmile",),
    15: ("mouthFrown",),
    17: ("mouthShrugLower",),
    20: ("mouthStretch",),
    25: ("mouthLowerDown", "mouthUpperUp"),
    26: ("jawOpen",),
}
"""Blendshapes whose sum is an AU's raw reading; AU9 has none (noseSneer stays 0)."""


def raw(shapes: Mapping[str, float]) -> tuple[float | None, ...]:
    """Blendshape scores 0-1 of one face, by name → twelve raw readings, 0-5: 5 × the mean of the channels."""
    return tuple(
        MAXIMUM * float(np.mean([mediapipe._channel(shapes, name) for name in CHANNELS[au]]))
        if au in CHANNELS
        else None
        for au in ACTION_UNITS
    )


def _maps(path: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Knots an AU, readings and intensities, from the calibration at `path`. Raises EstimatorUnavailable."""
    try:
        found = json.loads(path.read_text())
        maps = {int(au): (np.array(m["reading"]), np.array(m["intensity"])) for au, m in found.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EstimatorUnavailable(f"calibration {path} cannot be read: {error}") from error
    for au, (reading, intensity) in maps.items():
        rising = len(reading) > 0 and (np.diff(reading) > 0).all() and (np.diff(intensity) >= 0).all()
        if au not in CHANNELS or len(reading) != len(intensity) or not rising:
            raise EstimatorUnavailable(f"calibration {path}: AU{au} has no rising map")
    return maps


class CalibratedMediaPipe(mediapipe.MediaPipe):
    """Eleven AUs, 0-5, by the map in the file `calibration`; None reads the raw scale (to fit a map on).

    The file is JSON: {"12": {"reading": [...], "intensity": [...]}, …}, both rising, straight lines between
    and flat beyond. An AU that the file lacks is unsupported, as AU9 always is. Raises EstimatorUnavailable,
    naming the file, if it is missing or holds something else.
    """

    def __init__(
        self,
        calibration: str | os.PathLike | None = None,
        model: str | os.PathLike | None = None,
        batch_size: int = 32,
    ):
        super().__init__(model, batch_size)
        self.calibration = None if calibration is None else Path(calibration).expanduser()
        self.maps = None if self.calibration is None else _maps(self.calibration)
        known = CHANNELS if self.maps is None else self.maps
        self.supported = tuple(au for au in ACTION_UNITS if au in known)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of model file, mediapipe's version, channels, calibration and code version. Loads no model."""
        return fingerprint(
            kind="calibrated_mediapipe",
            code=CODE_VERSION,
            weights=hash_file(self.path),
            mediapipe=mediapipe.version(),
            channels={str(au): list(names) for au, names in CHANNELS.items()},
            smallest=SMALLEST,
            calibration=None if self.calibration is None else hash_file(self.calibration),
        )

    def prepare(self, picture: Image.Image) -> Image.Image:
        """The picture, enlarged if its shorter side is below SMALLEST."""
        from PIL import Image as images

        if min(picture.size) >= SMALLEST:
            return picture
        zoom = SMALLEST / min(picture.size)
        width, height = (round(side * zoom) for side in picture.size)
        return picture.convert("RGB").resize((width, height), images.Resampling.BICUBIC)

    def estimate(self, pictures: Sequence[Image.Image]) -> list[Reading]:
        """One Reading a picture, in order."""
        with mediapipe.landmarker(self.path, blendshapes=True) as found:
            readings = [self._read(found, self.prepare(picture)) for picture in pictures]
        self.calls += len(readings)
        return readings

    def _read(self, landmarker, picture: Image.Image) -> Reading:
        seen = mediapipe.detect(landmarker, picture)
        faces = len(seen.face_landmarks)
        if not faces:
            return unmeasured()
        areas = [mediapipe.area(points, picture.size) for points in seen.face_landmarks]
        shapes = {s.category_name: float(s.score) for s in seen.face_blendshapes[int(np.argmax(areas))]}
        return Reading(self.mapped(raw(shapes)), faces, None)

    def mapped(self, readings: Sequence[float | None]) -> tuple[float | None, ...]:
        """Raw readings on the calibrated scale, 0-5; None where there is no map."""
        if self.maps is None:
            return tuple(readings)
        return tuple(
            None if value is None or au not in self.maps else float(np.interp(value, *self.maps[au]))
            for au, value in zip(ACTION_UNITS, readings, strict=True)
        )
