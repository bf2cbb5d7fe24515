"""`fineface why`; the answer is found in `provenance.why`, its words in `provenance.story`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, Home, existing, say


def why(
    sample_id: Annotated[str, typer.Argument(help="For example affectnet/3/ab12.jpg or disfa/SN001/00012.")],
    home: Home = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for machines.")] = False,
) -> None:
    """Where a sample's label came from: its row in every stage, and the samples that set its scale."""
    from provenance import story
    from provenance.why import why as ask
    from store import Store

    trail = ask(Store(existing(home)), sample_id)
    say(trail.as_json() if as_json else story.render(trail))
