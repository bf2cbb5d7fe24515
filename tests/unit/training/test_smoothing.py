"""Distribution smoothing: the paper's numbers, and the range it must keep."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from training.smoothing import smooth


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@given(
    arrays.arrays("float32", (4, 12), elements=st.floats(0, 5, width=32)),
    st.floats(0, 4),
    st.floats(0, 1),
    st.integers(0, 2**31),
)
def test_smoothed_values_stay_intensities(values, variance, probability, seed):
    aus = torch.from_numpy(values)
    before = aus.clone()
    smoothed = smooth(aus, variance, probability, seeded(seed))
    assert smoothed.shape == aus.shape
    assert smoothed.min() >= 0 and smoothed.max() <= 5
    assert torch.equal(aus, before)
    assert torch.equal(smoothed, smooth(aus, variance, probability, seeded(seed)))


def test_noise_has_the_variance_asked_for():
    smoothed = smooth(torch.full((20_000, 12), 2.5), 0.2, 0.0, seeded())
    assert abs(smoothed.mean() - 2.5) < 0.01
    assert abs(smoothed.var() - 0.2) < 0.005


def test_each_value_is_rounded_by_itself():
    smoothed = smooth(torch.full((5_000, 12), 2.5), 0.2, 0.2, seeded())
    whole = smoothed == smoothed.round()
    assert abs(whole.float().mean() - 0.2) < 0.01
    # by itself: vectors with none, some and many rounded values, as a binomial(12, 0.2) has them
    counts = torch.bincount(whole.sum(dim=1), minlength=13) / len(whole)
    assert abs(counts[0] - 0.8**12) < 0.02
    assert abs(counts[2] - 66 * 0.2**2 * 0.8**10) < 0.03


def test_rounding_comes_after_the_noise():
    smoothed = smooth(torch.full((2_000, 12), 2.0), 0.2, 1.0, seeded())
    assert set(smoothed.unique().tolist()) >= {1.0, 2.0, 3.0}


def test_neutral_vectors_are_smoothed_too():
    smoothed = smooth(torch.zeros(10_000, 12), 0.2, 0.0, seeded())
    assert abs((smoothed == 0).float().mean() - 0.5) < 0.01
    assert smoothed.max() > 1


def test_without_variance_values_are_only_clipped():
    aus = torch.tensor([[-1.0, 0.3, 5.7]])
    assert torch.equal(smooth(aus, 0.0, 0.0), torch.tensor([[0.0, 0.3, 5.0]]))
