"""`fineface edit`; pictures are edited by `pipelines.editing`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.command.options import (
    DEFAULT_HOME,
    DEFAULT_PROFILE,
    Home,
    ProfileName,
    existing,
    fail,
    load,
    say,
)
from pipelines.command.pairs import pairs, png, slug

if TYPE_CHECKING:
    from pipelines.editing import FaceEditor


def edit(
    photographs: Annotated[
        list[Path], typer.Argument(help="Pictures, or folders of them.", show_default=False)
    ],
    au: Annotated[
        list[str] | None,
        typer.Option(
            "--au",
            metavar="AU12=4",
            help="An intensity, 0 to 5; may be given several times.",
            show_default=False,
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="A picture, or a folder of them, whose expression is asked for: its mean AUs."),
    ] = None,
    transform: Annotated[
        str,
        typer.Option(
            help="relative: what is not asked for stays as it is; average: it becomes 0, and may be all."
        ),
    ] = "relative",
    method: Annotated[
        str | None, typer.Option(help="Who edits, by name or method; default: the first that is trained.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Take the central square, and look for no face.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="A .png, or a folder; default: this folder, named by what is asked."),
    ] = None,
    profile: ProfileName = DEFAULT_PROFILE,
    home: Home = DEFAULT_HOME,
) -> None:
    """Change the expression of the face in a photograph: found, cut out, edited, laid back.

    What the face shows is read first, and told. The photographs themselves are kept nowhere.
    """
    import facs
    from methods.editing.targets import TRANSFORMS

    try:
        asked = {facs.number(name): value for name, value in pairs(au or [], "--au").items()}
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--au") from None
    if not asked and like is None and transform != "average":
        raise typer.BadParameter(
            "say what is to be seen: --au AU12=4, or --like PICTURE; --transform average alone asks for no "
            "expression",
            param_hint="--au",
        )
    if transform not in TRANSFORMS:
        raise typer.BadParameter(
            f"{transform!r} is none of {', '.join(TRANSFORMS)}", param_hint="--transform"
        )
    found = list(_pictures(photographs))
    settings, place = load(profile, existing(home))
    from inference import images
    from picture_files import ImageError
    from pipelines import editing
    from store import Store, file_system

    faces = editing.find(Store(place), settings, method)
    if like is not None:
        asked = _expression(faces, list(_pictures([like])), whole) | asked
    wish = " ".join(f"AU{au}={value:g}" for au, value in asked.items()) or "no expression"
    say(f"editor {faces.name} · {transform} · {wish}")
    failed = 0
    for number, path in enumerate(found, start=1):
        target = _target(out, path, slug(wish), several=len(found) > 1)
        try:
            picture = images.load(path)
            face = faces.look(picture, whole)
        except (ImageError, editing.NoFace) as error:
            failed += 1
            say(f"{path}: {error}")
            continue
        wanted = TRANSFORMS[transform](face.aus, asked)
        made = faces.shown(picture, face, wanted)
        written = file_system.write(target, images.png(made))
        change = f"{facs.describe(face.aus)} → {facs.describe(wanted)}"
        say(f"{number} of {len(found)}: {path}: {change}: {written}")
    if failed:
        fail(f"{failed} of {len(found)} pictures were not edited; --whole looks for no face")


def _pictures(places: Sequence[Path]) -> Iterator[Path]:
    """The picture files among `places` and in their folders, sorted. Raises typer.BadParameter."""
    from picture_files import SUFFIXES

    for place in places:
        if place.is_dir():
            inside = [path for path in sorted(place.rglob("*")) if path.suffix.lower() in SUFFIXES]
            if not inside:
                raise typer.BadParameter(f"there is no picture in {place}")
            yield from inside
        elif place.is_file():
            yield place
        else:
            raise typer.BadParameter(f"{place} is not there")


def _expression(faces: FaceEditor, paths: Sequence[Path], whole: bool) -> dict[int, float]:
    """The mean action units of the faces in `paths`; those without a face are told and left out."""
    from inference import images
    from methods.editing import targets
    from picture_files import ImageError
    from pipelines.editing import NoFace

    readings = []
    for path in paths:
        try:
            readings.append(faces.look(images.load(path), whole).aus)
        except (ImageError, NoFace) as error:
            say(f"--like {path}: {error}")
    if not readings:
        fail("--like: no face in any of these pictures")
    return targets.expression(readings)


def _target(out: Path | None, path: Path, named: str, several: bool) -> Path:
    """Where the edit of `path` is written."""
    name = f"{path.stem}_{named}.png"
    if out is None:
        return Path(name).absolute()
    if several or out.is_dir() or not out.suffix:
        folder = out.expanduser().absolute()
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name
    return png(out)
