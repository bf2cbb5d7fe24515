"""One AU's value of one sample: from the reading through each step of the recipe to the label, with the
numbers, and the samples that set them. Follows from rows that are there; the arithmetic is
`curation.corrections`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

import facs
from curation import recipes
from curation.recipes import Power, Recipe
from stages import RENDERED

if TYPE_CHECKING:
    from provenance.why import Step

ORIGINS = {
    "manual": "labelled by DISFA's coders, not corrected",
    "rendered": "rendered with this intensity",
    "corrected": "read by the estimator, corrected by the recipe",
    "given": "given by a person over what was read",
}


@dataclass(frozen=True)
class Correction:
    """One step of the recipe on one value: `after` follows from `before` by `formula`, whose names are those
    of `numbers` and x, what was before. `minimum_sample_id` and its like are the samples that set these
    numbers."""

    step: Literal["clip", "power", "normalise", "map", "zero", "given"]
    formula: str
    before: float | None
    after: float | None
    numbers: Mapping[str, float] = field(default_factory=dict)
    minimum_sample_id: str | None = None
    maximum_sample_id: str | None = None
    top_sample_id: str | None = None


@dataclass(frozen=True)
class Value:
    """An AU of a sample. reading: as the estimator gave it, or as it came with the picture. label: what the
    training set has, null where it was not reached; origin: where that is from (ORIGINS). matters: whether
    anything of it is not 0."""

    au: int
    origin: Literal["manual", "rendered", "corrected", "given"]
    reading: float | None
    label: float | None
    corrections: tuple[Correction, ...] = ()

    @property
    def name(self) -> str:
        return f"AU{self.au}"

    @property
    def matters(self) -> bool:
        return bool(self.reading) or bool(self.label)


def values(steps: Mapping[str, Step], statistics: pl.DataFrame | None) -> tuple[Value, ...]:
    """The value of every AU that is known of a sample, by its steps and the scales of its recipe."""
    raw = next((step.row for name, step in steps.items() if name.startswith("raw_") and step.row), None) or {}
    row, last = _row(steps, "au_corrections"), _row(steps, "training_set")
    readings = _row(steps, "au_annotation")
    known_by = RENDERED if raw.get("source") == RENDERED else "manual"
    found = []
    for au in facs.ACTION_UNITS:
        column = f"au{au}"
        label = last.get(column, row.get(column))
        known = raw.get(f"label_au{au}")
        reading = known if known is not None else row.get(f"au{au}_raw", readings.get(column))
        corrections: tuple[Correction, ...] = ()
        if known is None and row.get(column) is not None and "au_corrections" in steps:
            corrections = _corrections(au, row, recipe_of(steps["au_corrections"]), statistics)
        given = au in (last.get("overruled") or ())
        if given:
            before = corrections[-1].after if corrections else reading
            corrections += (Correction("given", "a person's word", before, label),)
        if reading is not None or label is not None:
            origin: Any = "given" if given else "corrected" if known is None else known_by
            found.append(Value(au, origin, reading, label, corrections))
    return tuple(found)


def recipe_of(step: Step) -> Recipe | None:
    """The recipe that a table was made with, every number of it, as its commit says; None where it says
    none."""
    said = step.settings.get("corrections.recipe")
    if isinstance(said, Mapping):
        powers = tuple(Power(**power) for power in said.get("powers", ()))
        return Recipe(**{**said, "powers": powers})
    return recipes.RECIPES.get(step.metadata.get("recipe", ""))


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """A recipe as commits hold it."""
    return {"corrections.recipe": asdict(recipe)}


def _row(steps: Mapping[str, Step], stage: str) -> Mapping[str, Any]:
    step = steps.get(stage)
    return (step.row if step else None) or {}


def _corrections(
    au: int, row: Mapping[str, Any], recipe: Recipe | None, statistics: pl.DataFrame | None
) -> tuple[Correction, ...]:
    if recipe is None:
        return ()
    value: float | None = row.get(f"au{au}_raw")
    found: list[Correction] = []

    def then(step: Any, formula: str, after: float | None, **more: Any) -> None:
        nonlocal value
        found.append(Correction(step, formula, value, after, **more))
        value = after

    clipped = None if value is None else max(value, 0.0)
    if clipped is not None and recipe.bounded:
        clipped = min(clipped, facs.MAXIMUM)
    if clipped != value:
        top = {"top": facs.MAXIMUM} if recipe.bounded else {}
        then("clip", "min(max(x, 0), top)" if recipe.bounded else "max(x, 0)", clipped, numbers=top)
    power = next((one for one in recipe.powers if one.au == au), None)
    if power is not None and value is not None:
        _bent(power, recipe, row, value, statistics, then)
    if value is not None and row.get(f"au{au}_mapped") is not None:
        formula, numbers, samples = _line(au, value, statistics)
        then("map", formula, row[f"au{au}_mapped"], numbers=numbers, **samples)
    if value is not None and value < recipe.zero_below:
        then("zero", "0 if x < least else x", row.get(f"au{au}"), numbers={"least": recipe.zero_below})
    return tuple(found)


def _bent(
    power: Power,
    recipe: Recipe,
    row: Mapping[str, Any],
    before: float,
    statistics: pl.DataFrame | None,
    then: Any,
) -> None:
    """The power of one AU and the normalisation after it, as `corrections` computes them."""
    parts = facs.MAXIMUM / recipe.scale
    scaled = parts != 1
    then(
        "power",
        "(x / parts) ** gamma" if scaled else "x ** gamma",
        row.get(f"au{power.au}_power"),
        numbers={"gamma": power.gamma, **({"parts": parts} if scaled else {})},
    )
    scale = _scale(statistics, "power", power.au)
    top, setter = power.target, None
    if power.target_au is not None:
        target = _scale(statistics, "target", power.au)
        top, setter = target.get("maximum"), target.get("maximum_sample_id")
    low, high = scale.get("minimum"), scale.get("maximum")
    if low is None or high is None or high <= low or top is None:
        # A column without a range is not stretched: what was there before the power counts.
        numbers = {"reading": before, "amplify": power.amplify}
        then("normalise", "reading * amplify", row.get(f"au{power.au}_scaled"), numbers=numbers)
        return
    numbers = {"minimum": low, "maximum": high, "top": top}
    formula = "(x - minimum) / (maximum - minimum) * top"
    if power.amplify != 1:
        numbers["amplify"], formula = power.amplify, f"{formula} * amplify"
    if scaled:
        numbers["parts"], formula = parts, f"{formula} * parts"
    if recipe.bounded:
        formula = f"min(max({formula}, 0), {facs.MAXIMUM:g})"
    then(
        "normalise",
        formula,
        row.get(f"au{power.au}_scaled"),
        numbers=numbers,
        minimum_sample_id=scale.get("minimum_sample_id"),
        maximum_sample_id=scale.get("maximum_sample_id"),
        top_sample_id=setter,
    )


def _line(
    au: int, value: float, statistics: pl.DataFrame | None
) -> tuple[str, dict[str, float], dict[str, str | None]]:
    """Of a calibrated map the line on which a value lies, and the samples at its ends."""
    if statistics is None:
        return "x", {}, {}
    knots = statistics.filter(pl.col("au") == au, pl.col("step") == "knot").sort("reading")
    if knots.is_empty():
        return "x", {}, {}
    above = int((knots["reading"] <= value).sum())
    around = knots[max(0, above - 1) : above + 1].to_dicts()
    low, high = around[0], around[-1]
    samples = {
        "minimum_sample_id": low["minimum_sample_id"],
        "maximum_sample_id": high["maximum_sample_id"],
    }
    if len(around) == 1:
        return "intensity", {"intensity": low["intensity"]}, samples
    numbers = {
        "reading_below": low["reading"],
        "intensity_below": low["intensity"],
        "reading_above": high["reading"],
        "intensity_above": high["intensity"],
    }
    slope = "(intensity_above - intensity_below) / (reading_above - reading_below)"
    return f"{slope} * (x - reading_below) + intensity_below", numbers, samples


def _scale(statistics: pl.DataFrame | None, step: str, au: int) -> Mapping[str, Any]:
    if statistics is None:
        return {}
    rows = statistics.filter(pl.col("step") == step, pl.col("au") == au)
    return rows.row(0, named=True) if rows.height else {}
