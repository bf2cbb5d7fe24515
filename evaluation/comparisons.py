"""Which differences between experiments stand: paired permutation over prompts, Holm's correction.

The samples of one prompt share its wording and noise, so a prompt is what is exchanged: were two experiments
alike, either could have made a prompt's pictures. Intervals are drawn in `bootstrap`, measures defined in
`metrics`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

import facs
from evaluation import bootstrap, metrics, partners
from evaluation.bootstrap import Sums
from evaluation.metrics import Scores
from evaluation.tables import DEFINITIONS, KINDS, WITNESSES

EXACT_PROMPTS = 18
"""Up to so many prompts all ways of exchanging them are counted, beyond it DRAWS of them."""
DRAWS = 2**16
LEVEL = 0.05

COMPARISONS = pl.Schema(
    {
        "first": pl.String,
        "second": pl.String,
        "judge": pl.String,
        "kind": pl.String,
        "metric": pl.String,
        "first_value": pl.Float64,
        "second_value": pl.Float64,
        "difference": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "prompts": pl.Int64,
        "p": pl.Float64,
        "p_holm": pl.Float64,
        "better": pl.String,
    }
)
AUS = pl.Schema(
    {"au" if name == "kind" else name: kind for name, kind in COMPARISONS.items()} | {"au": pl.Int64}
)


AU_METRICS = (
    "au_mse_prompted",
    "au_mse_all",
    "au_mse_unprompted",
    "au_mse_over_control",
    "face_failure_rate",
)
"""Those of `metrics.AU_METRICS` that are tested."""


def compare(
    au_scores: Mapping[str, Mapping[str, pl.DataFrame]],
    partner_scores: Mapping[str, pl.DataFrame],
    pairs: Sequence[tuple[str, str]],
    kinds: Sequence[str] = KINDS,
) -> pl.DataFrame:
    """Every measure of both experiments of each pair in the samples of `kinds`, paired by sample:
    COMPARISONS, one family of tests.

    `au_scores` holds, of each judge, one frame an experiment, `partner_scores` one an experiment: see
    `tables.results`. `difference` is the first experiment's value minus the second's, `low` and `high` its 95
    % interval over prompts, `p` of `permutation_test`, `p_holm` the same after Holm's correction over all
    rows. `better` names the experiment that does better where the difference stands (p_holm < 0.05), else it
    is null. Raises ValueError for experiments that were given different samples.
    """
    rows = []
    for first, second in pairs:
        for kind in kinds:
            for judge, metric, a, b in _sums(au_scores, partner_scores, first, second, kind):
                rows.append((first, second, judge, kind, metric, *_tested(a, b)))
    return _corrected(rows, COMPARISONS)


def compare_aus(au_scores: Mapping[str, Mapping[str, pl.DataFrame]], first: str, second: str) -> pl.DataFrame:
    """AU-MSE prompted of each AU by itself, over the individual samples that ask for it: AUS, a family of
    tests of its own; else as `compare`. Null where a judge does not read the AU."""
    rows = []
    for judge, measured in au_scores.items():
        scores = [_scores(measured[name], "individual") for name in (first, second)]
        if not (len(scores[0]) or len(scores[1])):
            continue
        a, b = metrics.paired(*scores)
        for au in facs.ACTION_UNITS:
            sums = (metrics.au_mse_prompted(one.prompting(au)) for one in (a, b))
            rows.append((first, second, judge, au, "au_mse_prompted", *_tested(*sums)))
    return _corrected(rows, AUS)


def _tested(a: Sums, b: Sums) -> tuple:
    """Both values, their difference with its interval, prompts and p; two places for what follows."""
    found = bootstrap.estimate(lambda x, y: x - y, a, b)
    values = [bootstrap.mean(sums).value for sums in (a, b)]
    return *values, *found[:3], len(a.prompts), permutation_test(a, b), None, None


def _corrected(rows: Sequence[tuple], schema: pl.Schema) -> pl.DataFrame:
    """A table of the rows of `_tested`, corrected as one family, and who is better where that stands."""
    table = pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))
    table = table.with_columns(p_holm=pl.Series(holm(table["p"].to_list()), dtype=pl.Float64))
    higher_is_better = {metric: definition.better > 0 for metric, definition in DEFINITIONS.items()}
    first_is_better = (pl.col("difference") > 0) == pl.col("metric").replace_strict(
        higher_is_better, return_dtype=pl.Boolean
    )
    winner = pl.when(first_is_better).then(pl.col("first")).otherwise(pl.col("second"))
    return table.with_columns(better=pl.when(pl.col("p_holm") < LEVEL).then(winner))


def permutation_test(first: Sums, second: Sums) -> float:
    """The two-sided p-value of the difference of two means whose prompts are paired.

    Of all ways of exchanging the two experiments prompt by prompt, the share in which the means differ at
    least as much as they do: exact for up to EXACT_PROMPTS prompts (2^15 ways for 15), else from DRAWS seeded
    ones, with the one that was seen counted among them. With n prompts the smallest value is 2 / 2^n, so
    fewer than 6 can show nothing. NaN where nothing was measured. Raises ValueError for different prompts.
    """
    if first.prompts != second.prompts:
        raise ValueError("cannot compare: the samples are of different prompts")
    if not (first.n and second.n):
        return float("nan")
    exchanged = _exchanges(len(first.prompts))
    difference = _mean_under(exchanged, first, second) - _mean_under(exchanged, second, first)
    with np.errstate(invalid="ignore"):
        as_large = np.abs(difference) >= np.abs(difference[0]) * (1 - 1e-9) - 1e-12
    return float(as_large.mean())


def holm(p: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm 1979): never below the uncorrected; None stays None.

    The smallest of m is multiplied by m, the next by m - 1, and so on, each at least the one before and at
    most 1. Whatever the tests have to do with each other, the chance of any false one stays below the level.
    """
    order = sorted((value, place) for place, value in enumerate(p) if value is not None)
    corrected: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, place) in enumerate(order):
        largest = max(largest, min(1.0, value * (len(order) - rank)))
        corrected[place] = largest
    return corrected


def text(table: pl.DataFrame) -> str:
    """COMPARISONS as aligned lines for a terminal: which differences stand, and which do not."""
    lines = []
    for row in table.iter_rows(named=True):
        verdict = f"{row['better']} is better" if row["better"] else "does not stand"
        lines.append(
            (
                f"{row['first']} and {row['second']}, {row['kind']}",
                row["judge"],
                DEFINITIONS[row["metric"]].label,
                "undefined" if row["difference"] is None else f"{row['difference']:+.2f}".replace("-", "−"),
                "" if row["p_holm"] is None else p_text(row["p_holm"]),
                verdict if row["difference"] is not None else "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)] if lines else []
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def p_text(p: float) -> str:
    """`"p = 0.012"`, `"p < 0.001"`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _sums(
    au_scores: Mapping[str, Mapping[str, pl.DataFrame]],
    partner_scores: Mapping[str, pl.DataFrame],
    first: str,
    second: str,
    kind: str,
) -> Iterator[tuple[str, str, Sums, Sums]]:
    """Who measured, each measure's name and sums of both experiments, over the same entries."""
    for judge, measured in au_scores.items():
        frames = [measured[name] for name in (first, second)]
        scores = [_scores(frame, kind) for frame in frames]
        if len(scores[0]) or len(scores[1]):
            a, b = metrics.paired(*scores)
            for metric in AU_METRICS:
                yield judge, metric, metrics.AU_METRICS[metric](a), metrics.AU_METRICS[metric](b)
    if first in partner_scores and second in partner_scores:
        parts = [partner_scores[name].filter(kind=kind).sort("sample_id") for name in (first, second)]
        if metrics.requests(parts[0]).to_list() != metrics.requests(parts[1]).to_list():
            raise ValueError(metrics.DIFFERENT)
        for metric in partners.RANGES:
            if parts[0].height and all(metric in part.columns for part in parts):
                # A face that one of the two has lost is easy for neither
                both = parts[0][metric].is_not_null() & parts[1][metric].is_not_null()
                shown = [part.with_columns(pl.when(both).then(metric).alias(metric)) for part in parts]
                means = [partners.mean(part, metric) for part in shown]
                yield WITNESSES[metric], metric, means[0], means[1]


def _scores(frame: pl.DataFrame, kind: str) -> Scores:
    return Scores.of(frame.filter(kind=kind), metrics.aus_read(frame))


def _exchanges(prompts: int) -> np.ndarray:
    """Which prompts are exchanged, bool [ways, prompts]; none in the first way.

    The first prompt never is: exchanging the others as well gives the same difference with the other sign.
    """
    if prompts <= EXACT_PROMPTS:
        ways = np.arange(2 ** max(0, prompts - 1))
        return (ways[:, None] >> np.arange(prompts)[::-1] & 1).astype(bool)
    drawn = np.random.default_rng(bootstrap.SEED).random((DRAWS, prompts)) < 0.5
    drawn[0] = False
    return drawn


def _mean_under(exchanged: np.ndarray, own: Sums, other: Sums) -> np.ndarray:
    total = own.total.sum() + exchanged @ (other.total - own.total)
    count = own.count.sum() + exchanged @ (other.count - own.count)
    with np.errstate(divide="ignore", invalid="ignore"):
        return total / count
