"""When, by whom and why the held-out prompts were opened: the rows of the table `openings`. Writing them is
the business of `fineface held-out`.
"""

from datetime import datetime

import polars as pl

TABLE = "openings"
SCHEMA = pl.Schema(
    {
        "protocol": pl.String(),
        "prompts": pl.Int64(),
        "experiments": pl.List(pl.String()),
        "author": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "reason": pl.String(),
    }
)


def opening(
    protocol: str, prompts: int, experiments: list[str], author: str, reason: str, time: datetime
) -> pl.DataFrame:
    """One row: that version of the held-out protocol is opened for `experiments`. `time` has a time zone.
    Raises ValueError for an empty author or reason."""
    for what, value in (("an author", author), ("a reason", reason)):
        if not value.strip():
            raise ValueError(f"an opening of the held-out prompts needs {what}")
    row = (protocol, prompts, experiments, author.strip(), time, reason.strip())
    return pl.DataFrame([row], schema=SCHEMA, orient="row")
