"""Tables whose rows people write by command: as assets they are only read. What a row says stands in the
module of `curation` of the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl

import stages
from assets import catalogue, stage
from store import Store
from store.hashing import hash_frame


def asset(compute: Callable[..., dg.MaterializeResult]) -> dg.AssetsDefinition:
    """`dg.asset` of the table that the decorated function is named after in `stages`."""
    declared = stages.named(compute.__name__)
    return dg.asset(
        group_name=declared.group.value,
        code_version="1",
        kinds={"deltalake"},
        owners=catalogue.owners(declared),
    )(compute)


def result(name: str, table: pl.DataFrame, **metadata: Any) -> dg.MaterializeResult:
    """What the asset `name` hands back: its rows are there already, so it has no value."""
    declared = stages.named(name)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(hash_frame(table)),
        metadata={
            "dagster/row_count": table.height,
            "dagster/column_schema": stage.column_schema(table, declared),
            "in_the_app": dg.MetadataValue.url(catalogue.view(declared)),
            **metadata,
        },
    )


def read(store: Store, name: str, schema: pl.Schema) -> pl.DataFrame:
    """The table as it is now; empty, of that `schema`, if nobody has written a row."""
    return pl.DataFrame(schema=schema) if store.version(name) is None else store.read(name)
