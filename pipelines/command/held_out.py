"""`fineface held-out`; openings are rows of `evaluation.openings`, the stage is `assets.held_out`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import (
    DEFAULT_HOME,
    DEFAULT_PROFILE,
    Groups,
    Home,
    ProfileName,
    Seeds,
    existing,
    fail,
    load,
    say,
)


def held_out(
    reason: Annotated[str, typer.Option(help="Why they are opened now; stays in the home.")] = "",
    author: Annotated[str | None, typer.Option(help="Who; default: the name you log in by.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Open them another time: recorded like the first, and told.")
    ] = False,
    shown: Annotated[bool, typer.Option("--list", help="Show every opening.")] = False,
    profile: ProfileName = DEFAULT_PROFILE,
    experiments: Groups = None,
    seeds: Seeds = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """Compare the trained experiments on 50 further prompts, once, when nothing is to be chosen any more.

    What is chosen after these were seen makes them no longer held out, so an opening is recorded with date
    and reason, and a second one is refused without --again.
    """
    from datetime import UTC, datetime
    from getpass import getuser

    from assets.held_out import openings
    from assets.held_out.held_out_comparisons import NAME, held_out_samples
    from evaluation import comparisons, protocol
    from evaluation import openings as rule
    from pipelines import runs
    from pipelines.console import Console
    from store import Store

    store = Store(existing(home))
    before = openings.read(store)
    if shown:
        say("\n".join(_line(row) for row in before.to_dicts()) or "the held-out prompts were never opened")
        return
    settings, place = load(profile, home, True, experiments, seeds)
    lacking = [name for name in settings.experiments if store.version(f"guidance_curve/{name}") is None]
    if lacking:
        fail(f"no trained experiment {', '.join(lacking)} in {store.home}: `fineface run` comes first")
    samples = held_out_samples(settings, store.read("training_set"))
    version, names = protocol.version(samples), [*settings.experiments]
    unfinished = None if again else _unmeasured(store, version)
    if unfinished is not None and set(unfinished["experiments"]) != set(names):
        fail(
            f"begun and not ended: {_line(unfinished)}. --experiments {','.join(unfinished['experiments'])} "
            f"goes on with it; --again opens them another time, for {', '.join(names)}, and is recorded"
        )
    if before.height and not again and unfinished is None:
        # Whatever changed since, most of the prompts are the same
        fail(
            f"opened already: {_line(before.row(0, named=True))}. Seen twice they are no longer held out; "
            "--again opens them nevertheless, and is recorded"
        )
    if unfinished is not None:
        say(f"goes on with what was opened {_line(unfinished)}")
    else:
        try:
            now, who = datetime.now(UTC), author or getuser()
            count = samples["prompt_index"].n_unique()
            row = rule.opening(version, count, names, who, reason, now)
        except ValueError as error:
            fail(f"{error}: --reason")
        store.append(rule.TABLE, row)
    console = Console(say=say, verbose=False)
    planned = runs.plan(settings, place, NAME)
    with runs.instance(place) as instance:
        outcome = runs.run(planned, instance, console.listener, console.spared)
    if outcome.failed:
        fail(f"failed: {', '.join(outcome.failed)}. The same command goes on from there, as this opening.")
    say("\n" + comparisons.text(store.read(NAME)))
    opened = openings.read(store).filter(protocol=version)
    say(f"\n{_line(opened.row(-1, named=True))}" + (f" (opening {opened.height})" * (opened.height > 1)))


def _unmeasured(store, version: str) -> dict | None:
    """The latest opening if it was not measured yet, because that was stopped."""
    import dagster as dg

    from assets.held_out.held_out_comparisons import opening

    try:
        return opening(store, version)
    except dg.Failure:
        return None


def _line(row) -> str:
    return (
        f"{row['time']:%Y-%m-%d %H:%M} UTC by {row['author']}, {row['prompts']} prompts for "
        f"{', '.join(row['experiments'])}: {' '.join(row['reason'].split())}"
    )
