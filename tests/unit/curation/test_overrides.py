"""Overrides: the latest word wins, an undone one is gone, and the model's verdict stays beside it."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from told import told

from curation import overrides

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def said(*words, stage="photorealism"):
    """One row a (sample, verdict), a minute apart."""
    rows = [
        overrides.override(sample, stage, verdict, "Ada", f"because {place}", NOON + timedelta(minutes=place))
        for place, (sample, verdict) in enumerate(words)
    ]
    return pl.concat([pl.DataFrame(schema=overrides.SCHEMA), *rows])


def judged(**keep):
    codes = [None if kept else "not_photorealistic" for kept in keep.values()]
    kept = pl.DataFrame({"sample_id": list(keep), "keep": list(keep.values())})
    return kept.with_columns(pl.Series("reason_code", codes, dtype=pl.String), reason_detail=pl.lit("x"))


def test_an_override_wins_and_the_models_verdict_stays():
    table = overrides.apply(
        judged(a=True, b=False, c=False), said(("a", "drop"), ("b", "keep")), "photorealism"
    )
    assert table["keep"].to_list() == [False, True, False]
    assert told(table) == [
        "overruled: Ada says drop: because 0",
        "overruled: Ada says keep: because 1",
        "not_photorealistic: x",
    ]
    assert table["model_keep"].to_list() == [True, False, False]
    assert table["model_reason_code"].to_list() == [None, "not_photorealistic", "not_photorealistic"]
    assert table["override"].to_list() == ["drop", "keep", None]
    assert table["overruled_at"].to_list() == [NOON, NOON + timedelta(minutes=1), None]


def test_undo_gives_the_verdict_back_to_the_model():
    table = overrides.apply(judged(a=True), said(("a", "drop"), ("a", "undo")), "photorealism")
    assert table["keep"].to_list() == [True] and table["override"].to_list() == [None]


def test_other_stages_and_samples_without_a_row_change_nothing():
    table = overrides.apply(judged(a=True), said(("z", "drop")), "photorealism")
    assert table["keep"].to_list() == [True] and table.height == 1
    assert overrides.standing(said(("a", "drop")), "captions").is_empty()


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(overrides.VERDICTS)), max_size=12),
    st.randoms(),
)
def test_the_last_word_on_a_sample_counts_whatever_the_order_of_the_rows(words, random):
    rows = said(*words)
    order = list(range(rows.height))
    random.shuffle(order)
    table = overrides.apply(judged(a=True, b=False, c=True), rows[order], "photorealism")
    last = dict(words)
    for sample, model, keep in table.select("sample_id", "model_keep", "keep").iter_rows():
        assert keep == {"keep": True, "drop": False}.get(last.get(sample), model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "photorealsim"}, "did you mean 'photorealism'"),
        ({"stage": "captions"}, "no stage 'captions' to label; there are photorealism"),
        ({"verdict": "kep"}, "did you mean 'keep'"),
        ({"verdict": "maybe"}, "keep, drop, undo"),
        ({"author": " "}, "needs an author"),
        ({"reason": ""}, "needs a reason"),
    ],
)
def test_what_cannot_be_written_is_named(change, message):
    words = {"stage": "photorealism", "verdict": "keep", "author": "Ada", "reason": "real"}
    with pytest.raises(ValueError, match=message):
        overrides.override("a", time=NOON, **(words | change))
