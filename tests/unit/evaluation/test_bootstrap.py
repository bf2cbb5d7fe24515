"""Intervals: whole prompts are drawn, pairs share their draws, the same seed gives the same numbers."""

import math

import numpy as np
import pytest

from evaluation import bootstrap
from evaluation.bootstrap import Sums


def sums(*means: float, count: float = 10) -> Sums:
    """One prompt a mean, `count` entries each."""
    counts = np.full(len(means), float(count))
    return Sums(tuple(range(len(means))), np.array(means) * counts, counts)


def test_sums_by_hand():
    values = np.array([[1.0, 2.0], [3.0, math.nan], [5.0, 6.0]])
    counted = np.array([[True, True], [True, False], [False, True]])
    found = Sums.of(values, counted, np.array([4, 2, 4]))
    assert found.prompts == (2, 4)
    assert found.total.tolist() == [3.0, 9.0]
    assert found.count.tolist() == [1.0, 3.0]
    assert found.n == 4


def test_draws_are_whole_prompts_and_seeded():
    drawn = bootstrap.weights(15)
    assert drawn.shape == (2000, 15)
    assert (drawn.sum(axis=1) == 15).all()
    assert (drawn == np.random.default_rng(0).multinomial(15, np.full(15, 1 / 15), size=2000)).all()
    with pytest.raises(ValueError, match="read-only"):
        drawn[0, 0] = 1


def test_a_mean_weighs_entries_not_prompts():
    found = bootstrap.mean(Sums((0, 1), np.array([10.0, 30.0]), np.array([10.0, 5.0])))
    assert found.value == pytest.approx(40 / 15)
    assert found.n == 15
    assert 1.0 <= found.low < found.value < found.high <= 6.0


def test_prompts_that_agree_leave_no_doubt():
    found = bootstrap.mean(sums(*[2.5] * 15))
    assert (found.value, found.low, found.high) == pytest.approx((2.5, 2.5, 2.5))


def test_the_interval_is_about_two_standard_errors():
    means = np.random.default_rng(1).normal(5, 1, 40)
    found = bootstrap.mean(sums(*means))
    error = means.std(ddof=1) / math.sqrt(40)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_a_paired_difference_sees_the_same_prompts():
    """The prompts differ wildly, the methods by exactly 1: only pairing shows it."""
    means = np.arange(15.0)
    a, b = sums(*means), sums(*(means + 1))
    assert bootstrap.mean(b).low < bootstrap.mean(a).high
    found = bootstrap.estimate(lambda x, y: y - x, a, b)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_a_ratio_of_means():
    found = bootstrap.estimate(lambda x, y: x / y, sums(1, 2, 3), sums(2, 4, 6))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_the_seed_and_the_number_of_draws_count():
    means = sums(*np.random.default_rng(1).normal(size=15))
    assert bootstrap.mean(means) == bootstrap.mean(means)
    assert bootstrap.mean(means, seed=1).low != bootstrap.mean(means).low
    assert bootstrap.mean(means, draws=100).low != bootstrap.mean(means).low


def test_nothing_measured_is_nan_not_an_error():
    found = bootstrap.mean(Sums((0, 1), np.zeros(2), np.zeros(2)))
    assert found.n == 0
    assert all(math.isnan(v) for v in (found.value, found.low, found.high))


def test_a_prompt_without_entries_does_not_spoil_the_interval():
    found = bootstrap.mean(Sums((0, 1), np.array([3.0, 0.0]), np.array([1.0, 0.0])))
    assert (found.value, found.low, found.high) == (3.0, 3.0, 3.0)


def test_different_prompts_cannot_be_compared():
    with pytest.raises(ValueError, match="different prompts"):
        bootstrap.estimate(lambda x, y: x - y, sums(1, 2), sums(1, 2, 3))
