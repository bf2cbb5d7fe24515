"""The funnel, how labels are spread, and what moved between two versions of the training set."""

import polars as pl
import pytest
from app_home import FRAME, SMILE, say, training_set

import facs
from app import versions


def test_bins_count_every_label_once_and_the_last_takes_what_lies_above():
    table = pl.DataFrame({column: [0.0, 0.5, 1.0, 4.99, 5.0, None] for column in facs.COLUMNS})
    spread = versions.spreads(table)[0]
    assert spread.counts == (1, 1, 1, 0, 0, 0, 0, 0, 0, 2) and spread.known == 5
    assert spread.active == pytest.approx(0.6) and spread.mean == pytest.approx(2.298)
    assert versions.spreads(table.clear())[0].mean is None


def test_what_came_went_and_was_relabelled(store):
    say(store, SMILE, "training_set", "AU4=2")
    after = training_set(store.read("overrides"))
    store.write("training_set", after.filter(sample_id=SMILE))
    known = versions.versions(store)
    assert [one.number for one in known] == [1, 0] and known[0].rows == 1
    change = versions.change(store, 0, 1)
    assert (change.came, change.went, change.stayed, change.relabelled) == (0, 1, 1, 1)
    assert change.by_reason == (("before the training set", 1),)
    back = versions.change(store, 1, 0)
    assert (back.came, back.went) == (1, 0)
    assert versions.labels(store, 0, "disfa")["sample_id"].to_list() == [FRAME]


def test_a_dropped_sample_went_by_its_reason(store):
    table = training_set()
    gone = pl.col("sample_id") == FRAME
    store.write(
        "training_set",
        table.with_columns(
            keep=~gone, reason_code=pl.when(gone).then(pl.lit("no_caption")).otherwise(pl.col("reason_code"))
        ),
    )
    assert versions.change(store, 0, 1).by_reason == (("no_caption", 1),)


@pytest.mark.parametrize(
    ("old", "new", "distance"),
    [([0, 1], [0, 1], 0.0), ([0, 0], [5, 5], 1.0), ([0, 1, 2, 3], [0, 1, 2, 5], 0.25)],
)
def test_drift_is_the_largest_difference_of_the_distribution_functions(old, new, distance):
    tables = [pl.DataFrame({column: map(float, values) for column in facs.COLUMNS}) for values in (old, new)]
    assert versions.drifts(*tables)[0].distance == pytest.approx(distance)


def test_the_funnel_counts_each_source(store):
    counts = versions.counts(store).filter(source="affectnet", stage="resolution").row(0, named=True)
    assert (counts["kept"], counts["dropped"]) == (2, 1)
    assert versions.reasons(store).filter(reason_code="too_small")["count"].to_list() == [1]
