"""`fineface inspect`; the counting lives in `curation.inventory`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command.options import ProfileName, say


def inspect(
    folder: Annotated[Path, typer.Argument(help="Raw data: AffectNet, DISFA, pictures, or several of them.")],
    profile: ProfileName = "paper",
    home: Annotated[
        Path | None,
        typer.Option(help="Remember content hashes here, for the next look and for a run.", file_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """What a raw folder holds and what a run would do with it, before anything is computed."""
    from pipelines import inspection

    found = inspection.inspect(folder, profile, home)
    if as_json:
        say(found.as_json())
    else:
        inspection.show(found, profile)
