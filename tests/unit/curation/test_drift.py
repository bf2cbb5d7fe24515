"""Whether new data look like the accepted ones: shares and distributions, with what chance explains."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import drift


def table(kept, dropped, source="affectnet", au1=0.0):
    return pl.DataFrame(
        {
            "source": [source] * (kept + dropped),
            "keep": [True] * kept + [False] * dropped,
            "au1": [au1] * (kept + dropped),
        },
        schema={"source": pl.String, "keep": pl.Boolean, "au1": pl.Float64},
    )


def test_shares_are_counted_by_source():
    both = pl.concat([table(3, 1), table(0, 2, "disfa")])
    assert drift.shares(both) == {"affectnet": [3, 4], "disfa": [0, 2]}


@pytest.mark.parametrize(
    ("now", "before", "moved"),
    [
        ((9000, 10000), (8500, 10000), False),  # 5 points
        ((9000, 10000), (7500, 10000), True),  # 15 points, of many
        ((9, 10), (75, 100), False),  # 15 points, but of ten: chance explains 3 * 0.14
        ((0, 10), (100, 100), True),
        ((0, 0), (5, 10), True),  # nothing is left
        ((5, 10), (0, 0), False),  # there was nothing
    ],
)
def test_a_share_has_moved_beyond_limit_and_chance(now, before, moved):
    assert bool(drift.moved({"folder": now}, {"folder": before}, 0.1)) == moved


def test_what_moved_is_told():
    assert drift.moved({"a": (9000, 10000)}, {"a": (7500, 10000)}, 0.1) == [
        "a: keeps 0.900 of 10,000 rows, 0.750 of 10,000 before"
    ]


def test_a_new_source_moves_nothing():
    assert drift.moved({"a": (1, 2), "b": (0, 9)}, {"a": (1, 2)}, 0.0) == []


def test_intensities_fall_into_bins_of_a_half():
    values = pl.DataFrame(
        {"source": "a", "keep": [True] * 5 + [False], "au1": [0.0, 0.49, 0.5, 4.99, 7.3, 1.0]}
    ).with_columns(au2=pl.lit(None, dtype=pl.Float64))
    found = drift.histograms(values)["a"]
    assert found["au1"] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1] and sum(found["au2"]) == 0


def test_a_distribution_has_drifted_beyond_limit_and_chance():
    def at(value, rows):
        return drift.histograms(table(rows, 0, au1=value))

    assert drift.drifted(at(1.0, 1000), at(1.2, 1000), 0.1) == [], "the same bin"
    assert drift.drifted(at(3.0, 1000), at(1.0, 1000), 0.1) == [
        "affectnet AU1: moved by 1.000, 1,000 values beside 1,000"
    ]
    assert drift.drifted(at(3.0, 3), at(1.0, 3), 0.1) == [], "three values say nothing"


@given(st.lists(st.integers(0, 50), min_size=11, max_size=11))
def test_nothing_drifts_from_itself(counts):
    same = {"a": {"au1": counts}}
    assert drift.drifted(same, same, 0.0) == []
