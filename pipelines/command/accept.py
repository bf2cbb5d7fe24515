"""`fineface accept`; acceptances are written by `pipelines.acceptances`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import (
    DEFAULT_HOME,
    DEFAULT_PROFILE,
    Home,
    ProfileName,
    existing,
    fail,
    load,
    say,
)


def accept(
    check: Annotated[str | None, typer.Argument(help="Name of the check, or STAGE:CHECK.")] = None,
    reason: Annotated[str, typer.Option(help="Why; stays with the table.")] = "",
    author: Annotated[str | None, typer.Option(help="Who says so; default: the name you log in by.")] = None,
    shown: Annotated[bool, typer.Option("--list", help="Show every acceptance given so far.")] = False,
    profile: ProfileName = DEFAULT_PROFILE,
    home: Home = DEFAULT_HOME,
) -> None:
    """Accept data that a blocking check stopped. It counts for the table as it is, and no other.

    `fineface status` names the checks that failed. The check stays failed, as a warning that says who
    accepted it; later data are compared with these.
    """
    from getpass import getuser

    from pipelines import acceptances, definitions, runs
    from store import Store

    store = Store(existing(home))
    if shown:
        say(acceptances.listed(store))
        return
    if check is None:
        fail("say CHECK --reason …, or --list")
    settings, place = load(profile, home, keep_unset=True)
    graph = definitions.build(settings, place).resolve_asset_graph()
    with runs.instance(place) as instance:
        said = acceptances.accept(
            store, instance, sorted(graph.asset_check_keys), check, author or getuser(), reason
        )
    say(f"accepted: {said}. Run again to go on.")
