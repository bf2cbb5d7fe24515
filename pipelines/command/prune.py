"""`fineface prune`; what versions cost is found in `store.history`, which are needed in
`provenance.keeping`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, Home, existing, fail, say


def prune(
    keep: Annotated[
        int,
        typer.Option(help="Keep so many versions of every table, and all that these were made from.", min=1),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what it would cost.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Remove old versions of tables: what they said can no longer be asked for with --at, nor compared.
    Pictures, answers and trained models stay."""
    from pipelines import runs
    from provenance.keeping import needed, questions_lost
    from store import Store
    from store.history import cost
    from store.history import prune as remove

    place = existing(home)
    store = Store(place)
    costs = cost(store, needed(store, keep))
    for one in costs:
        say(f"{one.stage}: version {', '.join(map(str, one.versions))}, {one.size / 1e6:,.1f} MB")
    for line in questions_lost(store, costs):
        say(line)
    total = sum(one.size for one in costs)
    if not costs:
        say("nothing to prune")
    elif not yes:
        say(f"{total / 1e6:,.1f} MB would be freed; nothing was done yet: --yes removes them for good")
    else:
        with runs.instance(place) as opened:
            if others := runs.others(opened):
                fail(f"run {', '.join(others)} is at work in this home: prune when it has ended")
        remove(costs)
        say(f"{total / 1e6:,.1f} MB freed")
