"""Faces as they are asked for, drawn by a trained experiment of a home and remembered like every answer.

What the protocol asks for is drawn by the stage `generated_samples`, with the same generator.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import facs
from settings import nearest
from settings.base import Settings, identity
from settings.profile import Profile
from store import Store, file_system

if TYPE_CHECKING:
    from PIL import Image

    from inference.generation import Generator

FILES = "generated"
"""The kind of stored files that drawn pictures are."""
SIDES = (192, 512)
"""Smallest and largest side of a picture on a sheet, in pixels."""


class NothingTrained(LookupError):
    """There is no such trained experiment in the home, or the profile asks for another one."""


@dataclass(frozen=True)
class FaceGenerator:
    """One experiment's model in its base: a prompt, action units and a seed become a picture.

    >>> faces = FaceGenerator.of(".fineface")
    >>> faces.draw("a man in a park", {"AU12": 4}).save("smile.png")
    """

    store: Store
    profile: Profile
    trained: Mapping[str, Any]
    """A row of the table `trained_model`."""
    guidance: float
    """Classifier-free guidance where none is asked for: the one that was chosen for the experiment."""

    @classmethod
    def of(
        cls, home: str | Path = ".fineface", experiment: str | None = None, profile: str = "miniature"
    ) -> FaceGenerator:
        """That of an experiment (default: the first that trained something) in `home`, which `profile` made.

        Raises NothingTrained, naming what there is, and pipelines.profiles.ProfileError.
        """
        from pipelines import profiles

        place = Path(home).expanduser().absolute()
        return find(Store(place), profiles.load(profile, place), experiment)

    def draw(
        self,
        prompt: str,
        aus: Mapping[str | int, float] | None = None,
        seed: int = 0,
        guidance: float | None = None,
        **arguments: float,
    ) -> Image.Image:
        """The picture of `prompt` with `aus`, such as {"AU12": 4}; those not named are 0.

        The same question is answered from memory. `arguments` as in `names`. Raises ValueError for what is
        no AU or no number.
        """
        from PIL import Image

        content = self.drawn(prompt, [facs.parse(aus or {})], seed, guidance, **arguments)[0]
        return Image.open(io.BytesIO(content)).convert("RGB")

    def drawn(
        self,
        prompt: str,
        vectors: Sequence[Sequence[float]],
        seed: int,
        guidance: float | None = None,
        **arguments: float,
    ) -> list[bytes]:
        """A PNG for each of `vectors`, 12 intensities each, all of one prompt and one noise."""
        files = self.store.files(FILES)
        return [files.read(name) for name in self.names(prompt, vectors, seed, guidance, **arguments)]

    def names(
        self,
        prompt: str,
        vectors: Sequence[Sequence[float]],
        seed: int,
        guidance: float | None = None,
        **arguments: float,
    ) -> list[str]:
        """Like `drawn`, the names of the stored pictures. `arguments` stand in the place of what the
        experiment calls its pipeline with, such as au_scale. Raises ValueError for one that its method has
        not."""
        import methods.registry
        from assets.drawing import requests
        from inference import asking, questions

        rows = [dict(zip(facs.COLUMNS, vector, strict=True)) for vector in vectors]
        samples = pl.DataFrame(rows).with_columns(prompt=pl.lit(prompt), seed=pl.lit(seed, dtype=pl.Int64))
        experiment = self.profile.experiments[self.trained["experiment"]]
        asked = requests(samples, methods.registry.wording(experiment.train)).with_columns(
            guidance=pl.lit(float(self.guidance if guidance is None else guidance))
        )
        own = experiment.sample.arguments
        if unknown := sorted(set(arguments) - set(own)):
            raise ValueError(f"{', '.join(unknown)}: no argument of the method {experiment.train.method}")
        generator = self._generator.called_with({**own, **arguments})
        question = questions.pictures(generator, self.store.files(FILES))
        found = asking.ask(self.store, question, asked, chunk=self.profile.evaluation.chunk)
        return found.frame["file"].to_list()

    @cached_property
    def _generator(self) -> Generator:
        from assets import drawing

        return drawing.generator(self.store, self.profile, self.trained)


def find(store: Store, profile: Profile, experiment: str | None = None) -> FaceGenerator:
    """The FaceGenerator of an experiment in `store` (default: the first that trained something).

    Raises NothingTrained where it is not there, or is not what the profile says now.
    """
    if experiment is not None and experiment not in profile.experiments:
        known = ", ".join(profile.experiments)
        raise NothingTrained(
            f"no experiment {experiment!r}{nearest.hint(experiment, profile.experiments)} "
            f"(the profile {profile.name} has {known})"
        )
    there = {name: row for name in profile.experiments if (row := _trained(store, name)) is not None}
    if experiment is None:
        experiment = next((name for name, row in there.items() if row["folder"] is not None), None)
    if experiment is None or experiment not in there:
        what = "no experiment" if experiment is None else f"the experiment {experiment}"
        only = f" --experiment {experiment}" if experiment is not None else ""
        raise NothingTrained(
            f"{what} of the profile {profile.name} is trained in {store.home}: "
            f"`fineface run --profile {profile.name} --select +trained_model{only}` trains it"
        )
    train = profile.experiments[experiment].train
    same_model(store, profile, experiment, there[experiment], train, "trained_model+")
    return FaceGenerator(store, profile, there[experiment], _guidance(store, profile, experiment))


def sheet(neutral: bytes, asked: bytes, prompt: str, vector: Sequence[float]) -> bytes:
    """Two pictures side by side, as a PNG: without action units, and with those of `vector`."""
    from PIL import Image

    from evaluation import grids

    pictures = [Image.open(io.BytesIO(content)).convert("RGB") for content in (neutral, asked)]
    active = [f"AU{au}={value:g} {facs.NAMES[au].lower()}" for au, value in _active(vector)]
    side = min(max(pictures[0].width, SIDES[0]), SIDES[1])
    return grids.image_grid([pictures], [prompt], ["neutral", "\n".join(active)], cell=side)


def _active(vector: Sequence[float]) -> list[tuple[int, float]]:
    return [(au, value) for au, value in zip(facs.ACTION_UNITS, vector, strict=True) if value]


def _trained(store: Store, experiment: str) -> dict[str, Any] | None:
    table = f"trained_model/{experiment}"
    return store.read(table).row(0, named=True) if store.version(table) is not None else None


def same_model(
    store: Store, profile: Profile, name: str, trained: Mapping[str, Any], train: Settings, select: str
) -> None:
    """Raises NothingTrained where `trained`, the row of the model called `name`, is of other settings than
    `train`, or of another base than `profile` has; `select` trains it anew."""
    from assets.fitting import JOB
    from training.job import TrainingJob

    if trained["folder"] is None:
        return
    job = TrainingJob.read(file_system.local((store.home / trained["folder"]).parents[1] / JOB))
    other = ""
    if identity(job.train) != identity(train):
        other = "with other settings"
    elif job.base is not None and job.base_content != _base_content(profile):
        other = f"on another base than {profile.base.model}"
    if other:
        raise NothingTrained(
            f"{name} in {store.home} was trained {other} than the profile {profile.name} has: name "
            "the profile that it was trained with (--profile), or train it anew: "
            f"`fineface run --select {select}`"
        )


def _base_content(profile: Profile) -> str:
    from inference.generation import base_content

    return base_content(profile.base.model, profile.base.revision)


def _guidance(store: Store, profile: Profile, experiment: str) -> float:
    """What was chosen for the experiment; before that, what it says itself, or the middle candidate."""
    from evaluation import guidance

    table = f"guidance_curve/{experiment}"
    if store.version(table) is not None:
        return guidance.chosen(store.read(table))
    own, candidates = profile.experiments[experiment].sample.guidance, profile.evaluation.guidance_candidates
    return float(sorted(candidates)[len(candidates) // 2] if own is None else own)
