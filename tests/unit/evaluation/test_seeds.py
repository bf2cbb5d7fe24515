"""Experiments that differ only in their seed: found by their settings, averaged with an interval."""

import polars as pl
import pytest

from evaluation import seeds, tables


def experiment(seed: int, **changes) -> dict:
    settings = {"method": "fineface", "rank": 16, "seed": seed, "smoothing": {"variance": 0.2}} | changes
    return {"train": settings, "sample": {"guidance": [3, 4]}}


def test_groups_are_equal_but_for_the_seed():
    found = seeds.groups(
        {
            "fineface": experiment(0),
            "fineface_1": experiment(1),
            "narrow": experiment(1, rank=2),
            "smooth": experiment(2, smoothing={"variance": 0.0}),
            "sd": {"train": {"method": "sd"}},
            "fineface_2": experiment(2),
        }
    )
    assert found == {"fineface": ["fineface", "fineface_1", "fineface_2"]}


def test_another_way_of_sampling_is_no_other_seed():
    other = experiment(1) | {"sample": {"guidance": [7.5]}}
    assert seeds.groups({"a": experiment(0), "b": other}) == {}


def test_the_same_seed_twice_is_one_training():
    found = seeds.groups({"a": experiment(0), "copy": experiment(0), "b": experiment(1)})
    assert found == {"a": ["a", "b"]}
    assert seeds.groups({"a": experiment(0), "copy": experiment(0)}) == {}


def results(values: dict[str, float | None]) -> pl.DataFrame:
    rows = [(name, "clip", "individual", "clip_i", value, None, None, 900) for name, value in values.items()]
    return pl.DataFrame(rows, schema=tables.RESULTS, orient="row")


def test_three_seeds_by_hand():
    # mean 2, standard deviation 1; Student's t with 2 degrees of freedom at 97.5 %: 4.3027 / sqrt(3) = 2.4841
    table = results({"a": 1.0, "b": 2.0, "c": 3.0, "alone": 9.0})
    found = seeds.over_seeds(table, {"a": ["a", "b", "c"]})
    assert found.schema == seeds.OVER_SEEDS
    row = found.row(0, named=True)
    assert (row["group"], row["experiments"], row["seeds"]) == ("a", ["a", "b", "c"], 3)
    assert (row["mean"], row["spread"]) == (2.0, 1.0)
    assert (row["low"], row["high"]) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)


def test_one_measured_seed_has_no_interval():
    row = seeds.over_seeds(results({"a": 1.0, "b": None}), {"a": ["a", "b"]}).row(0, named=True)
    assert (row["mean"], row["low"], row["high"], row["spread"], row["seeds"]) == (1.0, None, None, None, 1)


def test_without_groups_the_table_is_empty():
    assert seeds.over_seeds(results({"a": 1.0}), {}).schema == seeds.OVER_SEEDS
