"""`fineface app`; what it serves lives in `app`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, DEFAULT_PROFILE, Home, ProfileName, load, say


def app(
    profile: ProfileName = DEFAULT_PROFILE,
    home: Home = DEFAULT_HOME,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 7860,
    open_it: Annotated[bool, typer.Option("--open", help="Open the link in the browser.")] = False,
) -> None:
    """A web app of this home: draw faces, go through the samples and overrule them, see results and drift.

    Prints the link that lets a browser in, once; then the next. Only this machine reaches it.
    """
    import webbrowser
    from getpass import getuser

    import loopback

    loopback.bind(port).close()  # a port that is taken is told now
    settings, place = load(profile, home)
    from app import server
    from app.site import Site
    from pipelines import definitions, labels, runs

    store = definitions.store_of(settings, place)

    def label(sample_id: str, stage: str, said: str, author: str, reason: str) -> None:
        labels.add(store, sample_id, stage, said, author, reason)
        with runs.instance(store.home) as instance:
            labels.announce(store, instance)

    announced: list[str] = []

    def announce(link: str) -> None:
        say(f"open {link} (lets one browser in; then the next link is printed)")
        if open_it and not announced:
            webbrowser.open(link)
        announced.append(link)

    server.serve(Site(store, settings, profile, label, getuser()), port, announce)
