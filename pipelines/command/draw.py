"""`fineface draw`; pictures are drawn by `pipelines.drawing`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, DEFAULT_PROFILE, Home, ProfileName, existing, load, say
from pipelines.command.pairs import pairs, png, slug


def draw(
    prompt: Annotated[str, typer.Argument(help="What the picture shows: 'a man in a park'.")],
    aus: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="AU12=4 …",
            help="Intensities, 0 to 5 and beyond; those not named are 0.",
            show_default=False,
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Whose model draws; default: the first that is trained.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise that the picture grows from.")] = 0,
    guidance: Annotated[
        float | None, typer.Option(min=0, help="Default: the scale that was chosen for the experiment.")
    ] = None,
    au_scale: Annotated[
        float | None, typer.Option(help="Weight of the AUs' attention; default: the experiment's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The picture's file; default: named by what is asked, in this folder.")
    ] = None,
    profile: ProfileName = DEFAULT_PROFILE,
    home: Home = DEFAULT_HOME,
) -> None:
    """Draw a face with chosen action units, and a sheet that shows it beside its neutral twin."""
    import facs
    from store import file_system

    try:
        vector = facs.parse(pairs(aus or [], "AU12=4 …"))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="AU12=4 …") from None
    named = f"{slug(prompt)}_{slug(facs.describe(vector))}_seed{seed}.png"
    target = png(Path(named) if out is None else out)
    settings, place = load(profile, existing(home))
    from pipelines import drawing
    from store import Store

    faces = drawing.find(Store(place), settings, experiment)
    scale = faces.guidance if guidance is None else guidance
    name = faces.trained["experiment"]
    weight = {} if au_scale is None else {"au_scale": au_scale}
    say(f"{prompt} · {facs.describe(vector)} · experiment {name} · seed {seed} · guidance {scale:g}")
    neutral, asked = faces.drawn(prompt, [facs.parse({}), vector], seed, scale, **weight)
    say(f"picture: {file_system.write(target, asked)}")
    if any(vector):
        beside = target.with_name(f"{target.stem}_sheet.png")
        say(f"neutral | asked: {file_system.write(beside, drawing.sheet(neutral, asked, prompt, vector))}")
    active = {f"AU{au}": value for au, value in zip(facs.ACTION_UNITS, vector, strict=True) if value}
    of = [repr(str(place))] + (
        [repr(name), repr(profile)] if experiment or profile != DEFAULT_PROFILE else []
    )
    more = (f", seed={seed}" if seed else "") + (f", guidance={scale:g}" if guidance is not None else "")
    more += "".join(f", {argument}={value:g}" for argument, value in weight.items())
    say(
        "in Python:\n"
        "  from pipelines.drawing import FaceGenerator\n"
        f"  faces = FaceGenerator.of({', '.join(of)})\n"
        f"  faces.draw({prompt!r}, {active!r}{more}).save({target.name!r})"
    )
