"""Which differences stand: p-values counted by hand, Holm's correction, and what chance alone may not do."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
import tiny_protocol
from hypothesis import given
from hypothesis import strategies as st

import facs
from evaluation import comparisons, metrics, partners
from evaluation.bootstrap import Sums
from evaluation.metrics import MEASURED

PROTOCOL = tiny_protocol.build()


def sums(*means: float, count: float = 10) -> Sums:
    """One prompt a mean, `count` entries each."""
    counts = np.full(len(means), float(count))
    return Sums(tuple(range(len(means))), np.array(means) * counts, counts)


def test_p_by_hand():
    # differences 3, 1, -1: +3+1-1 = 3 was seen, then +3+1+1 = 5, +3-1-1 = 1, +3-1+1 = 3: 3 of 4 are at
    # least 3, and as many with the other sign
    assert comparisons.permutation_test(sums(3, 1, 0), sums(0, 0, 1)) == 0.75


def test_fifteen_prompts_that_all_agree_reach_the_smallest_p():
    one = sums(*np.arange(15.0))
    assert comparisons.permutation_test(sums(*(np.arange(15) + 0.1)), one) == 2 / 2**15
    assert comparisons.permutation_test(one, one) == 1.0


differences = st.lists(st.integers(-9, 9), min_size=1, max_size=8)


@given(differences)
def test_p_is_the_share_of_all_ways_of_exchanging_prompts(given_differences):
    d = np.array(given_differences, float)
    ways = [abs((np.array(signs) * d).sum()) for signs in itertools.product((1, -1), repeat=len(d))]
    expected = np.mean([way >= abs(d.sum()) for way in ways])
    assert comparisons.permutation_test(sums(*d), sums(*np.zeros(len(d)))) == pytest.approx(expected)


@given(differences, st.integers(0, 99))
def test_p_does_not_ask_who_is_first(given_differences, seed):
    other = np.random.default_rng(seed).integers(-9, 9, len(given_differences)).astype(float)
    a, b = sums(*map(float, given_differences)), sums(*other)
    assert comparisons.permutation_test(a, b) == comparisons.permutation_test(b, a)


def test_prompts_of_unequal_weight_are_exchanged_whole():
    # means 4 / 3 and 9 / 2, 3.17 apart; exchanged at the second prompt (3 + 5) / 3 and (4 + 1) / 2, 0.17
    a, b = (
        Sums((0, 1), np.array([3.0, 1]), np.array([2.0, 1])),
        Sums((0, 1), np.array([4.0, 5]), np.array([1.0, 1])),
    )
    assert comparisons.permutation_test(a, b) == 0.5


def test_many_prompts_are_drawn_and_seeded():
    rng = np.random.default_rng(5)
    a, b = sums(*rng.normal(0.4, 1, 50)), sums(*np.zeros(50))
    p = comparisons.permutation_test(a, b)
    assert p == comparisons.permutation_test(a, b)
    z = abs(a.total.sum()) / np.sqrt((a.total**2).sum())
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.15)


def test_holm_by_hand():
    # 0.01 × 4, 0.02 × 3, max(0.06, 0.03 × 2), max(0.06, 0.04); never out of order, never above 1
    assert comparisons.holm([0.04, 0.01, None, 0.03, 0.02]) == pytest.approx([0.06, 0.04, None, 0.06, 0.06])
    assert comparisons.holm([0.6, 0.7]) == [1.0, 1.0]
    assert comparisons.holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_is_between_p_and_bonferroni_and_keeps_the_order(p):
    corrected = comparisons.holm(p)
    for value, found in zip(p, corrected, strict=True):
        assert value <= found <= max(value, min(1, value * len(p))) + 1e-12
    by_p = [found for _, found in sorted(zip(p, corrected, strict=True))]
    assert by_p == sorted(by_p)


def test_chance_alone_is_rarely_below_the_level():
    """Two alike: p is below 0.05 in about one of twenty, never more."""
    rng = np.random.default_rng(0)
    p = [
        comparisons.permutation_test(sums(*rng.normal(size=10)), sums(*rng.normal(size=10)))
        for _ in range(400)
    ]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.08


def scored(gain: float, seed: int) -> pl.DataFrame:
    target = PROTOCOL.select(facs.COLUMNS).to_numpy()
    measured = np.clip(target * gain + np.random.default_rng(seed).normal(0, 0.3, target.shape), 0, 5)
    return PROTOCOL.with_columns(pl.Series(n, c) for n, c in zip(MEASURED, measured.T, strict=True))


def cosines(frame: pl.DataFrame, value: float) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    return frame.with_columns(clip_i=pl.Series(value + rng.normal(0, 0.01, frame.height)))


@pytest.fixture(scope="module")
def table():
    au = {"good": scored(0.9, 0), "same": scored(0.1, 1), "sd": scored(0.1, 2)}
    clip = {"good": cosines(au["good"], 0.8), "sd": cosines(au["sd"], 0.9)}
    return comparisons.compare({"labeller": au}, clip, [("good", "sd"), ("same", "sd")])


def row(table, first, kind, metric):
    return table.filter(first=first, kind=kind, metric=metric).row(0, named=True)


def test_every_measure_of_every_pair_is_one_family(table):
    assert table.schema == comparisons.COMPARISONS
    assert table.height == 2 * 2 * len(comparisons.AU_METRICS) + 2, "CLIP-I where both have it"
    assert table["p_holm"].to_list() == comparisons.holm(table["p"].to_list())


def test_tests_by_another_judge_belong_to_the_same_family(table):
    au = {"good": scored(0.9, 0), "sd": scored(0.1, 2)}
    both = comparisons.compare({"labeller": au, "second": au}, {}, [("good", "sd")])
    assert both.height == 2 * 2 * len(comparisons.AU_METRICS)
    own, other = (both.filter(judge=judge).drop("judge") for judge in ("labeller", "second"))
    assert own.equals(other), "they measured the same"
    assert both["p_holm"].to_list() == comparisons.holm(both["p"].to_list())
    assert set(table["judge"]) == {"labeller", "clip"}


def test_what_is_better_stands_and_what_is_alike_does_not(table):
    for kind in ("individual", "combination"):
        found = row(table, "good", kind, "au_mse_prompted")
        assert found["better"] == "good" and found["p"] == 2 / 2**15 and found["prompts"] == 15
        assert found["difference"] == pytest.approx(found["first_value"] - found["second_value"])
        assert found["low"] < found["difference"] < found["high"] < 0
        assert row(table, "good", kind, "clip_i")["better"] == "sd", "a higher cosine is better"
        assert row(table, "same", kind, "au_mse_prompted")["better"] is None
        assert row(table, "good", kind, "face_failure_rate")["p"] == 1.0


def test_a_face_that_one_of_two_lost_is_easy_for_neither():
    """The second loses the half that is far from its partner: what is left of it looks closer than it is."""
    one = scored(0.5, 0)
    far = pl.int_range(pl.len()) % 2 == 1
    distance = pl.when(far).then(0.5).otherwise(0.1)
    whole = one.with_columns(identity_distance=distance, same_person=pl.lit(1.0))
    lost = one.with_columns(
        identity_distance=pl.when(~far).then(distance), same_person=pl.when(far).then(0.0).otherwise(1.0)
    )
    found = comparisons.compare({}, {"whole": whole, "lost": lost}, [("lost", "whole")], ["individual"])
    distance, same = (found.filter(metric=name).row(0, named=True) for name in partners.IDENTITY_METRICS)
    assert (distance["first_value"], distance["second_value"]) == pytest.approx((0.1, 0.1))
    assert distance["better"] is None and same["better"] == "whole"


def test_other_samples_are_refused(table):
    one, other = scored(0.5, 0), scored(0.5, 1)
    clip = {"a": cosines(one, 0.9), "b": cosines(other, 0.9).head(900)}
    with pytest.raises(ValueError, match="same samples"):
        comparisons.compare({"labeller": {"a": one, "b": other}}, clip, [("a", "b")])
    with pytest.raises(ValueError, match="same samples"):
        comparisons.compare({"labeller": {"a": one, "b": other.head(900)}}, {}, [("a", "b")])
    same_ids = scored(0.5, 0).with_columns(pl.format("{}, drawn later", "prompt").alias("prompt"))
    with pytest.raises(ValueError, match="prompts and noise"):
        comparisons.compare({"labeller": {"a": one, "b": same_ids}}, {}, [("a", "b")])
    clip = {"a": cosines(one, 0.9), "b": cosines(same_ids, 0.9)}
    with pytest.raises(ValueError, match="prompts and noise"):
        comparisons.compare({"labeller": {"a": one.clear(), "b": one.clear()}}, clip, [("a", "b")])


def test_the_text_says_what_stands(table):
    lines = comparisons.text(table).splitlines()
    assert len(lines) == table.height
    assert any("AU-MSE prompted " in line and "p = 0.001  good is better" in line for line in lines)
    assert any(line.startswith("same and sd") and line.endswith("does not stand") for line in lines)
    assert comparisons.text(table.clear()) == ""


def test_one_prompt_shows_nothing():
    one = {name: scored(gain, 3).filter(prompt_index=0) for name, gain in (("a", 0.9), ("b", 0.1))}
    found = comparisons.compare({"labeller": one}, {}, [("a", "b")])
    assert set(found["p"]) == {1.0} and found["better"].null_count() == found.height
    assert set(found["metric"]) == set(comparisons.AU_METRICS) <= set(metrics.AU_METRICS)
