"""Who can answer for each ability, by name, and the class that does. What a class must do stands in
`inference.abilities`; what a profile may say about each, in `settings.profile`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from settings import nearest

PROVIDERS: Mapping[str, Mapping[str, str]] = {
    "answers": {"blip2": "inference.blip2:Blip2", "lavis": "inference.lavis:Lavis"},
    "captions": {"blip2": "inference.blip2:Blip2", "lavis": "inference.lavis:Lavis"},
    "action_units": {
        "mediapipe": "inference.mediapipe:MediaPipe",
        "libreface": "inference.libreface:LibreFace",
    },
    "faces": {"mediapipe": "inference.faces:Landmarks"},
    "embeddings": {"clip": "inference.clip:Clip"},
    "identity": {"dlib": "inference.identity:Dlib"},
    "known_faces": {
        "rendered": "miniature.audit_set:Renderer",
        "balanced": "miniature.balanced_set:Renderer",
    },
}

PACKAGES = ("inference", "miniature")
"""The project's own, in which a profile may name a class itself: `miniature.estimator:TinyEstimator`."""

_PLACE = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.[a-z_][a-z0-9_]*)+:[A-Z]\w*")


def place(ability: str, provider: str) -> str:
    """`module:Class` of a provider: one of PROVIDERS, or a class of the project's own that is named itself.

    Raises ValueError for any other: a profile cannot make a run import foreign code.
    """
    known = PROVIDERS[ability]
    if provider in known:
        return known[provider]
    if isinstance(provider, str) and _PLACE.fullmatch(provider):
        return provider
    if isinstance(provider, str) and ":" in provider:
        raise ValueError(f"{ability}: {provider!r} is no class of {' or '.join(PACKAGES)}, as module:Class")
    close = nearest.hint(str(provider), known)
    raise ValueError(f"{ability}: provider {provider!r} is not one of {', '.join(known)}{close}")
