"""Overrides: the latest word wins, an undone one is gone, and the model's verdict stays beside it."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from told import told

import facs
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
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("keep", "drop", "undo"))), max_size=12),
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
        ({"said": "kep"}, "did you mean 'keep'"),
        ({"said": "maybe"}, "keep, drop, undo"),
        ({"said": "AU4=2"}, "photorealism takes keep, drop or undo, not 'AU4=2'"),
        ({"stage": "training_set"}, "training_set takes AU4=2.5, or AU4=undo, not 'keep'"),
        ({"stage": "training_set", "said": "AU3=2"}, "unknown action unit 'AU3'"),
        ({"stage": "training_set", "said": "AU4=5.1"}, "AU4: an intensity is a number of 0-5, not '5.1'"),
        ({"stage": "training_set", "said": "AU4=nan"}, "AU4: an intensity is a number of 0-5"),
        ({"stage": "training_set", "said": "AU4=strong"}, "not 'strong'"),
        ({"author": " "}, "needs an author"),
        ({"reason": ""}, "needs a reason"),
    ],
)
def test_what_cannot_be_written_is_named(change, message):
    words = {"stage": "photorealism", "said": "keep", "author": "Ada", "reason": "real"}
    with pytest.raises(ValueError, match=message):
        overrides.override("a", time=NOON, **(words | change))


def labelled(**rows):
    table = pl.DataFrame({"sample_id": list(rows)}).with_columns(
        pl.Series(column, [values.get(column) for values in rows.values()], dtype=pl.Float64)
        for column in facs.COLUMNS
    )
    return table


def test_an_intensity_that_a_person_gave_stands_and_names_its_au():
    rows = said(("a", "AU4=2.5"), ("a", "AU12=1"), ("b", "AU4=3"), ("b", "AU4=undo"), stage="training_set")
    table = overrides.apply_intensities(
        labelled(a={"au4": 1.0, "au6": 2.0}, b={"au4": 0.5}, c={"au4": 4.0}), rows
    )
    assert table["sample_id"].to_list() == ["a", "b", "c"]
    assert table["au4"].to_list() == [2.5, 0.5, 4.0]
    assert table["au6"].to_list() == [2.0, None, None]
    assert table["au12"].to_list() == [1.0, None, None], "an AU that the estimator does not read can be given"
    assert table["overruled"].to_list() == [[4, 12], None, None]


def test_without_a_word_the_intensities_are_what_they_were():
    table = labelled(a={"au4": 1.0})
    given = overrides.apply_intensities(table, said(("a", "drop")))
    assert given.drop("overruled").equals(table) and given["overruled"].null_count() == 1


@pytest.mark.parametrize("text", ["keep", "undo", "AU4=2.5", "AU26=undo"])
def test_a_row_says_again_what_was_said(text):
    stage = "training_set" if "=" in text else "photorealism"
    assert overrides.said(said(("a", text), stage=stage).row(0, named=True)) == text
