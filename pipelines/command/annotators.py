"""`fineface annotators audit`: the stage `annotator_audit` by itself, and what it found, in words."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import (
    DEFAULT_HOME,
    DEFAULT_PROFILE,
    Home,
    OneLine,
    ProfileName,
    fail,
    load,
    say,
)

app = typer.Typer(
    cls=OneLine, help="The estimators of action units, where the truth is known.", no_args_is_help=True
)


@app.callback()
def annotators() -> None:
    """The estimators of action units, where the truth is known."""


@app.command()
def audit(
    profile: ProfileName = DEFAULT_PROFILE,
    home: Home = DEFAULT_HOME,
    people: Annotated[
        int | None, typer.Option(min=1, help="So many people; default: the profile's audit.people (24).")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of failed stages.")] = False,
) -> None:
    """Have the profile's estimators read rendered faces of known intensities, and say how right they are.

    Each action unit alone at 1 to 5, pairs, one side only, poses, lights, sizes; by skin, age and sex: about
    100 pictures a person, rendered once. Rendered faces are not photographs: what an estimator cannot read
    here it will hardly read there.
    """
    settings, place = load(profile, home, keep_unset=True)
    if people is not None:
        settings = settings.model_copy(update={"audit": settings.audit.model_copy(update={"people": people})})
    from evaluation import annotator_audit
    from pipelines import preflight, runs
    from pipelines.console import Console
    from store import Store

    planned = runs.plan(settings, place, "annotator_audit")
    found = preflight.check(planned)
    if any(one.missing for one in found):
        fail(preflight.text(found))
    console = Console(say=say, verbose=verbose)
    with runs.instance(place) as instance:
        outcome = runs.run(planned, instance, console.listener)
    if outcome.failed:
        fail("the audit failed. What was read is kept; the same command goes on from there.")
    table = Store(place).read("annotator_audit")
    for (name,), part in table.group_by("annotator", maintain_order=True):
        say(f"\n{name}: {part['model'].drop_nulls()[0]}\n{annotator_audit.text(part)}")
