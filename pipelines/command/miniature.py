"""`fineface miniature train|write|recipes`: the room `miniature`, reached by name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, Home, OneLine, existing, fail, say

app = typer.Typer(cls=OneLine, help="The embedded world of the profile `miniature`.", no_args_is_help=True)


PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""For commands that the miniature itself declares: their options are its own."""


@app.command(context_settings=PASSED_ON)
def train(context: typer.Context) -> None:
    """Make the tiny models that ship with the project (hours; `fineface miniature train --help`)."""
    command = import_module("miniature.train.command").app
    command(args=context.args, prog_name="fineface miniature train")


@app.command(context_settings=PASSED_ON)
def write(context: typer.Context) -> None:
    """Write raw data of the embedded world, at any size (`fineface miniature write --help`)."""
    command = import_module("miniature.write").app
    command(args=context.args, prog_name="fineface miniature write")


@app.command()
def recipes(
    home: Home = DEFAULT_HOME,
    affectnet: Annotated[
        Path | None, typer.Option(help="The miniature's AffectNet folder; default: the home's.")
    ] = None,
) -> None:
    """How far the labels of each recipe lie from the truth, which only the miniature knows."""
    from store import Store

    module = import_module("miniature.recipes")
    place = existing(home)
    try:
        say(module.text(module.errors(Store(place), affectnet or place / "raw" / "affectnet")))
    except ValueError as error:
        fail(str(error))
