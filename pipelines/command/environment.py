"""`fineface environment create|list`; how they are made lives in `inference.environments`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command.options import OneLine, fail, say

app = typer.Typer(
    cls=OneLine,
    help="Environments of their own, for annotators whose pins cannot share this one.",
    no_args_is_help=True,
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="lavis or libreface.")],
    path: Annotated[
        Path | None, typer.Option(help="The folder to make it in; default: where it is looked for.")
    ] = None,
) -> None:
    """Make the environment NAME (about a minute, 1.6 GB), from requirements with hashes."""
    from inference import environments
    from settings import nearest

    if name not in environments.NAMES:
        close = nearest.hint(name, environments.NAMES)
        fail(f"no environment {name!r}{close or '; there are ' + ', '.join(environments.NAMES)}")
    made = environments.create(name, path, say=say)
    if made != environments.folder(name):
        say(f"it is found once the variable says so: {environments.variable(name)}={made}")


@app.command("list")
def list_environments() -> None:
    """Which environments there are, whether each is ready, and where it is looked for."""
    from inference import environments

    for name in environments.NAMES:
        say(f"{name} {environments.state(name)}")
