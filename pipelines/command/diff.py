"""`fineface diff`; what differs is found in `provenance.diff`, its words in `provenance.reports`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, Home, existing, say

SIDE = "A version of the data set (3, or training_set@3), a run, a time, or an experiment."


def diff(
    first: Annotated[str, typer.Argument(help=SIDE)],
    second: Annotated[
        str, typer.Argument(help="What to compare with: of the same kind; now: as it is.")
    ] = "now",
    home: Home = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for machines.")] = False,
) -> None:
    """What differs between two data sets, runs or experiments: samples in and out by reason, labels that
    moved, settings, models, and scores side by side."""
    from pipelines.command.why import as_text, head, paragraphs
    from provenance import reports
    from provenance.diff import diff as ask
    from store import Store

    found = ask(Store(existing(home)), first, second)
    if as_json:
        say(as_text(found))
        return
    head(found.first, f"→ {found.second}", "told")
    paragraphs(reports.sides(found))
