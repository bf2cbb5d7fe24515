"""overrides: what people said over the models. Rows come from `fineface label`, none from here."""

import dagster as dg
import polars as pl

import stages
from assets import catalogue, stage
from curation import overrides as rule
from store import Store
from store.hashing import hash_frame


@dg.asset(
    group_name="data_set",
    code_version="1",
    kinds={"deltalake"},
    owners=catalogue.owners(stages.named("overrides")),
)
def overrides(store: dg.ResourceParam[Store]) -> dg.MaterializeResult:
    """Every override ever given, in order; the latest of a sample counts. The table itself is only read."""
    table = read(store)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(hash_frame(table)),
        metadata={
            "dagster/row_count": table.height,
            "dagster/column_schema": stage.column_schema(table, stages.named("overrides")),
            "in_the_app": dg.MetadataValue.url(catalogue.view(stages.named("overrides"))),
            "latest": stage.markdown(table.tail(12)),
        },
    )


def read(store: Store) -> pl.DataFrame:
    """The table as it is now, in the order of its times; empty if nobody has labelled anything."""
    if store.version(rule.TABLE) is None:
        return pl.DataFrame(schema=rule.SCHEMA)
    return rule.complete(store.read(rule.TABLE))
