"""How far each recipe's labels lie from manual ones, on subjects that it was not fitted on."""

from collections.abc import Mapping, Sequence

import polars as pl

from curation import corrections
from curation.calibration import POSITIVE
from curation.frames import LABELS
from curation.recipes import RECIPES, Recipe
from curation.training_set import uniform
from facs import ACTION_UNITS, COLUMNS

FOLDS = 5
UNCORRECTED = "uncorrected"
"""Stands in the column `recipe` for the readings as they are."""

ERRORS = pl.Schema(
    {
        "recipe": pl.String,
        "au": pl.Int64,
        "mae": pl.Float64,
        "mse": pl.Float64,
        "frames": pl.Int64,
        "positives": pl.Int64,
    }
)


def errors(
    labelled: pl.DataFrame, recipes: Sequence[Recipe] = tuple(RECIPES.values()), count: int = FOLDS
) -> pl.DataFrame:
    """Mean absolute and mean squared error of each recipe and AU against the manual labels, in ERRORS.

    `labelled` as in `calibration.fit`, with `subject`. Its subjects are dealt into `count` folds (`folds`);
    every recipe is fitted on the frames of the other folds and applied to those held out. All are measured on
    the same frames, those that no recipe drops as too weak. mae and mse are null for an AU that was not read.
    With fewer than two subjects nothing can be held out: no rows.
    """
    if labelled["subject"].n_unique() < 2:
        return ERRORS.to_frame()
    group = pl.col("subject").replace_strict(folds(labelled["subject"], count), return_dtype=pl.Int64)
    parted = labelled.with_columns(group.alias("fold")).sort("fold", "sample_id")
    corrected: dict[str, list[pl.DataFrame]] = {recipe.name: [] for recipe in recipes}
    for fold in parted["fold"].unique(maintain_order=True):
        others, held_out = parted.filter(pl.col("fold") != fold), parted.filter(fold=fold)
        for recipe in recipes:
            fitted = corrections.fit(others, recipe, others)
            corrected[recipe.name].append(fitted.apply(held_out))
    tables = {UNCORRECTED: parted} | {name: pl.concat(parts) for name, parts in corrected.items()}
    return compared(parted, tables)


def compared(labels: pl.DataFrame, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Errors, in ERRORS, of tables with au1 ... au26, by name, against `labels` (label_au1 ...) row by row,
    over the rows that every table keeps.
    """
    keeps = {name: table["keep"] for name, table in tables.items() if "keep" in table.columns}
    kept = pl.DataFrame(keeps).select(kept=pl.all_horizontal(pl.all()))["kept"]
    rows = []
    for name, table in tables.items():
        for au, column, label in zip(ACTION_UNITS, COLUMNS, LABELS, strict=True):
            pairs = pl.DataFrame({"found": table[column], "true": labels[label]}).filter(kept).drop_nulls()
            off = pairs["found"] - pairs["true"]
            positives = int((pairs["true"] >= POSITIVE).sum())
            rows.append((name, au, off.abs().mean(), (off**2).mean(), pairs.height, positives))
    return pl.DataFrame(rows, schema=ERRORS, orient="row")


def folds(subjects: pl.Series, count: int = FOLDS) -> dict[str, int]:
    """Subject → fold, 0 to `count` - 1, in an order drawn from their names: folds differ by one subject at
    most."""
    known = subjects.unique().sort()
    order = known.gather(uniform(known, "calibration folds").argsort())
    return {subject: place % count for place, subject in enumerate(order)}
