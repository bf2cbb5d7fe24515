"""Calibration: a monotone map an AU from an annotator's reading to the manual label, fitted on labelled
frames.

What a recipe does with the maps lives in `curation.corrections`, how well they do in `evaluation.held_out`.
"""

import numpy as np
import polars as pl

from curation.frames import LABELS
from facs import ACTION_UNITS, COLUMNS, MAXIMUM

KNOT, IDENTITY = "knot", "identity"
POSITIVE = 1.0
"""From this manual intensity on (FACS level A) a frame is a positive of its AU."""

SCHEMA = pl.Schema(
    {
        "step": pl.String,
        "au": pl.Int64,
        "reading": pl.Float64,
        "intensity": pl.Float64,
        "minimum": pl.Float64,
        "maximum": pl.Float64,
        "minimum_sample_id": pl.String,
        "maximum_sample_id": pl.String,
        "samples": pl.Int64,
    }
)


def fit(labelled: pl.DataFrame, anchors: float) -> pl.DataFrame:
    """The map of every AU, in SCHEMA: its knots by rising reading, or one row "identity".

    `labelled` has `sample_id`, readings au1 ... au26 and manual labels label_au1 ... label_au26, both 0-5,
    null where there is none. The map is a centred isotonic regression (Oron and Flournoy 2017): frames are
    pooled until the mean label rises with the reading, each pool is one knot at its mean reading and mean
    label, straight lines join the knots, and beyond the outermost ones the map is flat. `anchors` frames are
    made up at each whole reading 0-5 whose label equals it: where labels are few, the reading is believed.
    An AU without a single positive frame, or that the annotator does not read, cannot be learned about: its
    map is the identity, and `samples` says how many frames there were.

    `minimum` and `maximum` are the lowest and highest reading pooled in a knot, with the first sample that
    has each, and `samples` the frames in it; a knot of anchors alone has 0. The order of the rows changes
    nothing. Readings outside 0-5 count as 0 or 5. Raises ValueError for a missing column.
    """
    missing = {"sample_id", *COLUMNS, *LABELS} - set(labelled.columns)
    if missing:
        raise ValueError(f"labelled frames lack the columns {', '.join(sorted(missing))}")
    parts = [SCHEMA.to_frame()]
    for au, column, label in zip(ACTION_UNITS, COLUMNS, LABELS, strict=True):
        frames = labelled.select(
            pl.col("sample_id").cast(pl.String),
            pl.col(column).cast(pl.Float64).clip(0, MAXIMUM).alias("reading"),
            pl.col(label).cast(pl.Float64).alias("label"),
        ).drop_nulls(["reading", "label"])
        if (frames["label"] >= POSITIVE).any():
            knots = _knots(frames, anchors)
        else:
            knots = pl.DataFrame({"step": [IDENTITY], "samples": [frames.height]})
        parts.append(knots.with_columns(pl.lit(au).alias("au")))
    return pl.concat(parts, how="diagonal_relaxed")


def mapped(values: pl.Series, knots: pl.DataFrame) -> pl.Series:
    """`values` (0-5, null stays null) through the map of one AU, rows of `fit`."""
    knots = knots.filter(step=KNOT)
    if knots.is_empty():
        return values
    given = values.to_numpy().astype(np.float64)
    found = np.interp(given, knots["reading"].to_numpy(), knots["intensity"].to_numpy())
    return pl.Series(values.name, found, dtype=pl.Float64).fill_nan(None)


def _knots(frames: pl.DataFrame, anchors: float) -> pl.DataFrame:
    from scipy.optimize import isotonic_regression  # slow to load, and few recipes ask for it

    whole = [float(level) for level in range(int(MAXIMUM) + 1)] if anchors > 0 else []
    made_up = pl.DataFrame(
        {"reading": whole, "label": whole}, schema=dict.fromkeys(("reading", "label"), pl.Float64)
    )
    points = pl.concat(
        [
            frames.with_columns(weight=pl.lit(1.0)),
            made_up.with_columns(weight=pl.lit(float(anchors))),
        ],
        how="diagonal",
    ).sort("reading", "sample_id", "label")
    real, weight = pl.col("sample_id").is_not_null(), pl.col("weight")
    levels = points.group_by("reading", maintain_order=True).agg(
        ((pl.col("label") * weight).sum() / weight.sum()).alias("label"),
        weight.sum(),
        pl.col("sample_id").min(),
        real.sum().alias("samples"),
    )
    rising = isotonic_regression(levels["label"].to_numpy(), weights=levels["weight"].to_numpy()).x
    seen = pl.col("samples") > 0
    pools = levels.with_columns(pl.Series("intensity", np.clip(rising, 0.0, MAXIMUM))).group_by(
        "intensity", maintain_order=True
    )
    return pools.agg(
        pl.lit(KNOT).alias("step"),
        ((pl.col("reading") * weight).sum() / weight.sum()).alias("reading"),
        pl.col("reading").filter(seen).first().alias("minimum"),
        pl.col("reading").filter(seen).last().alias("maximum"),
        pl.col("sample_id").filter(seen).first().alias("minimum_sample_id"),
        pl.col("sample_id").filter(seen).last().alias("maximum_sample_id"),
        pl.col("samples").sum(),
    )
