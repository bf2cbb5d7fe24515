"""`fineface label`; labels are written by `pipelines.labels`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, Home, existing, fail, say


def label(
    sample_id: Annotated[str | None, typer.Argument(help="For example affectnet/3/ab12.jpg.")] = None,
    stage: Annotated[str | None, typer.Argument(help="photorealism or training_set")] = None,
    verdict: Annotated[
        str | None,
        typer.Argument(
            help="photorealism: keep, drop, or undo to take a label back. training_set: AU4=2.5, AU4=undo."
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; stays with the sample.")] = "",
    author: Annotated[str | None, typer.Option(help="Who says so; default: the name you log in by.")] = None,
    shown: Annotated[bool, typer.Option("--list", help="Show every label given so far.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Overrule a model on one sample: its verdict, or the intensity of an AU that is trained on. The answer
    stays; the latest label of a sample wins."""
    from getpass import getuser

    from pipelines import labels, runs
    from store import Store

    store = Store(existing(home))
    if shown:
        say(labels.listed(store))
        return
    if sample_id is None or stage is None or verdict is None:
        fail("say SAMPLE_ID STAGE VERDICT, or --list")
    labels.add(store, sample_id, stage, verdict, author or getuser(), reason)
    with runs.instance(store.home) as instance:
        labels.announce(store, instance)
    say(f"{stage} of {sample_id}: {verdict}. `fineface run --select {stage}+` applies it.")
