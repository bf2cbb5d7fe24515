"""openings: when the held-out prompts were opened. Rows come from `fineface held-out`, none from here."""

import dagster as dg
import polars as pl

from assets import people, stage
from evaluation import openings as rule
from store import Store


@people.asset
def openings(store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
    """Every opening of the held-out prompts, in order. The table itself is only read."""
    table = read(store)
    return people.result(rule.TABLE, table, latest=stage.markdown(table.tail(12)))


def read(store: Store) -> pl.DataFrame:
    """The table as it is now, in the order of its times; empty if they were never opened."""
    return people.read(store, rule.TABLE, rule.SCHEMA).sort("time", maintain_order=True)
