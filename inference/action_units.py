"""The contract of action-unit estimators and the choice of one. Each lives in a module of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from facs import ACTION_UNITS

if TYPE_CHECKING:
    from PIL import Image

NO_FACE = "no face"

# provider → module and class; other environments' estimators join by one line here.
PROVIDERS = {
    "conv": ("inference.tiny_estimator", "TinyEstimator"),
    "mediapipe": ("inference.mediapipe", "MediaPipe"),
}


class EstimatorUnavailable(RuntimeError):
    """An estimator's package, environment or model file is not there; the message says what to install."""


class Reading(NamedTuple):
    """What an estimator saw in one picture.

    intensities: twelve values 0-5 in `facs.ACTION_UNITS` order; None where the estimator does not support
    the AU, all None when nothing was measured. faces: how many were found, None if they are not counted.
    reason: why nothing was measured, None when something was.
    """

    intensities: tuple[float | None, ...]
    faces: int | None
    reason: str | None


def unmeasured(reason: str = NO_FACE, faces: int | None = 0) -> Reading:
    """The Reading of a picture in which nothing could be measured."""
    return Reading((None,) * len(ACTION_UNITS), faces, reason)


class AUEstimator(Protocol):
    """Cheap to construct; loads its model on the first `estimate`."""

    supported: tuple[int, ...]  # AUs that get a value, in facs order
    calls: int  # pictures seen so far

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides a Reading. Loads no model."""

    def estimate(self, images: Sequence[Image.Image]) -> list[Reading]:
        """One Reading a picture, in order; without a face it is a Reading with a reason, never an error."""


def build(settings: Mapping[str, Any]) -> AUEstimator:
    """The estimator of a profile's `au_estimator` section: `provider`, and the provider's own settings.

    Raises ValueError for a provider that is not known, TypeError for a setting the provider does not have.
    """
    options = {key: value for key, value in settings.items() if key != "provider"}
    provider = settings.get("provider")
    if provider not in PROVIDERS:
        raise ValueError(f"AU estimator {provider!r} is not one of {', '.join(PROVIDERS)}")
    module, name = PROVIDERS[provider]
    return getattr(import_module(module), name)(**options)
