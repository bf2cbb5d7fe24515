"""`fineface study make` and `read`: a blinded user study of edits, as one page that works offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, Home, OneLine, existing, say

PAGE, KEY = "study.html", "key.csv"

app = typer.Typer(cls=OneLine, help="A blinded user study of edited faces.", no_args_is_help=True)


@app.callback()
def study() -> None:
    """A blinded user study of edited faces."""


@app.command()
def make(
    folder: Annotated[Path, typer.Argument(help="The new folder of the study.")],
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of edits that are shown.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Which pairs, sides and order.")] = 0,
    home: Home = DEFAULT_HOME,
) -> None:
    """Write study.html, which raters open and send a CSV back from, and key.csv, which they must not see.

    Every two editors of the home are compared on the same sources and requests: which one shows the
    expression, is the same person, looks real.
    """
    from evaluation import study
    from inference import images
    from store import Store, StoreError, file_system

    store = Store(existing(home))
    if store.version("edited_samples") is None:
        raise StoreError(f"nothing was edited in {store.home}: `fineface run --select editing` does")
    place = folder.expanduser().absolute()
    if place.is_dir() and any(place.iterdir()):
        raise typer.BadParameter(f"{place} is not empty: a study has a folder of its own")

    def picture(kind: str, name: str) -> bytes:
        return images.png(images.load(store.locate(kind, name)))

    try:
        key = study.pairs(store.read("edited_samples"), pairs, seed)
    except study.StudyError as error:
        raise typer.BadParameter(str(error), param_hint="--pairs") from None
    place.mkdir(parents=True, exist_ok=True)
    file_system.write(place / KEY, key.write_csv())
    page = study.page(key, picture, "Which face?")
    say(f"for raters: {file_system.write(place / PAGE, page)}")
    say(f"for you alone: {place / KEY}")
    say(f"then: fineface study read {folder} ANSWERS.csv …")


@app.command()
def read(
    folder: Annotated[Path, typer.Argument(help="The folder of the study, with its key.csv.")],
    answers: Annotated[list[Path], typer.Argument(help="The CSV files that raters sent back.")],
) -> None:
    """How often raters preferred one editor to another, with intervals over pairs."""
    import polars as pl

    from evaluation import study

    key = pl.read_csv(folder / KEY, schema=study.KEY)
    try:
        tables = [pl.read_csv(path, infer_schema=False) for path in answers]
        found = study.read(key, pl.concat(tables, how="diagonal"))
    except (study.StudyError, pl.exceptions.PolarsError) as error:
        raise typer.BadParameter(str(error), param_hint="ANSWERS") from None
    say(study.text(found))
