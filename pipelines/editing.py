"""Photographs edited by a trained editor of a home: the face is found, cut out as the training set's are,
changed, and laid back. Nothing of a photograph is kept; the protocol's edits are `edited_samples`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

import facs
import picture_files
from methods.editing.targets import TRANSFORMS, Vector
from pipelines.drawing import NothingTrained, same_model
from settings import nearest
from settings.profile import Profile
from store import Store

if TYPE_CHECKING:
    from PIL import Image

    from inference.abilities import Editor

FEATHER = 0.06
"""Of the side of what is laid back: the width of its soft border."""
TABLE = "trained_editors"


class NoFace(ValueError):
    """No face was found in a picture."""


@dataclass(frozen=True)
class Face:
    """The face of a photograph: the square around it, and the twelve intensities that it shows; 0 for an AU
    that is not read."""

    square: picture_files.Region
    aus: Vector


@dataclass(frozen=True)
class FaceEditor:
    """One editor of a home: a photograph and action units become a photograph.

    >>> faces = FaceEditor.of(".fineface", "relative_msf")
    >>> faces.edit(picture, {"AU12": 4, "AU4": 0}).save("smile.png")
    """

    store: Store
    profile: Profile
    trained: Mapping[str, Any]
    """A row of the table `trained_editors`."""

    @classmethod
    def of(
        cls, home: str | Path = ".fineface", method: str | None = None, profile: str = "miniature"
    ) -> FaceEditor:
        """The editor of that name or method (default: the first that trained something) in `home`, which
        `profile` made. Raises NothingTrained, naming what there is, and pipelines.profiles.ProfileError.
        """
        from pipelines import profiles

        place = Path(home).expanduser().absolute()
        return find(Store(place), profiles.load(profile, place), method)

    @property
    def name(self) -> str:
        """The editor's name in the profile."""
        return str(self.trained["editor"])

    def look(self, picture: Image.Image, whole: bool = False) -> Face:
        """The largest face of `picture`; `whole` takes its central square and looks for none.

        Raises NoFace where there is none, or where no action unit is read in it.
        """
        square = central(picture.size) if whole else self._square(picture)
        part = cut(picture, square)
        (aus,), readers = self.read([part]), [self.reader.name]
        if not whole and all(value is None for value in aus):
            # what found the face also reads it, where the labeller knows no such pictures
            other = _mediapipe()
            (aus,) = (reading.intensities for reading in other.estimate([other.prepare(part)]))
            readers.append(other.name)
        if all(value is None for value in aus):
            raise NoFace(f"{' and '.join(dict.fromkeys(readers))} reads no action unit in it")
        return Face(square, tuple(0.0 if value is None else float(value) for value in aus))

    def read(self, pictures: Sequence[Image.Image]) -> list[tuple[float | None, ...]]:
        """What the labels of faces that are cut out already would be: the labeller's readings, corrected as
        the training set's were, where it answers in this process."""
        readings = self.reader.estimate([self.reader.prepare(picture) for picture in pictures])
        vectors = [reading.intensities for reading in readings]
        if self._labeller is None or self.store.version("au_statistics") is None:
            return vectors
        from evaluation import through_recipe
        from evaluation.metrics import MEASURED

        statistics = self.store.read("au_statistics")
        recipe = self.profile.corrections.recipe
        if set(statistics["recipe"]) - {recipe}:
            return vectors
        frame = pl.DataFrame(vectors, schema=dict.fromkeys(MEASURED, pl.Float64), orient="row")
        return through_recipe.apply(frame, recipe, statistics).select(MEASURED).rows()

    def edit(
        self,
        picture: Image.Image,
        aus: Mapping[str | int, float],
        transform: str = "relative",
        face: Face | None = None,
    ) -> Image.Image:
        """`picture` with its face showing `aus`, such as {"AU12": 4}; what is not named stays as it is, or,
        by the transform "average", becomes 0. `face`: of `look`, which else is asked.

        Raises NoFace, and ValueError for what is no AU, no number or no transform.
        """
        asked = {facs.number(au): float(value) for au, value in aus.items()}
        facs.parse(aus)
        if transform not in TRANSFORMS:
            raise ValueError(f"transform {transform!r} is none of {', '.join(TRANSFORMS)}")
        face = self.look(picture) if face is None else face
        return self.shown(picture, face, TRANSFORMS[transform](face.aus, asked))

    def shown(self, picture: Image.Image, face: Face, target: Sequence[float]) -> Image.Image:
        """`picture` with its `face` showing the twelve intensities `target`."""
        part = cut(picture, face.square)
        ((made, _),) = self._editor.edit([part], [face.aus], [target])
        return laid_back(picture, with_detail(part, made), face.square)

    @cached_property
    def reader(self) -> Any:
        """Who reads action units here: the labeller, unless that answers in an environment of its own."""
        return self._labeller or _mediapipe()

    @cached_property
    def _labeller(self) -> Any:
        """The labeller; None where it answers in an environment of its own."""
        from inference import abilities

        found = abilities.build("action_units", self.profile.au_estimator.chosen)
        return None if isinstance(found, abilities.Elsewhere) else found

    @cached_property
    def _editor(self) -> Editor:
        from assets.editing import edited_samples

        return edited_samples.editor(self.store, self.profile, self.trained)

    def _square(self, picture: Image.Image) -> picture_files.Region:
        """The square around the largest face, framed as the training set's faces are."""
        from curation import framing
        from inference.faces import Landmarks

        (box,) = Landmarks(self.profile.framing.model).find([picture])
        if box.face_x is None:
            raise NoFace("no face is found in it")
        width, height = picture.size
        shares = pl.DataFrame([box]).select(framing.BOX).row(0)
        pixels = [share * by for share, by in zip(shares, (width, height) * 2, strict=True)]
        row = dict(zip(framing.BOX, pixels, strict=True)) | {
            **{"sample_id": "", "width": width, "height": height, "framing": framing.FACE, "keep": True},
            **{"reason_code": None, "reason_detail": None},
        }
        text = {"reason_code": pl.String, "reason_detail": pl.String}
        framed = framing.frame(pl.DataFrame([row], schema_overrides=text), self.profile.framing.margin, 1)
        x, y, side = framed.select(framing.SQUARE).row(0)
        if side is None:
            return central(picture.size)
        return picture_files.Region(x, y, side, side)


@cache
def _mediapipe() -> Any:
    from inference import abilities

    return abilities.build("action_units", {"provider": "mediapipe"})


def in_home(store: Store, profile: Profile) -> list[dict[str, Any]]:
    """The rows of `trained_editors` that are of the profile; none where nothing was trained."""
    rows = store.read(TABLE).to_dicts() if store.version(TABLE) is not None else []
    return [row for row in rows if row["editor"] in profile.editing.editors]


def find(store: Store, profile: Profile, method: str | None = None) -> FaceEditor:
    """The FaceEditor of that name or method in `store` (default: the first that trained something).

    Raises NothingTrained where it is not there, or was trained with other settings than the profile's.
    """
    there = in_home(store, profile)
    names = [str(row["editor"]) for row in there]
    if method is None:
        fits = [row for row in there if row["folder"] is not None]
    else:
        fits = [row for row in there if method == row["editor"]]
        fits = fits or [row for row in there if method == row["method"]]
    if not fits:
        what = "no editor" if method is None else f"no editor {method!r}{nearest.hint(method, names)}"
        known = f"; there are {', '.join(names)}" if names else ""
        raise NothingTrained(
            f"{what} of the profile {profile.name} is trained in {store.home}{known}: `fineface run "
            f"--profile {profile.name} --select trained_editors` trains those of its section `editing`"
        )
    (trained, *_) = fits
    name = trained["editor"]
    editor = profile.editing.editors[name]
    if editor.adapter is None:
        same_model(store, profile, name, trained, editor, TABLE)
    elif editor.adapter in profile.experiments:
        train = profile.experiments[editor.adapter].train
        same_model(
            store, profile, editor.adapter, trained, train, f"trained_model+ --experiment {editor.adapter}"
        )
    return FaceEditor(store, profile, trained)


def central(size: tuple[int, int]) -> picture_files.Region:
    """The central square of a picture of that size."""
    side = min(size)
    return picture_files.Region((size[0] - side) // 2, (size[1] - side) // 2, side, side)


def cut(picture: Image.Image, square: picture_files.Region) -> Image.Image:
    """That part of `picture`."""
    return picture.crop((square.x, square.y, square.x + square.width, square.y + square.height))


def with_detail(part: Image.Image, made: Image.Image) -> Image.Image:
    """`part` changed as `made` changes it: what `made`, which may be smaller, differs by from `part` at its
    size is enlarged and added. So what is not changed stays as sharp as it was."""
    import numpy as np
    from PIL import Image

    from inference import images

    seen = np.asarray(images.resized(part, made.width), dtype=np.float32)
    difference = np.asarray(made, dtype=np.float32) - seen
    enlarged = [
        np.asarray(Image.fromarray(channel).resize(part.size, Image.Resampling.BICUBIC))
        for channel in np.moveaxis(difference, 2, 0)
    ]
    changed = np.asarray(part.convert("RGB"), dtype=np.float32) + np.stack(enlarged, axis=2)
    return Image.fromarray(changed.round().clip(0, 255).astype(np.uint8))


def laid_back(picture: Image.Image, made: Image.Image, square: picture_files.Region) -> Image.Image:
    """`picture` with `made` in the place of `square`; its border fades into what is around it, but for edges
    that are the picture's own."""
    from PIL import Image, ImageFilter

    side, soft = square.width, round(FEATHER * square.width)
    fitted = made.resize((side, side), Image.Resampling.LANCZOS)
    free = (
        *(square.x > 0, square.y > 0),
        *(square.x + side < picture.width, square.y + side < picture.height),
    )
    left, top, right, bottom = (soft * edge for edge in free)
    # blurred beyond its edges, so that those of the picture stay whole
    mask = Image.new("L", (side + 4 * soft, side + 4 * soft))
    reach = [2 * soft * (not edge) for edge in free]
    mask.paste(
        255,
        (
            2 * soft + left - reach[0],
            2 * soft + top - reach[1],
            2 * soft + side - right + reach[2],
            2 * soft + side - bottom + reach[3],
        ),
    )
    mask = mask.filter(ImageFilter.GaussianBlur(soft / 2)).crop(
        (2 * soft, 2 * soft, 2 * soft + side, 2 * soft + side)
    )
    whole = picture.convert("RGB").copy()
    whole.paste(fitted, (square.x, square.y), mask)
    return whole
