"""forgotten: the samples that people asked to be forgotten. Rows come from `fineface forget`, none from
here."""

import dagster as dg
import polars as pl

from assets import stage
from curation import forgotten as rule
from store import Store
from store.hashing import hash_frame


@dg.asset(group_name="data_set", code_version="1", kinds={"deltalake"})
def forgotten(store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
    """Every sample that was forgotten, by hash. The table itself is only read."""
    table = read(store)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(hash_frame(table)),
        metadata={"dagster/row_count": table.height, "dagster/column_schema": stage.column_schema(table)},
    )


def read(store: Store) -> pl.DataFrame:
    """The table as it is now; empty if nothing was ever forgotten."""
    if store.version(rule.TABLE) is None:
        return pl.DataFrame(schema=rule.SCHEMA)
    return store.read(rule.TABLE)
