"""The resolution stage: which web pictures are large enough. Sizes are measured in `curation.probing`."""

import polars as pl

from curation import frames as frames_table
from reasons import Reason


def apply(
    frames: pl.DataFrame, min_side: int, inclusive: bool = True, *, inclusive_height: bool | None = None
) -> pl.DataFrame:
    """Keep rows whose width and height reach `min_side` pixels (FineFace supplement, data processing, step
    1).

    `frames` has `width`, `height` and, if rows were dropped before, `keep` and its reason: they stay so.
    With `inclusive` a side of exactly `min_side` passes. `inclusive_height` overrules that for the height:
    the `reference` recipe wants width >= 512 and height > 512 (`Recipe.inclusive_height`). The detail names
    each side that is too short: "width 48 < 64". Raises ValueError for a missing column or a
    `min_side` below 1.
    """
    table = frames_table.judgeable(frames, "width", "height")
    complaints = [
        pl.when(pl.col(side).is_null())
        .then(pl.lit(f"{side} unknown"))
        .when(short)
        .then(pl.format("{} {} {} {}", pl.lit(side), side, pl.lit(sign), pl.lit(min_side)))
        for side, sign, short in _short(min_side, inclusive, inclusive_height)
    ]
    detail = pl.concat_str(complaints, separator=", ", ignore_nulls=True)
    large = large_enough(min_side, inclusive, inclusive_height=inclusive_height)
    return frames_table.quarantine(table, ~large, Reason.TOO_SMALL, detail)


def large_enough(min_side: int, inclusive: bool = True, *, inclusive_height: bool | None = None) -> pl.Expr:
    """Whether both sides of a row are known and long enough, as `apply` judges; raises as it does."""
    sides = _short(min_side, inclusive, inclusive_height)
    return pl.all_horizontal((~short).fill_null(False) for _, _, short in sides)


def _short(min_side: int, inclusive: bool, inclusive_height: bool | None) -> list[tuple[str, str, pl.Expr]]:
    """For each side its name, the sign of being too short, and whether it is."""
    if min_side < 1:
        raise ValueError(f"min_side is at least 1 pixel, not {min_side!r}")
    exact = {"width": inclusive, "height": inclusive if inclusive_height is None else inclusive_height}
    return [
        (side, "<" if passes else "<=", pl.col(side) < min_side if passes else pl.col(side) <= min_side)
        for side, passes in exact.items()
    ]
