"""Pictures that are asked for on a page: one prompt and one noise, with and without action units, and steps
between. Models are found and asked by `pipelines.drawing`, which remembers every picture.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import facs
from pipelines import drawing
from settings.profile import Profile
from store import Store

STRIP = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
"""Shares of the intensities asked for, of which a strip shows a picture each: the neutral one first."""
SCALE = "au_scale"
"""The argument of a pipeline that weighs the AUs' attention; methods without it have no such slider."""


@dataclass(frozen=True)
class Asked:
    """A picture that is asked for. guidance and au_scale: null for those of the experiment."""

    experiment: str
    prompt: str
    vector: tuple[float, ...]
    seed: int = 0
    guidance: float | None = None
    au_scale: float | None = None


class Studio:
    """The trained models of a home; one draws at a time, and the one that drew last stays loaded."""

    def __init__(self, store: Store, profile: Profile, profile_name: str) -> None:
        self.store, self.profile, self._name = store, profile, profile_name
        self._drawing = threading.Lock()
        self._found: tuple[str, int | None, drawing.FaceGenerator] | None = None

    def experiments(self) -> list[str]:
        """Those of the profile that can draw, those that trained something first."""
        there = [
            name
            for name in self.profile.experiments
            if self.store.version(f"trained_model/{name}") is not None
        ]
        return sorted(there, key=lambda name: self.store.read(f"trained_model/{name}")["folder"][0] is None)

    def faces(self, experiment: str) -> drawing.FaceGenerator:
        """The model of an experiment. Raises pipelines.drawing.NothingTrained."""
        version = self.store.version(f"trained_model/{experiment}")
        if self._found is None or self._found[:2] != (experiment, version):
            self._found = experiment, version, drawing.find(self.store, self.profile, experiment)
        return self._found[2]

    def guidance(self, experiment: str) -> float:
        """The scale that was chosen for the experiment."""
        return self.faces(experiment).guidance

    def au_scale(self, experiment: str) -> float | None:
        """The weight of the AUs that the experiment is drawn with; None where its method has none."""
        found = self.profile.experiments[experiment].sample.arguments.get(SCALE)
        return None if found is None else float(found)

    def draw(self, asked: Asked, shares: Sequence[float] = (0.0, 1.0)) -> list[str]:
        """The names of the stored pictures in which each of `shares` of the intensities is asked for, all of
        one prompt and one noise. Raises ValueError for an empty prompt or a seed below 0.
        """
        if not asked.prompt.strip():
            raise ValueError("say what the picture shows: the prompt is empty")
        if asked.seed < 0:
            raise ValueError(f"a seed is a whole number from 0 on, not {asked.seed}")
        vectors = [tuple(value * share for value in asked.vector) for share in shares]
        with self._drawing:
            faces = self.faces(asked.experiment)
            arguments = {} if asked.au_scale is None else {SCALE: asked.au_scale}
            return faces.names(asked.prompt, vectors, asked.seed, asked.guidance, **arguments)

    def call(self, asked: Asked) -> tuple[str, str]:
        """What draws the same picture: three lines of Python, and a line of the command."""
        active = {f"AU{au}": v for au, v in zip(facs.ACTION_UNITS, asked.vector, strict=True) if v}
        guidance = "" if asked.guidance is None else f", guidance={asked.guidance:g}"
        scale = "" if asked.au_scale is None else f", {SCALE}={asked.au_scale:g}"
        python = (
            "from pipelines.drawing import FaceGenerator\n"
            f"faces = FaceGenerator.of({str(self.store.home)!r}, {asked.experiment!r}, {self._name!r})\n"
            f"faces.draw({asked.prompt!r}, {active!r}, seed={asked.seed}{guidance}{scale}).save('face.png')"
        )
        words = ["fineface", "draw", asked.prompt, *(f"{au}={value:g}" for au, value in active.items())]
        words += ["--experiment", asked.experiment, "--seed", str(asked.seed)]
        words += [] if asked.guidance is None else ["--guidance", f"{asked.guidance:g}"]
        words += [] if asked.au_scale is None else ["--au-scale", f"{asked.au_scale:g}"]
        words += ["--profile", self._name, "--home", str(self.store.home)]
        return python, shlex.join(words)
