"""The calibration of `miniature.judge`: MediaPipe's readings of rendered people who are in no other part."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from curation import calibration
from curation.frames import LABELS
from facs import ACTION_UNITS, COLUMNS
from inference.calibrated_mediapipe import CalibratedMediaPipe
from miniature.rendered.people import draw_person, draw_shot
from miniature.rendered.picture import render

PEOPLE_SEED = 7_000
"""Of the people of the calibration: no training, audit or raw data draws from it."""
SIDE = 64
"""Pixels; the judge enlarges them, as it does those that it judges."""
MOST_KNOTS = 24


def expressions(rng: np.random.Generator, count: int) -> np.ndarray:
    """float [count, 12], 0-5: half show one AU, half two to four, each AU and each strength alike.

    Balanced, because a map fitted where an AU is rare would read it low everywhere.
    """
    vectors = np.zeros((count, len(ACTION_UNITS)))
    for vector in vectors:
        shown = 1 if rng.random() < 0.5 else int(rng.integers(2, 5))
        vector[rng.choice(len(vector), shown, replace=False)] = rng.uniform(0, 5, shown)
    return vectors


def labelled(pictures: int = 1500, seed: int = 0, offset: int = 0) -> pl.DataFrame:
    """MediaPipe's raw readings of rendered faces beside the truth: what `calibration.fit` takes.

    Pictures without a face have null readings. `offset` chooses other people.
    """
    reader = CalibratedMediaPipe()
    shown, faces = [], []
    for index in range(offset, offset + pictures):
        rng = np.random.default_rng([seed, PEOPLE_SEED, index])
        person, shot, vector = draw_person(rng), draw_shot(rng), expressions(rng, 1)[0]
        shown.append(vector)
        faces.append(Image.fromarray(render(person, shot, vector, (SIDE, SIDE))))
    read = pl.DataFrame(
        [reading.intensities for reading in reader.estimate(faces)],
        schema=dict.fromkeys(COLUMNS, pl.Float64),
        orient="row",
    )
    truth = pl.DataFrame(np.array(shown), schema=dict.fromkeys(LABELS, pl.Float64), orient="row")
    names = pl.Series("sample_id", [f"calibration/{index:06d}" for index in range(offset, offset + pictures)])
    return pl.concat([names.to_frame(), read, truth], how="horizontal")


def fit(frames: pl.DataFrame) -> dict[str, dict[str, list[float]]]:
    """The maps of `calibration.fit` (no anchors) in the form that CalibratedMediaPipe reads.

    At most MOST_KNOTS knots an AU. AUs whose readings say nothing (a flat map, or none read) have no map.
    """
    knots = calibration.fit(frames, anchors=0)
    maps = {}
    for au in ACTION_UNITS:
        rows = knots.filter((pl.col("au") == au) & (pl.col("step") == calibration.KNOT)).sort("reading")
        rows = rows.with_columns(pl.col("reading", "intensity").round(4)).unique(
            "reading", keep="last", maintain_order=True
        )
        levels = rows["intensity"].to_numpy()
        if len(levels) < 2 or levels[-1] - levels[0] < 0.25:
            continue
        kept = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_KNOTS)).round().astype(int))
        maps[str(au)] = {
            "reading": rows["reading"].gather(kept).to_list(),
            "intensity": rows["intensity"].gather(kept).to_list(),
        }
    return maps


def write(path: Path, pictures: int = 1500, seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """Fit and write the calibration file; about a minute for 1,500 pictures. Returns the maps."""
    maps = fit(labelled(pictures, seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(maps, indent=1) + "\n")
    return maps
