"""`fineface export`; what is written is put together in `pipelines.exporting`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipelines.command.options import DEFAULT_HOME, DEFAULT_PROFILE, Home, ProfileName, existing, load, say

SECONDS = 5.0
"""Between two lines of progress."""


def export(
    folder: Annotated[Path, typer.Argument(help="Where to; absent or empty.")],
    form: Annotated[
        Literal["parquet", "webdataset", "fiftyone"],
        typer.Option(
            "--format", help="parquet and webdataset: datasets.load_dataset; fiftyone: pictures and CSV."
        ),
    ] = "parquet",
    own_use: Annotated[
        bool,
        typer.Option(
            "--own-use", help="You hold the licences of what may not be passed on, and keep the folder."
        ),
    ] = False,
    without_pictures: Annotated[
        bool, typer.Option("--without-pictures", help="Labels, captions and hashes only (parquet).")
    ] = False,
    profile: ProfileName = DEFAULT_PROFILE,
    home: Home = DEFAULT_HOME,
) -> None:
    """The data set for other tools: its kept samples with pictures, captions and intensities, and with
    Croissant metadata, a data-set card and a card a trained model. A killed export goes on where it was.
    """
    settings, place = load(profile, existing(home))
    from pipelines import exporting
    from store import Store

    raw = {f"raw_{name}": where for name, where in settings.raw if where is not None}
    started = shown = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= SECONDS:
            shown = now
            rate = done / (now - started)
            say(f"  {done:,} of {total:,} samples, {rate:,.0f} a second, {(total - done) / rate:,.0f} s left")

    target = folder.expanduser().absolute()
    found, terms = exporting.export(
        Store(place, raw),
        settings,
        target,
        form,
        own_use=own_use,
        with_pictures=not without_pictures,
        progress=progress,
    )
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    say(f"{found.frame.height:,} samples, version {found.version}, {size / 1e6:,.1f} MB: {target}")
    say(f"cards: {target / 'README.md'} · Croissant: {target / 'croissant.json'}")
    for one in dict.fromkeys(terms.values()):
        if not one.passed_on:
            say(f"{one.name}: {one.licence}. Do not pass this folder on.")
