"""Which polars types a Delta table holds, and the widening that makes a frame storable. No input or
output."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from polars.datatypes import DataTypeClass

from store.errors import UnstorableColumn

_WIDER = {
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Int64(),
    pl.Categorical: pl.String(),
    pl.Enum: pl.String(),
}
_AS_THEY_ARE = {
    pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64,
    pl.String, pl.Binary, pl.Date, pl.Decimal,
}  # fmt: skip
Type = pl.DataType | DataTypeClass
_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64)


def storable_type(dtype: Type) -> Type | None:
    """The type as which `dtype` is stored (unsigned integers widen, categories become strings), None if
    none."""
    base = dtype.base_type()
    if base in _AS_THEY_ARE:
        return dtype
    if base in _WIDER:
        return _WIDER[base]
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", "UTC" if dtype.time_zone else None)
    if isinstance(dtype, pl.List | pl.Array):
        inner = storable_type(dtype.inner)
        return None if inner is None else pl.List(inner)
    if isinstance(dtype, pl.Struct):
        fields = {field.name: storable_type(field.dtype) for field in dtype.fields}
        sound = {name: kind for name, kind in fields.items() if kind is not None}
        return pl.Struct(sound) if sound and len(sound) == len(fields) else None
    return None


def storable(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """`frame` with every column in its stored type; `what` names the table in errors.

    Raises UnstorableColumn for columns that have no type (all null), a type Delta lacks (time, duration),
    values that do not fit (UInt64 above 2^63 − 1) or names that differ only in case.
    """
    if not frame.columns:
        raise UnstorableColumn(f"{what}: the frame has no columns")
    lower: dict[str, str] = {}
    for name in frame.columns:
        if other := lower.get(name.lower()):
            raise UnstorableColumn(f"{what}: column names {other!r} and {name!r} differ only in case")
        lower[name.lower()] = name
    types = {name: storable_type(dtype) for name, dtype in frame.schema.items()}
    refused = [f"{name} ({frame.schema[name]})" for name, dtype in types.items() if dtype is None]
    if refused:
        raise UnstorableColumn(
            f"{what}: no table can hold {', '.join(refused)}. An all-null column needs a type, "
            "for example pl.lit(None, dtype=pl.String) or pl.col(…).cast(pl.Float64)"
        )
    changed: Any = {name: dtype for name, dtype in types.items() if dtype and dtype != frame.schema[name]}
    try:
        return frame.cast(changed) if changed else frame
    except pl.exceptions.PolarsError as error:
        raise UnstorableColumn(f"{what}: values do not fit the stored types: {error}") from error


def conform(frame: pl.DataFrame, schema: Mapping[str, pl.DataType], what: str) -> pl.DataFrame:
    """`frame` in the types of `schema` where that loses nothing; columns absent from `frame` come as nulls.

    An untyped (all-null) column takes the type of `schema`; integers widen to floats. Columns unknown to
    `schema` are kept at the end. Raises UnstorableColumn where a value would be lost.
    """
    columns = []
    for name, dtype in schema.items():
        if name not in frame.columns:
            columns.append(pl.lit(None, dtype=dtype).alias(name))
            continue
        found = storable_type(frame.schema[name]) or frame.schema[name]
        if found != dtype and not _widens(found, dtype):
            raise UnstorableColumn(
                f"{what}: column {name!r} was {dtype} so far and is {found} now; "
                "cast it, or give the memo a schema"
            )
        columns.append(pl.col(name).cast(dtype))
    return frame.select(*columns, *(name for name in frame.columns if name not in schema))


def _widens(found: Type, wanted: Type) -> bool:
    if found == pl.Null or (found == pl.Float32 and wanted == pl.Float64):
        return True
    if isinstance(found, pl.List) and isinstance(wanted, pl.List):
        return found.inner == wanted.inner or _widens(found.inner, wanted.inner)
    if found in _INTEGERS:
        return wanted == pl.Float64 or (
            wanted in _INTEGERS and _INTEGERS.index(found.base_type()) < _INTEGERS.index(wanted.base_type())
        )
    return False
