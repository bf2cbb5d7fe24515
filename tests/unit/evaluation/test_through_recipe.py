"""Readings through the recipe: the same numbers as labels get, and nothing dropped."""

import polars as pl
import pytest

import facs
from curation import corrections
from evaluation import through_recipe
from evaluation.metrics import MEASURED

# AU1 is bent by x^1.8 and stretched to 0-5; the highest photograph has 4, the lowest 0
PHOTOGRAPHS = pl.DataFrame(
    {"sample_id": ["a", "b", "c"], **dict.fromkeys(facs.COLUMNS, [2.0] * 3), "au1": [0.0, 2.0, 4.0]},
    schema_overrides=dict.fromkeys(facs.COLUMNS, pl.Float64),
)
FITTED = corrections.fit(PHOTOGRAPHS, "paper")


def readings(**values) -> pl.DataFrame:
    rows = max(len(v) for v in values.values())
    zeros = {name: [0.0] * rows for name in MEASURED}
    given = {f"measured_{name}": v for name, v in values.items()}
    frame = pl.DataFrame({**zeros, **given}, schema=dict.fromkeys(MEASURED, pl.Float64))
    asked = [pl.lit(1.0).alias(name) for name in facs.COLUMNS]
    return frame.with_columns(pl.lit("x").alias("sample_id"), *asked)


def test_by_hand():
    # AU1: (2 / 4)^1.8 × 5 = 1.4359; AU12 is not bent; below 1 becomes 0; above the highest photograph is 5
    found = through_recipe.apply(
        readings(au1=[2.0, 4.5, 0.5], au12=[2.0, 0.9, 3.0]), "paper", FITTED.statistics
    )
    assert found["measured_au1"].to_list() == pytest.approx([1.4359, 5.0, 0.0], abs=1e-4)
    assert found["measured_au12"].to_list() == [2.0, 0.0, 3.0]
    assert set(found["au1"]) == {1.0}, "what was asked for is left alone"


def test_a_label_and_a_reading_of_the_same_picture_agree():
    labels = FITTED.apply(PHOTOGRAPHS)
    values = {name: PHOTOGRAPHS[name].to_list() for name in facs.COLUMNS}
    found = through_recipe.apply(readings(**values), "paper", FITTED.statistics)
    assert labels["keep"].all()
    for name in facs.COLUMNS:
        assert found[f"measured_{name}"].to_list() == labels[name].to_list()


def test_an_expressionless_face_is_kept_and_a_lost_one_stays_lost():
    """A photograph without expression is dropped as too weak; a generated one is a face all the same."""
    found = through_recipe.apply(readings(au1=[0.0, None]), "paper", FITTED.statistics)
    assert found.select(MEASURED).row(0) == (0.0,) * 12
    lost = readings(au1=[None]).with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in MEASURED)
    assert through_recipe.apply(lost, "paper", FITTED.statistics).select(MEASURED).row(0) == (None,) * 12


def test_an_au_that_is_not_read_stays_unread():
    found = through_recipe.apply(readings(au9=[None], au12=[3.0]), "paper", FITTED.statistics)
    assert found["measured_au9"].to_list() == [None] and found["measured_au12"].to_list() == [3.0]


def test_statistics_of_another_recipe_are_refused():
    with pytest.raises(ValueError, match="given to recipe"):
        through_recipe.apply(readings(au1=[1.0]), "reference", FITTED.statistics)
