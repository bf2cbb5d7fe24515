"""`fineface impact`; what rests on something is found in `provenance.impact`, its words in
`provenance.reports`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, At, Home, existing, say

WHAT = "A sample, a file (also a list or a film), a model (name, fingerprint, key, experiment), or a run."


def impact(
    what: Annotated[str, typer.Argument(help=WHAT)],
    at: At = None,
    home: Home = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for machines.")] = False,
) -> None:
    """What rests on it: labels, versions of the data set, models, scores. That they were made from it, not
    how much it changed them."""
    from pipelines.command.why import as_text, head, paragraphs
    from provenance import reports
    from provenance.impact import impact as ask
    from store import Store

    found = ask(Store(existing(home)), what, at)
    if as_json:
        say(as_text(found))
        return
    head(found.said, reports.verdict(found), "told")
    paragraphs(reports.impact(found))
