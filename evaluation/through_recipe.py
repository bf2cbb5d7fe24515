"""The labeller's readings of generated pictures, bent as its labels were. Fits nothing: `au_statistics` did.

Photographs are labelled by readings that the recipe corrected, generated pictures are measured by readings as
they are. A model that learnt its labels perfectly would so be charged with the corrections.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

import facs
from curation import corrections, recipes
from evaluation.metrics import MEASURED


def apply(au_scores: pl.DataFrame, recipe: str, statistics: pl.DataFrame) -> pl.DataFrame:
    """An au_scores frame with measured_au1 … measured_au26 as labels made of the same readings would be.

    `statistics` is the table that `recipe` was fitted to (`corrections.STATISTICS_SCHEMA`); the readings must
    be those of the estimator that it was fitted for. No picture is dropped as too weak, as a photograph would
    be; one without a face stays without. Raises ValueError for statistics of another recipe.
    """
    named = replace(recipes.named(recipe), weak_by="sum", weak_at=0.0, needs_face=False)
    readings = au_scores.select(pl.col(MEASURED).name.replace("^measured_", ""))
    corrected = corrections.Corrections(named, statistics).apply(readings)
    return au_scores.with_columns(corrected.select(pl.col(facs.COLUMNS).name.prefix("measured_")))
