"""overrides: what people said over the models. Rows come from `fineface label`, none from here."""

import dagster as dg
import polars as pl

from assets import people, stage
from curation import overrides as rule
from store import Store


@people.asset
def overrides(store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
    """Every override ever given, in order; the latest of a sample counts. The table itself is only read."""
    table = read(store)
    return people.result(rule.TABLE, table, latest=stage.markdown(table.tail(12)))


def read(store: Store) -> pl.DataFrame:
    """The table as it is now, in the order of its times; empty if nobody has labelled anything."""
    return rule.complete(people.read(store, rule.TABLE, rule.SCHEMA))
