"""Experiments that differ only in their seed: the mean over trainings, with an interval of its own.

The intervals of `bootstrap` are over prompts and say nothing of another training; these do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

LEVEL = 0.95
SEED = "seed"
"""The setting that may differ within a group, wherever it stands in an experiment's settings."""

OVER_SEEDS = pl.Schema(
    {
        "group": pl.String(),
        "experiments": pl.List(pl.String()),
        "judge": pl.String(),
        "kind": pl.String(),
        "metric": pl.String(),
        "mean": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "spread": pl.Float64(),
        "seeds": pl.Int64(),
    }
)


def groups(experiments: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The names of experiments whose settings are equal but for `seed`, by the name of the first of them.

    `experiments` holds the settings of each by its name, as plain values. Of experiments that are equal in
    their seed too only the first counts: they are one training. One that no other equals is in no group.
    """
    alike: dict[str, dict[str, str]] = {}
    for name, settings in experiments.items():
        trainings = alike.setdefault(_text(_without_seed(settings)), {})
        trainings.setdefault(_text(settings), name)
    named = [list(trainings.values()) for trainings in alike.values()]
    return {names[0]: names for names in named if len(names) > 1}


def over_seeds(results: pl.DataFrame, grouped: Mapping[str, list[str]]) -> pl.DataFrame:
    """Each metric's mean over the experiments of each group, with its 95 % interval: OVER_SEEDS.

    `results` is a frame of `tables.results`, `grouped` of `groups`. The interval is Student's, of the mean of
    as many trainings as were measured (for three: the mean ± 2.48 standard deviations), null for fewer than
    two; `spread` is their standard deviation.
    """
    rows = []
    for group, names in grouped.items():
        part = results.filter(pl.col("experiment").is_in(names)).drop_nulls("value")
        for (judge, kind, metric), found in part.group_by("judge", "kind", "metric", maintain_order=True):
            values = found["value"].to_numpy()
            low, high, spread = _interval(values)
            present = found["experiment"].to_list()
            mean = float(values.mean())
            rows.append((group, present, judge, kind, metric, mean, low, high, spread, len(values)))
    return pl.DataFrame(rows, schema=OVER_SEEDS, orient="row")


def _interval(values: np.ndarray) -> tuple[float | None, float | None, float | None]:
    n = len(values)
    if n < 2:
        return None, None, None
    spread = float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * spread / math.sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half, spread


def _text(settings: Any) -> str:
    return json.dumps(settings, sort_keys=True, default=str)


def _without_seed(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        return {key: _without_seed(value) for key, value in settings.items() if key != SEED}
    return settings
