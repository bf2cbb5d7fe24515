"""`fineface schedule on|off|list`; the switches are turned by `pipelines.switches`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, DEFAULT_PROFILE, Home, OneLine, ProfileName, load, say

app = typer.Typer(
    cls=OneLine,
    help="What a home does by itself, while `fineface ui` (or Dagster's daemon) runs on it: new_data begins "
    "a chain of runs for new files, nightly_data_set and weekly_training act by the clock, run_failed tells "
    "of failures. When, how far and whom: the profile's section `automation`. Off until switched on.",
    no_args_is_help=True,
)

Names = Annotated[list[str] | None, typer.Argument(help="Only these; default: all.")]


@app.command()
def on(names: Names = None, profile: ProfileName = DEFAULT_PROFILE, home: Home = DEFAULT_HOME) -> None:
    """Switch on. What changed before is seen at the first look."""
    _turn(names, profile, home, True)


@app.command()
def off(names: Names = None, profile: ProfileName = DEFAULT_PROFILE, home: Home = DEFAULT_HOME) -> None:
    """Switch off. A run that has begun goes on."""
    _turn(names, profile, home, False)


@app.command("list")
def list_switches(profile: ProfileName = DEFAULT_PROFILE, home: Home = DEFAULT_HOME) -> None:
    """What is on, when it acts, and what it said last."""
    settings, place = load(profile, home, keep_unset=True)
    from pipelines import overview, runs, switches

    with runs.instance(place) as instance:
        say(overview.switched(switches.switches(instance, settings), switches.daemon_runs(instance)))


def _turn(names: list[str] | None, profile: str, home: Home, on: bool) -> None:
    settings, place = load(profile, home, keep_unset=True)
    from pipelines import overview, runs, switches

    with runs.instance(place) as instance:
        switches.turn(instance, settings, names or switches.NAMES, on)
        say(overview.switched(switches.switches(instance, settings), switches.daemon_runs(instance)))
