"""`fineface why`; the answer is made in `provenance.why`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, Home, existing, say


def why(
    sample_id: Annotated[str, typer.Argument(help="For example affectnet/3/ab12.jpg or disfa/SN001/00012.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Where a sample's label came from: its row in every stage, and the samples that set its scale."""
    import provenance.why
    from store import Store

    say(str(provenance.why.why(Store(existing(home)), sample_id)))
