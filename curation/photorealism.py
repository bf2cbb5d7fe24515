"""The photorealism stage: what follows from BLIP-2's two answers. Asking the model lives in
`inference.blip2`.
"""

from collections.abc import Mapping

import polars as pl

from curation import frames
from reasons import Reason

QUESTIONS: dict[str, str] = {"cartoon": "Is this a cartoon?", "real": "Is this photo real?"}
"""FineFace supplement, data processing, step 2."""

THRESHOLDS: dict[str, float] = {"cartoon": 0.5, "real": 0.5}
"""P(yes) from which on an answer counts as yes."""


def judge(
    frame: pl.DataFrame,
    thresholds: Mapping[str, float] = THRESHOLDS,
    questions: Mapping[str, str] = QUESTIONS,
) -> pl.DataFrame:
    """Keep rows that are no cartoon (`cartoon_score` < threshold) and real (`real_score` >= threshold).

    `frame` has `cartoon_answer`, `cartoon_score`, `real_answer`, `real_score` (scores are P(yes), 0-1) and,
    if rows were dropped before, `keep` and its reason; those stay dropped. A row with a score missing is
    dropped: it was not judged. The detail quotes question, answer and score. Adds `vouched_by`, null. Raises
    ValueError for a missing column or a threshold that is missing or outside [0, 1].
    """
    for name in QUESTIONS:
        if not 0 <= thresholds.get(name, -1) <= 1:
            raise ValueError(f"threshold {name!r} is within [0, 1], not {thresholds.get(name)!r}")
    table = frames.judgeable(frame, "cartoon_answer", "cartoon_score", "real_answer", "real_score")
    for name in QUESTIONS:
        score = pl.col(f"{name}_score").cast(pl.Float64)
        unknown = score.is_null() | score.is_nan()
        table = frames.quarantine(table, unknown, Reason.NOT_JUDGED, f"no answer to '{questions[name]}'")
        fails = score >= thresholds[name] if name == "cartoon" else score < thresholds[name]
        answer = pl.col(f"{name}_answer").fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()
        detail = pl.format("answered '{}' to '{}' ({})", answer, pl.lit(questions[name]), score.round(2))
        table = frames.quarantine(table, fails, Reason.NOT_PHOTOREALISTIC, detail)
    return table.with_columns(pl.lit(None, dtype=pl.String).alias("vouched_by"))


def borderline(
    table: pl.DataFrame, thresholds: Mapping[str, float] = THRESHOLDS, count: int = 60
) -> pl.DataFrame:
    """The `count` rows whose verdict was closest, closest first, with `margin`: how far the scores could move
    before it turned. Positive for rows that pass both thresholds, negative for others; rows without scores
    are left out.
    """
    margin = pl.min_horizontal(
        thresholds["cartoon"] - pl.col("cartoon_score"), pl.col("real_score") - thresholds["real"]
    ).alias("margin")
    judged = table.drop_nulls(["cartoon_score", "real_score"]).with_columns(margin)
    return judged.sort(pl.col("margin").abs(), "sample_id").head(count)


def vouch(frame: pl.DataFrame, by: str) -> pl.DataFrame:
    """Keep all rows on a person's word instead of a model's: answers and scores null, `vouched_by` names
    `by`.

    Rows dropped before stay dropped. Raises ValueError if `by` is empty.
    """
    if not by.strip():
        raise ValueError("a photograph is vouched for by somebody: give a name")
    answers = [pl.lit(None, dtype=pl.String).alias(f"{name}_answer") for name in QUESTIONS]
    scores = [pl.lit(None, dtype=pl.Float64).alias(f"{name}_score") for name in QUESTIONS]
    return frames.judgeable(frame).with_columns(
        *answers,
        *scores,
        pl.lit(None, dtype=pl.String).alias("model"),
        pl.lit(None, dtype=pl.String).alias("fingerprint"),
        pl.lit(by.strip()).alias("vouched_by"),
    )
