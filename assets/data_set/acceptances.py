"""acceptances: the failed checks that people accepted. Rows come from `fineface accept`, none from here."""

import dagster as dg
import polars as pl

from assets import people, stage
from curation import acceptances as rule
from store import Store


@people.asset
def acceptances(store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
    """Every acceptance ever given, in order. The table itself is only read."""
    table = read(store)
    return people.result(rule.TABLE, table, latest=stage.markdown(table.tail(12)))


def read(store: Store) -> pl.DataFrame:
    """The table as it is now, in the order of its times; empty if nobody has accepted anything."""
    return people.read(store, rule.TABLE, rule.SCHEMA).sort("time", maintain_order=True)
