"""`fineface miniature recipes`: which recipe's labels land closest to what the renderer drew.

Truth exists in the embedded world only; the product measures recipes against manual labels instead
(`evaluation.held_out`).
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from curation import corrections
from curation.recipes import RECIPES
from evaluation import held_out
from facs import COLUMNS
from miniature.affectnet import IMAGES_FOLDER
from store import Store


def errors(store: Store, affectnet: Path) -> pl.DataFrame:
    """`held_out.ERRORS` of every recipe against the truth of the AffectNet part, fitted as in the product.

    Reads au_annotation and disfa_readings of `store` and truth.parquet in the raw folder `affectnet`. Raises
    MissingTable, and ValueError for a home without readings of labelled frames.
    """
    photographs = store.read("au_annotation").filter(pl.col("keep"), source="affectnet")
    labelled = store.read("disfa_readings").filter("keep")
    truth = pl.read_parquet(affectnet / "truth.parquet").select(
        ("affectnet/" + pl.col("path").str.strip_prefix(f"{IMAGES_FOLDER}/")).alias("sample_id"),
        pl.col(COLUMNS).cast(pl.Float64).name.prefix("label_"),
    )
    table = photographs.join(truth, on="sample_id", how="inner", maintain_order="left", validate="1:1")
    corrected = {name: corrections.fit(table, name, labelled).apply(table) for name in RECIPES}
    return held_out.compared(table, {held_out.UNCORRECTED: table, **corrected})


def text(found: pl.DataFrame) -> str:
    """`errors` as aligned lines: an AU a line, mean absolute and mean squared error of each recipe."""
    recipes = found["recipe"].unique(maintain_order=True).to_list()
    lines = [["MAE / MSE", *recipes]]
    every = [
        (f"AU{au}", found.filter(au=au))
        for (au,) in found.select("au").unique(maintain_order=True).iter_rows()
    ]
    for title, part in [*every, ("mean", found)]:
        cells = [part.filter(recipe=recipe).select(pl.col("mae", "mse").mean()).row(0) for recipe in recipes]
        lines.append([title, *("–" if mae is None else f"{mae:.3f} / {mse:.3f}" for mae, mse in cells)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    return "\n".join([*shown, f"{found['frames'].sort()[-1]:,} photographs that every recipe keeps"])
