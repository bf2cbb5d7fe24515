"""LibreFace, run by the python of the environment `libreface`: faces aligned in threads, AUs read in batches.

What a worker is lives in `answering.py`; which weights, in `inference.libreface`.
"""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import answering

SIDE = 512  # as `inference.mediapipe.SIDE`: the same detector looks for the face
MAXIMUM_FACES = 5
MAXIMUM = 5.0


def load(settings: Mapping[str, Any], log: Callable[[str], None]) -> answering.Reader:
    """Of each request, in order, au1 … au26, faces, rival, face_box, head_pose, clamped, and reason_code (of
    `reasons.Reason`, which this python may be too old for) and reason_detail; `problem` for a picture that
    does not decode."""
    from inference import devices, images

    reader = LibreFace(settings["weights"])
    log(f"LibreFace {version('libreface')} on {reader.device}")
    size = settings["batch_size"]
    read = devices.in_fitting_batches(reader.read, size)
    return lambda requests: images.rows_ahead(requests, read, size, reader.align, SIDE)


class NoFace(Exception):
    """MediaPipe found no face."""


class LibreFace:
    """The package's alignment and its batched head, kept from one picture to the next.

    What the package does for each call is left out: loading models, files in between, and the download of
    ImageNet weights that the checkpoint then overwrites. Its failures are mended where they arise: of
    several faces it is shown the largest, and large faces find the filter that newer Pillow calls LANCZOS.
    """

    def __init__(self, weights: str):
        import PIL.Image
        import torchvision

        PIL.Image.ANTIALIAS = PIL.Image.Resampling.LANCZOS  # type: ignore[attr-defined]
        plain = torchvision.models.resnet18
        torchvision.models.resnet18 = lambda **_: plain(weights=None)
        import libreface.detect_mediapipe_image as alignment
        from libreface.AU_Recognition import solver_inference_image as recognition

        from inference import devices

        self.device = devices.pick()
        recognition.download_weights = lambda _, path: path
        config = SimpleNamespace(
            ckpt_path=weights,
            weights_download_id=None,
            image_size=256,
            crop_size=224,
            model_name="resnet",
            dropout=0.1,
            fm_distillation=False,
            half_precision=False,
            device=str(self.device),
        )
        self.head = recognition.solver_inference_image(config).to(self.device).eval()
        self.head.load_best_ckpt()
        self.alignment, self.seen = alignment, threading.local()
        self._mend()

    def _mend(self) -> None:
        """Let `get_aligned_image` take its picture from memory and leave its result there."""
        alignment, seen = self.alignment, self.seen
        align, mesh = alignment.image_align, alignment.mp.solutions.face_mesh.FaceMesh

        def one_a_thread(**options: Any) -> Faces:
            if not hasattr(seen, "faces"):
                seen.faces = Faces(mesh(**{**options, "max_num_faces": MAXIMUM_FACES}))
            return seen.faces

        def keep(*given: Any) -> SimpleNamespace:
            seen.aligned = align(*given)
            return SimpleNamespace(save=lambda path: None)

        solutions = SimpleNamespace(face_mesh=SimpleNamespace(FaceMesh=one_a_thread))
        alignment.mp = SimpleNamespace(solutions=solutions)
        alignment.cv2 = SimpleNamespace(**{**vars(alignment.cv2), "imread": lambda path: seen.pixels})
        alignment.image_align = keep

    def align(self, picture: Any) -> dict[str, Any]:
        """An upright RGB picture → what is known of its faces, and `pixels` [3, 224, 224] of the largest; or
        the reason why there are none. Runs in threads."""
        import numpy as np

        self.seen.pixels = np.asarray(picture)[:, :, ::-1]
        try:
            _, pose, _ = self.alignment.get_aligned_image("", temp_dir=tempfile.gettempdir())
        except NoFace:
            return {"faces": 0, "reason_code": "no_face"}
        except (self.alignment.cv2.error, ValueError, ArithmeticError) as error:
            boxes = self.seen.faces.boxes
            detail = f"{type(error).__name__}: {error}"
            return {"faces": len(boxes), "reason_code": "face_not_aligned", "reason_detail": detail}
        faces = self.seen.faces
        angles = [float(pose[angle]) for angle in ("pitch", "yaw", "roll")]
        return {
            "faces": len(faces.boxes),
            "face_box": [
                end / size for end, size in zip(faces.boxes[faces.largest], picture.size * 2, strict=True)
            ],
            "rival": rival([area(one) for one in faces.boxes]),
            "head_pose": angles if all(map(math.isfinite, angles)) else None,
            "pixels": self.head.image_transform(self.seen.aligned.convert("RGB")),
        }

    def read(self, aligned: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows of a batch that `align` made, in order."""
        import torch

        pixels = [one["pixels"] for one in aligned if "pixels" in one]
        values: Iterator[list[float]] = iter(())
        if pixels:
            with torch.inference_mode():
                values = iter((self.head.model(torch.stack(pixels).to(self.device)) * MAXIMUM).tolist())
        told = ({name: value for name, value in one.items() if name != "pixels"} for one in aligned)
        return [
            one if "reason_code" in one else {**one, **clamped(self.head.aus, next(values))} for one in told
        ]


class Faces:
    """MediaPipe's FaceMesh as the package uses it, but it shows only the largest face; `boxes` has all."""

    def __init__(self, mesh: Any):
        self.mesh = mesh
        self.boxes: list[list[float]] = []
        self.largest = 0

    def __enter__(self) -> Faces:
        return self

    def __exit__(self, *_: Any) -> None:
        """The mesh is used again for the thread's next picture."""

    def process(self, pixels: Any) -> SimpleNamespace:
        """Raises NoFace."""
        found = self.mesh.process(pixels).multi_face_landmarks or []
        self.boxes = [box(face.landmark, *pixels.shape[:2]) for face in found]
        if not found:
            raise NoFace
        self.largest = max(range(len(found)), key=lambda n: area(self.boxes[n]))
        return SimpleNamespace(multi_face_landmarks=[found[self.largest]])


def box(landmarks: Sequence[Any], height: int, width: int) -> list[float]:
    """Left, top, right, bottom in pixels around landmarks on a 0-1 scale."""
    x, y = [point.x * width for point in landmarks], [point.y * height for point in landmarks]
    return [min(x), min(y), max(x), max(y)]


def area(box: Sequence[float]) -> float:
    """Square pixels."""
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def rival(areas: Sequence[float]) -> float:
    """The second largest area as a share of the largest, 0 if there is but one."""
    first, second = [*sorted(areas, reverse=True), 0.0][:2]
    return second / first if first else 0.0


def clamped(aus: Sequence[int], values: Sequence[float]) -> dict[str, Any]:
    """The intensities within 0-5 by name, and `clamped`, the AUs that were outside. Raises FloatingPointError
    for what is no number."""
    if not all(map(math.isfinite, values)):
        raise FloatingPointError("LibreFace gave intensities that are no numbers")
    within = {f"au{au}": min(max(value, 0.0), MAXIMUM) for au, value in zip(aus, values, strict=True)}
    outside = [au for au, value in zip(aus, values, strict=True) if value != within[f"au{au}"]]
    return {**within, "clamped": outside, "reason_code": None, "reason_detail": None}


if __name__ == "__main__":
    answering.serve(load)
