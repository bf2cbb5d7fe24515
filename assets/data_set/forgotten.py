"""forgotten: the samples that people asked to be forgotten. Rows come from `fineface forget`, none from
here."""

import dagster as dg
import polars as pl

from assets import people
from curation import forgotten as rule
from store import Store


@people.asset
def forgotten(store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
    """Every sample that was forgotten, by hash. The table itself is only read."""
    return people.result(rule.TABLE, read(store))


def read(store: Store) -> pl.DataFrame:
    """The table as it is now; empty if nothing was ever forgotten."""
    return people.read(store, rule.TABLE, rule.SCHEMA)
