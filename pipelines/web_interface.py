"""Dagster's web server behind the guard of `loopback`: the process that `fineface ui` runs for it.

Which definitions it shows is said by a workspace file; who else runs beside it, by `pipelines.command.ui`.
"""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

import loopback

GRAPHQL = "/graphql"
"""Where Dagster's server takes queries and mutations, by GET too."""


def main(
    workspace: Annotated[Path, typer.Option(help="Names the code server.")],
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    open_it: Annotated[bool, typer.Option("--open", help="In the browser.")] = False,
) -> None:
    """Serve the UI of DAGSTER_HOME on 127.0.0.1, and print the link that lets a browser in."""
    listening = loopback.bind(port)
    from dagster import DagsterInstance
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster_webserver.app import create_app_from_workspace_process_context

    target = WorkspaceFileTarget([str(workspace)])
    with DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as context:
        application = create_app_from_workspace_process_context(context)
        guarded = loopback.Guard(application, port, posted=[GRAPHQL], announce=_announce)
        guarded.announce()
        if open_it:
            webbrowser.open(guarded.link)
        loopback.serve(guarded, listening)


def _announce(link: str) -> None:
    typer.echo(f"open {link} (lets one browser in; then the next link is printed)")


if __name__ == "__main__":
    typer.run(main)
