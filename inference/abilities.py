"""What models are asked, one contract an ability, and the provider that a profile chooses. Providers live in
modules of their own; their names stand in `settings.providers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from facs import ACTION_UNITS
from reasons import Reason
from settings import providers

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from PIL import Image

    from inference.environments import Worker
    from inference.needs import Need


BLIND_SPOTS: dict[str, str] = {
    "mediapipe": "AU9 has no channel and is null; AU4 and AU5 are weak; crying is read as a smile (AU12)",
    "libreface": "AU15, AU17 and AU20 are ranked rather than measured (DISFA+: correlations .59, .61, .24), "
    "AU6 is read low; DISFA was among its training data",
}
"""What labels of a provider of "action_units" do not show, said wherever they are used."""


class EstimatorUnavailable(RuntimeError):
    """An estimator's package, environment or model file is not there; the message says what to install."""


class Answer(NamedTuple):
    """The greedy answer verbatim, and P(yes) / (P(yes) + P(no)) of its first token, 0-1."""

    text: str
    score: float


class Reading(NamedTuple):
    """What an estimator saw in one picture.

    intensities: twelve values 0-5 in `facs.ACTION_UNITS` order; None where the estimator does not support
    the AU, all None when nothing was measured. faces: how many were found, None if they are not counted.
    reason_code, reason_detail: why nothing was measured, None when something was. face_box: of the face that
    was read, left, top, right, bottom as shares of the upright picture's width and height. head_pose: its
    pitch, yaw and roll in degrees. clamped: AUs whose value lay outside 0-5 before. rival: the
    area of the second largest face as a share of the largest one's, 0 without a second. These four are None
    where the estimator does not say.
    """

    intensities: tuple[float | None, ...]
    faces: int | None
    reason_code: Reason | None
    face_box: tuple[float, float, float, float] | None = None
    head_pose: tuple[float, float, float] | None = None
    clamped: tuple[int, ...] | None = None
    reason_detail: str | None = None
    rival: float | None = None


def unmeasured(reason: Reason = Reason.NO_FACE, faces: int | None = 0) -> Reading:
    """The Reading of a picture in which nothing could be measured."""
    return Reading((None,) * len(ACTION_UNITS), faces, reason)


class Face(NamedTuple):
    """The largest face's box as shares of the upright picture's width and height, from its top left corner;
    it may stick out. None without a face. faces: how many were found.
    """

    face_x: float | None
    face_y: float | None
    face_width: float | None
    face_height: float | None
    faces: int


class Annotator(Protocol):
    """What all abilities share. Cheap to construct; loads its model when first asked."""

    calls: int  # pictures seen so far

    @property
    def name(self) -> str:
        """The model as tables name it: `id@commit` from the hub, else the name of its folder or package."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides an answer: id and revision on the hub, content of the weights, precision,
        code version. Loads no model."""

    @property
    def batch_size(self) -> int:
        """Pictures a forward pass; may load the model to see how many fit."""

    def needs(self) -> Iterator[Need]:
        """What must be there before it is asked, and the way to get it. Loads no model."""

    @property
    def side(self) -> int | None:
        """The pixels of a picture's shorter side beyond which more are of no use; None: it is wanted whole.
        Much larger pictures come shrunk to no less than twice that (`picture_files.decode`)."""

    def prepare(self, picture: Image.Image) -> Any:
        """What the model takes of an upright RGB picture, without the model: runs in threads ahead of it.
        Every method below takes pictures or what this made of them."""


@runtime_checkable
class Elsewhere(Protocol):
    """A provider that runs in an environment of its own."""

    def worker(self, questions: Mapping[str, str] | None = None) -> Worker:
        """What answers there; `questions` by name, where it is asked some."""


class Answerer(Annotator, Protocol):
    def ask_all(self, pictures: Sequence[Any], questions: Sequence[str]) -> list[dict[str, Answer]]:
        """Every question about every picture: a dict question → Answer a picture, in order."""


class Captioner(Annotator, Protocol):
    def caption(self, pictures: Sequence[Any]) -> list[str]:
        """One caption a picture, in order, without a prompt."""


class AUEstimator(Annotator, Protocol):
    supported: tuple[int, ...]  # AUs that get a value, in facs order

    def estimate(self, pictures: Sequence[Any]) -> list[Reading]:
        """One Reading a picture, in order; without a face it is a Reading with a reason, never an error."""


class FaceDetector(Annotator, Protocol):
    def find(self, pictures: Sequence[Any]) -> list[Face]:
        """One Face a picture, in order."""


class FaceRenderer(Protocol):
    """Makes faces whose action units are known, to try estimators on or to train with. Cheap to construct."""

    @property
    def name(self) -> str:
        """Who rendered, as tables name it."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides a picture beside its row."""

    def needs(self) -> Iterator[Need]:
        """What must be there before it renders. Renders nothing."""

    def plan(self) -> pl.DataFrame:
        """A row a picture: its `picture_id`, true intensities, and all that decides it. To train with, also
        its `caption` (which does not), and the `person`, `skin`, `age` and `gender` that it shows."""

    def render(self, rows: Sequence[dict[str, Any]]) -> Iterator[np.ndarray]:
        """The picture of each row of `plan`, in order, uint8 [height, width, 3]."""


class Editor(Protocol):
    """Changes the expression of given faces. Cheap to construct."""

    batch_size: int
    size: int
    """Side of the square pictures that it takes and gives, pixels."""

    @property
    def name(self) -> str:
        """Who edited, as tables name it."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides an edit beside picture and intensities. Loads no model."""

    def edit(
        self,
        pictures: Sequence[Any],
        source: Sequence[Sequence[float]],
        target: Sequence[Sequence[float]],
    ) -> list[tuple[Any, float | None]]:
        """Each picture changed from its twelve intensities `source` to `target`, and the share of the source
        that an attention mask kept, 0-1; None without one."""


class Embedder(Annotator, Protocol):
    def embed_images(self, pictures: Sequence[Any]) -> np.ndarray:
        """Pictures → float32 [N, d], rows of length 1, in order."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts → float32 [N, d] in the same space, rows of length 1, in order."""


class FaceRecogniser(Annotator, Protocol):
    def describe(self, pictures: Sequence[Any]) -> list[list[float] | None]:
        """Numbers whose distance says how alike two faces are, of the largest face of each picture, in order;
        None without a face."""


def build(ability: str, settings: Mapping[str, Any]) -> Any:
    """The provider of `ability` that a profile's section names: `provider`, and the provider's own settings.

    Raises ValueError for a provider that is not known, TypeError for a setting the provider does not have.
    """
    options = {key: value for key, value in settings.items() if key != "provider"}
    module, _, name = providers.place(ability, settings.get("provider", "")).partition(":")
    return getattr(import_module(module), name)(**options)
