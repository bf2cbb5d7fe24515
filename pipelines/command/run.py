"""`fineface run`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.command.options import (
    DEFAULT_HOME,
    DEFAULT_PROFILE,
    Experiments,
    Groups,
    Home,
    ProfileName,
    Seeds,
    Select,
    fail,
    load,
    say,
)

if TYPE_CHECKING:
    from settings.profile import Profile


def run(
    profile: ProfileName = DEFAULT_PROFILE,
    select: Select = None,
    experiments: Groups = None,
    experiment: Experiments = None,
    seeds: Seeds = None,
    home: Home = DEFAULT_HOME,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Begin although `fineface check` says that something is missing.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of failed stages.")] = False,
) -> None:
    """Materialise the graph, paying only for what is new, and print results and report.

    What was computed is kept, whatever ends a run: the same command goes on from there. What is missing
    (`fineface check`) is told before anything is computed.
    """
    settings, place = load(profile, home, not anyway, experiments, seeds)
    from pipelines import jobs, preflight, runs
    from pipelines.console import Console
    from store.file_system import address

    planned = runs.plan(settings, place, select, experiment or ())
    if not anyway:
        found = preflight.check(planned)
        if said := preflight.text(found):
            say(said)
        if missing := sum(one.missing for one in found):
            fail(f"\n{missing} missing: nothing was computed (profile {profile}, home {address(place)})")
    console = Console(say=say, verbose=verbose)
    say(f"fineface · profile {profile} · home {address(place)}")
    for folder in runs.write_raw_data(settings):
        say(f"wrote the raw data in {folder}")
    with runs.instance(place) as instance:
        if others := runs.others(instance):
            say(f"also at work in this home: run {', '.join(others)}; stages on the accelerator take turns")
        outcome = runs.run(planned, instance, console.listener, console.spared)
    if "edit_results" in console.made:
        _edit_results(place)
    elif "results" in console.made:  # also of the others where an experiment failed
        _results(place, settings, now=True)
    elif not outcome.failed:
        _results(place, settings, now=jobs.comparison.name in console.left)
    say(f"\n{console.total()}")
    if outcome.interrupted:
        fail(f"interrupted in {outcome.failed[-1]}. What was computed is kept; run again to go on.")
    if outcome.failed:
        fail(f"failed: {', '.join(outcome.failed)}. What was computed is kept; {_what_helps(console.causes)}")


def _what_helps(causes: Collection[str]) -> str:
    """What to do about errors of these classes."""
    if "RetryRequested" in causes:
        return "it was killed, or what it needs was away, each time it was tried: run again to go on."
    if any(name.startswith("Corrupt") for name in causes):
        return "`fineface repair` mends what can be made again."
    return "once that is mended, the same command goes on from there."


def _edit_results(home: Path) -> None:
    """Print what the editors' measures are, and where their page lies."""
    from evaluation import edits
    from store import Store, file_system

    say("\n" + edits.text(Store(home).read("edit_results")))
    say(f"\npage: {file_system.address(home / 'editing.html')}")


def _results(home: Path, profile: Profile, now: bool) -> None:
    """Print the results if this run made them, else say from when they are."""
    from store import Store, file_system

    store = Store(home)
    if store.version("results") is None:
        return
    if not now:
        written = store.history("results")[0]["timestamp"]
        say(
            f"\nresults of {written:%Y-%m-%d %H:%M} UTC stand as they were: this run did not make them "
            "(fineface run --select results)"
        )
        return
    from evaluation import comparisons, seeds, tables

    found = store.read("results")
    grouped = seeds.groups({name: one.decides for name, one in profile.experiments.items()})
    say("\n" + tables.text(found, profile.paper, seeds.over_seeds(found, grouped)))
    if store.version("comparisons") is not None:
        say("\n" + comparisons.text(store.read("comparisons")))
    report = home / "report.html"
    if file_system.size(report) is not None:
        say(f"\nreport: {file_system.address(report)}")
