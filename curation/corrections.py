"""The AU corrections: which rows are too weak, how a column is bent and stretched. Numbers:
`curation.recipes`.

A label depends on other samples, through the minimum and maximum of its column, or through the maps of
`curation.calibration`: `fit` finds those and names the samples that set them, `Corrections.apply` uses them.
Decisions where the sources are silent:

- Intensities outside [0, 5] (an estimator that does not clamp) count as 0 or, in a bounded recipe, 5; the raw
  column keeps what was given. Without this a negative value has no power.
- A column without a range (one row, all values equal, all zero) or without a target cannot be normalised: its
  values stay as they were before the power, so nothing is stretched up from nothing and zero stays zero.
- An AU that is null stays null at every step and adds nothing to a row's sum or maximum.
- A dropped row sets no statistic and gets no corrected value: only its raw columns are filled.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from curation import calibration, frames
from curation.recipes import Power, Recipe, named
from facs import ACTION_UNITS, COLUMNS, MAXIMUM
from reasons import Reason

STATISTICS_SCHEMA = pl.Schema(
    {
        "recipe": pl.String,
        "step": pl.String,
        "au": pl.Int64,
        "minimum": pl.Float64,
        "maximum": pl.Float64,
        "minimum_sample_id": pl.String,
        "maximum_sample_id": pl.String,
        "samples": pl.Int64,
        "next_maximum": pl.Float64,
        "reading": pl.Float64,
        "intensity": pl.Float64,
    }
)


@dataclass(frozen=True)
class Corrections:
    """A recipe and the statistics fitted for it (STATISTICS_SCHEMA): all that corrected labels depend on."""

    recipe: Recipe
    statistics: pl.DataFrame

    def apply(self, table: pl.DataFrame) -> pl.DataFrame:
        """Filter and correct a table of AU intensities (FineFace supplement, data processing, steps 4 to 6).

        `table` has the columns au1 ... au26, intensities 0-5 as an estimator gave them; null means "not
        supported". Optional columns that matter: `sample_id`, `faces` (number of faces found), `keep` and
        its reason (rows already dropped stay dropped). All other columns are carried through, and so is the
        order of the rows. Adds, for each AU, `au{n}_raw`; for each corrected AU, `au{n}_power` (x^gamma on
        the recipe's scale) and `au{n}_scaled` (0-5, normalised and amplified, before small values are
        zeroed); in a calibrated recipe, for each AU, `au{n}_mapped` (0-5, likewise). `au{n}` becomes the
        final intensity, within [0, 5] in a bounded recipe. `keep` is false for rows that are dropped, and
        `reason_code` and `reason_detail` say why.

        Raises ValueError for a missing AU column, or statistics that are another recipe's.
        """
        recipe = self.recipe
        judged = _judged(table, recipe)
        ranges = _ranges(self.statistics, recipe)
        powers = {f"au{power.au}": power for power in recipe.powers}

        steps, finals = [], []
        for au, column in zip(ACTION_UNITS, COLUMNS, strict=True):
            value = _clipped(column, recipe)
            if column in powers:
                power = powers[column]
                bent = _on_scale(power.au, recipe).pow(power.gamma)
                value = _normalised(bent, value, power, recipe, ranges)
                steps += [_if_kept(bent, f"{column}_power"), _if_kept(value, f"{column}_scaled")]
            elif recipe.anchors is not None:
                value = _mapped(value, self.statistics.filter(au=au))
                steps.append(_if_kept(value, f"{column}_mapped"))
            zeroed = pl.when(value < recipe.zero_below).then(0.0).otherwise(value)
            finals.append(_if_kept(zeroed, column))
        raws = [pl.col(column).alias(f"{column}_raw") for column in COLUMNS]
        return judged.with_columns(raws).with_columns(*steps, *finals).drop("_row")


def fit(table: pl.DataFrame, recipe: str | Recipe, labelled: pl.DataFrame | None = None) -> Corrections:
    """The corrections of `recipe`, with the minima and maxima of the rows that survive its filters.

    A calibrated recipe is fitted on `labelled` instead: the statistics then hold the maps of
    `calibration.fit`, on 0-5, `reading` and `intensity` filled.

    `table` as in `Corrections.apply`. The statistics have one row an AU and step, on the recipe's own scale
    (0-5 or 0-1): step "power" is the column of x^gamma, step "target" (only where the recipe normalises to a
    maximum and not to a number) the column before any power whose maximum becomes the top; for AU15 in
    `reference` that is the column of AU17. `*_sample_id` is the first sample id, in order, that has the
    value; the row number where the table has no `sample_id`. `samples` counts the values; without any,
    minimum, maximum and ids are null. `next_maximum` is the maximum of all samples but that one. Raises
    ValueError for an unknown recipe, a missing AU column, or a calibrated recipe without labelled frames.
    """
    recipe = named(recipe)
    if recipe.anchors is not None:
        if labelled is None or labelled.is_empty():
            raise ValueError(f"recipe {recipe.name!r} is fitted on manually labelled frames; there are none")
        maps = calibration.fit(labelled, recipe.anchors).with_columns(
            pl.lit(recipe.name).alias("recipe"), pl.lit(None, dtype=pl.Float64).alias("next_maximum")
        )
        return Corrections(recipe, maps.select(STATISTICS_SCHEMA.names()))
    judged = _judged(table, recipe)
    sample = pl.col("sample_id") if "sample_id" in table.columns else pl.col("_row")
    kept = judged.select("keep", "_row", *COLUMNS, sample.alias("_sample")).filter("keep")
    rows = []
    for power in recipe.powers:
        value = _on_scale(power.au, recipe)
        rows.append(_statistic(kept, recipe, "power", power.au, value.pow(power.gamma)))
        if power.target_au is not None:
            target = _on_scale(power.target_au, recipe)
            rows.append(_statistic(kept, recipe, "target", power.au, target))
    return Corrections(recipe, pl.DataFrame(rows, schema=STATISTICS_SCHEMA))


SMALL_RANGE = 2.0
"""A column whose highest reading, 0-5, is below this is stretched by more than twice and a half."""

ALONE = 0.5
"""One sample sets a scale alone if without it the highest reading, 0-5, were lower by more than this."""


def doubtful(statistics: pl.DataFrame, recipe: str | Recipe) -> pl.DataFrame:
    """The scales of `fit` that a few samples make up: `au`, `highest` and `next_highest` reading (0-5),
    `sample_id` of the highest, and `why`. Empty for a recipe without powers."""
    recipe = named(recipe)
    schema = {
        **{"au": pl.Int64, "highest": pl.Float64, "next_highest": pl.Float64},
        **{"sample_id": pl.String, "why": pl.String},
    }
    rows = []
    for power in recipe.powers:

        def read(value: float | None, gamma: float = power.gamma) -> float | None:
            return None if value is None else value ** (1 / gamma) * MAXIMUM / recipe.scale

        for row in statistics.filter(step="power", au=power.au).iter_rows(named=True):
            highest, following = read(row["maximum"]), read(row["next_maximum"])
            if highest is None:
                continue
            why = [f"no reading reaches {SMALL_RANGE:g}"] if highest < SMALL_RANGE else []
            if highest - (following or 0.0) > ALONE:
                why.append("one sample alone sets the scale")
            if why:
                sample = row["maximum_sample_id"]
                rows.append((power.au, highest, following, sample, " and ".join(why)))
    return pl.DataFrame(rows, schema=schema, orient="row")


def apply(table: pl.DataFrame, recipe: str | Recipe = "paper") -> pl.DataFrame:
    """`table` corrected with its own statistics."""
    return fit(table, recipe).apply(table)


def judged(table: pl.DataFrame, recipe: str | Recipe) -> pl.DataFrame:
    """`table` (as in `Corrections.apply`) with what the recipe's filters say, its intensities untouched."""
    return _judged(table, named(recipe)).drop("_row")


def _judged(table: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """The table with Float64 AUs, `_row`, and `keep` and its reason as the recipe's filters leave them."""
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise ValueError(
            f"no column {', '.join(missing)} in a table to correct; it needs {', '.join(COLUMNS)}"
        )
    given = [pl.col(column).cast(pl.Float64) for column in COLUMNS]
    odd = pl.concat_str(
        [pl.when(~value.is_finite()).then(pl.lit(name)) for name, value in zip(COLUMNS, given, strict=True)],
        separator=", ",
        ignore_nulls=True,
    )
    table = frames.judgeable(table).with_row_index("_row").with_columns(odd.alias("_odd"), *given)
    table = table.with_columns(pl.when(pl.col(column).is_finite()).then(pl.col(column)) for column in COLUMNS)
    weak, weakness = _weakness(recipe)
    for where, code, detail in (
        (pl.col("_odd") != "", Reason.NOT_FINITE, pl.col("_odd")),
        (pl.all_horizontal(pl.col(column).is_null() for column in COLUMNS), Reason.NO_INTENSITIES, None),
        (_faceless(table, recipe), Reason.NO_FACE, None),
        (weak, Reason.TOO_WEAK, weakness),
    ):
        table = frames.quarantine(table, where, code, detail)
    return table.drop("_odd")


def _faceless(table: pl.DataFrame, recipe: Recipe) -> pl.Expr:
    """Null `faces` means an estimator that does not count them; its intensities then speak for a face."""
    if recipe.needs_face and "faces" in table.columns:
        return pl.col("faces").cast(pl.Int64) == 0
    return pl.lit(False)


def _weakness(recipe: Recipe) -> tuple[pl.Expr, pl.Expr]:
    """Whether a row is too weak, and the detail that says how weak."""
    values = [_on_scale(column, recipe) for column in COLUMNS]
    if recipe.weak_by == "sum":
        figure = pl.sum_horizontal(values)
        weak, text = figure < recipe.weak_at, f"intensities sum to {{}} < {recipe.weak_at:g}"
    else:
        figure = pl.max_horizontal(values)
        weak = figure <= recipe.weak_at
        text = f"highest intensity {{}} <= {recipe.weak_at:g} on a 0-{recipe.scale:g} scale"
    below = pl.when(weak).then(figure)  # null elsewhere: what is strong enough need not be written out
    shown = ((below * 1000).round(6).floor() / 1000).cast(pl.String)  # never rounded up to the limit
    return weak, pl.format(text, shown)


def _clipped(column: str, recipe: Recipe) -> pl.Expr:
    return pl.col(column).clip(0.0, MAXIMUM if recipe.bounded else None)


def _on_scale(au: int | str, recipe: Recipe) -> pl.Expr:
    value = _clipped(au if isinstance(au, str) else f"au{au}", recipe)
    return value if recipe.scale == MAXIMUM else _divided(value, MAXIMUM / recipe.scale)


def _divided(value: pl.Expr, by: float) -> pl.Expr:
    """True division; by a literal, polars multiplies with the reciprocal: 3 / 5 is 0.6000000000000001."""
    return value / (pl.col("_row") * 0.0 + by)


def _mapped(value: pl.Expr, knots: pl.DataFrame) -> pl.Expr:
    return value.map_batches(lambda values: calibration.mapped(values, knots), return_dtype=pl.Float64)


def _if_kept(value: pl.Expr, name: str) -> pl.Expr:
    return pl.when("keep").then(value).alias(name)


def _statistic(kept: pl.DataFrame, recipe: Recipe, step: str, au: int, value: pl.Expr) -> dict:
    found = kept.select(value.alias("value"), pl.col("_sample").alias("sample")).drop_nulls("value")
    lowest, highest = found["value"].min(), found["value"].max()

    def first(extreme: Any) -> str | None:
        return None if extreme is None else str(found.filter(pl.col("value").eq(extreme))["sample"].min())

    top = first(highest)
    return {
        "recipe": recipe.name,
        "step": step,
        "au": au,
        "minimum": lowest,
        "maximum": highest,
        "minimum_sample_id": first(lowest),
        "maximum_sample_id": top,
        "samples": found.height,
        "next_maximum": found.filter(pl.col("sample").cast(pl.String) != pl.lit(top, dtype=pl.String))[
            "value"
        ].max(),
    }


def _ranges(
    statistics: pl.DataFrame, recipe: Recipe
) -> dict[tuple[str, int], tuple[float | None, float | None]]:
    others = set(statistics["recipe"].unique()) - {recipe.name}
    if others:
        raise ValueError(f"statistics of recipe {sorted(others)} given to recipe {recipe.name!r}")
    found = {
        (row["step"], row["au"]): (row["minimum"], row["maximum"]) for row in statistics.iter_rows(named=True)
    }
    needed = [("power", power.au) for power in recipe.powers]
    needed += [("target", power.au) for power in recipe.powers if power.target_au is not None]
    missing = [f"AU{au} {step}" for step, au in needed if (step, au) not in found]
    if recipe.anchors is not None:
        missing = [f"AU{au} map" for au in ACTION_UNITS if au not in set(statistics["au"])]
    if missing:
        raise ValueError(f"statistics of recipe {recipe.name!r} lack {', '.join(missing)}")
    return found


def _normalised(bent: pl.Expr, before: pl.Expr, power: Power, recipe: Recipe, ranges: dict) -> pl.Expr:
    """The corrected column on 0-5. `bent` on the recipe's scale, `before` (what it was bent from) on 0-5."""
    low, high = ranges["power", power.au]
    top = power.target if power.target_au is None else ranges["target", power.au][1]
    if low is None or high is None or high <= low or top is None:
        value = before * power.amplify
    else:
        value = _divided(bent - low, high - low) * top * power.amplify * (MAXIMUM / recipe.scale)
    return value.clip(0.0, MAXIMUM if recipe.bounded else None)
