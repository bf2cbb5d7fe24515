"""The resolution stage: which web pictures are large enough. Sizes are measured in `curation.frames`."""

import polars as pl

from curation import frames as frames_table


def apply(
    frames: pl.DataFrame, min_side: int, inclusive: bool = True, *, inclusive_height: bool | None = None
) -> pl.DataFrame:
    """Keep rows whose width and height reach `min_side` pixels (FineFace supplement, data processing, step
    1).

    `frames` has `width`, `height` and, if rows were dropped before, `keep` and `reason`; those stay dropped.
    With `inclusive` a side of exactly `min_side` passes. `inclusive_height` overrules that for the height:
    the `reference` recipe wants width >= 512 and height > 512 (`Recipe.inclusive_height`). The reason names
    each side that is too short: "too small: width 48 < 64". Raises ValueError for a missing column or a
    `min_side` below 1.
    """
    if min_side < 1:
        raise ValueError(f"min_side is at least 1 pixel, not {min_side!r}")
    table = frames_table.judgeable(frames, "width", "height")
    sides = {"width": inclusive, "height": inclusive if inclusive_height is None else inclusive_height}
    complaints = []
    for side, exact_passes in sides.items():
        short = pl.col(side) < min_side if exact_passes else pl.col(side) <= min_side
        sign = "<" if exact_passes else "<="
        complaints.append(
            pl.when(pl.col(side).is_null())
            .then(pl.lit(f"{side} unknown"))
            .when(short)
            .then(pl.format("{} {} {} {}", pl.lit(side), side, pl.lit(sign), pl.lit(min_side)))
        )
    complaint = pl.concat_str(complaints, separator=", ", ignore_nulls=True)
    return frames_table.quarantine(table, complaint != "", pl.concat_str(pl.lit("too small: "), complaint))
