"""`fineface status`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, Home, existing, load, profile_of, say


def status(
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            envvar="FINEFACE_PROFILE",
            help="What the home should be; default: the profile of its latest table.",
        ),
    ] = None,
    home: Home = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """What runs, what failed, what is behind the times or quarantined, what is switched on, and about how
    many model calls would bring it all up to date; then every table, the memos, the latest runs.
    """
    place = existing(home)
    from pipelines import overview, profiles, runs
    from store import Store

    store = Store(place)
    named, settings = profile or profile_of(store), None
    if named is not None:
        try:
            settings, _ = load(named, place, keep_unset=True)
        except profiles.ProfileError as error:
            say(f"{error}: what is stale, and the cost, is not known (--profile says by which)\n")
    with runs.instance(place) as instance:
        found = overview.gather(store, instance, settings)
    say(json.dumps(found.as_json(), indent=2, default=str) if as_json else overview.text(found))
