"""What every stage hands back: its table, the content hash as data version, and the metadata users look for.

No stage lives here, and no model call (`assets.calls`).
"""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from curation import frames
from store.hashing import hash_frame


def result(
    frame: pl.DataFrame, *, model_calls: int | None = None, reused: int | None = None, **metadata: Any
) -> dg.MaterializeResult:
    """`frame` as the materialised value, with row counts, counts by reason, column schema and `metadata`.

    The data version is the hash of the frame, so an identical rebuild starts nothing downstream.
    `model_calls` and `reused` say how many answers a model gave now and how many the memo did.
    """
    described: dict[str, Any] = {
        "dagster/row_count": frame.height,
        "dagster/column_schema": column_schema(frame),
    }
    if "keep" in frame.columns:
        kept = int(frame["keep"].sum())
        described |= {"kept": kept, "dropped": frame.height - kept}
        if kept < frame.height:
            described["dropped_by_reason"] = markdown(frames.counts_by_reason(frame))
    if model_calls is not None:
        described |= {"model_calls": model_calls, "reused": reused or 0}
    described |= {key: value for key, value in metadata.items() if value is not None}
    return dg.MaterializeResult(
        value=frame, data_version=dg.DataVersion(hash_frame(frame)), metadata=described
    )


def column_schema(frame: pl.DataFrame) -> dg.TableSchema:
    """Column names and polars types, for the UI."""
    return dg.TableSchema([dg.TableColumn(name, str(kind)) for name, kind in frame.schema.items()])


def markdown(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """A small table as Markdown."""
    lines = ["| " + " | ".join(frame.columns) + " |", "|" + "---|" * frame.width]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in frame.iter_rows()]
    return dg.MetadataValue.md("\n".join(lines))


def picture(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    """A PNG, inline."""
    import base64

    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})")


def kept(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that go on to the next stage."""
    return frame.filter(pl.col("keep"))


def check(passed: bool, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR, **metadata: Any):
    """An asset check's result; numbers in `metadata` show in the UI."""
    return dg.AssetCheckResult(passed=bool(passed), severity=severity, metadata=metadata)


def _cell(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def share(rows: pl.Series) -> float:
    """The share of true rows, 0-1; 0 for none at all."""
    return float(rows.mean() or 0.0)
