"""A person's word over a failed check: the rows of the table `acceptances`. Writing them is the business of
`fineface accept`.
"""

from datetime import datetime

import polars as pl

TABLE = "acceptances"
SCHEMA = pl.Schema(
    {
        "check": pl.String(),
        "stage": pl.String(),
        "content": pl.String(),
        "said": pl.String(),
        "author": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "reason": pl.String(),
    }
)


def acceptance(
    check: str, stage: str, content: str, said: str, author: str, reason: str, time: datetime
) -> pl.DataFrame:
    """One row of the table: the failed `check` of `stage`, which `said` what was wrong with the table of that
    `content` (a hash). `time` has a time zone. Raises ValueError for an empty author or reason."""
    for what, value in (("author", author), ("reason", reason)):
        if not value.strip():
            raise ValueError(f"an acceptance needs {'an' if what == 'author' else 'a'} {what}")
    row = (check, stage, content, said, author.strip(), time, reason.strip())
    return pl.DataFrame([row], schema=SCHEMA, orient="row")
