"""KID and FID: golden values worked by hand, and what an estimator must not do."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import realism


def column(*values: float) -> np.ndarray:
    return np.array(values, float)[:, None]


def test_kid_by_hand():
    # kernel (x y + 1)^3: among 0, 1 one pair, 1; among 1, 2 one pair, (2 + 1)^3 = 27; across 1, 1, 8 and 27,
    # on average 9.25: 1 + 27 - 2 × 9.25
    found = realism.kid(column(0, 1), column(1, 2), np.array([0, 1]))
    assert found.value == pytest.approx(9.5) and found.n == 2


def test_kid_is_unbiased_and_falls_below_zero():
    """Of two halves of one distribution it is 0 on average, where the biased estimator is above it."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        x = rng.normal(size=(24, 4))
        found.append(realism.kid(x[:12], x[12:], np.arange(12)).value)
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200) and min(found) < 0


def test_kid_of_many_edits_of_few_sources_is_that_of_the_sources():
    """Each of twelve, thirty times: 0 on average without pairs of the same, far above it with them."""
    rng = np.random.default_rng(0)
    found: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(100):
        x = rng.normal(size=(24, 4))
        edits, source = np.repeat(x[:12], 30, axis=0), np.repeat(np.arange(12), 30)
        alone = realism.kid(x[:12], x[12:], np.arange(12)).value
        for within, values in found.items():
            values.append(realism.kid(edits, x[12:], source, within).value)
        assert found[False][-1] == pytest.approx(alone)
    assert np.mean(found[True]) > 5 * abs(np.mean(found[False]))
    assert np.isnan(realism.kid(x, x, np.zeros(24), within=False).value)


@given(st.integers(0, 99))
def test_kid_asks_for_no_order_and_whole_prompts_carry_its_interval(seed):
    rng = np.random.default_rng(seed)
    x, y, prompt = rng.normal(0.5, 1, (20, 3)), rng.normal(size=(15, 3)), np.repeat(np.arange(5), 4)
    found = realism.kid(x, y, prompt)
    order = rng.permutation(20)
    again = realism.kid(x[order], y[rng.permutation(15)], prompt[order])
    assert again == pytest.approx(found) and found.low <= found.high
    one = realism.kid(x, y, np.zeros(20))
    assert one.value == pytest.approx(found.value) and one.low == pytest.approx(one.high)


def test_pictures_of_one_prompt_are_alike_and_the_interval_lies_around_the_value_all_the_same():
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        prompt = np.repeat(np.arange(15), 12)
        x = rng.normal(size=(15, 4))[prompt] + rng.normal(0, 0.2, (180, 4))
        found.append(realism.kid(x, rng.normal(size=(100, 4)), prompt))
    inside = [one.low < one.value < one.high for one in found]
    middle = [(one.value - one.low) / (one.high - one.low) for one in found]
    assert all(inside) and 0.3 < np.mean(middle) < 0.7


def test_fid_by_hand():
    # means 1 and 5, variances 2 and 8: 16 + 2 + 8 - 2 × 4
    assert realism.fid(column(0, 2), column(3, 7)) == pytest.approx(18)
    # covariances diag(2, 0) and diag(8, 0) about 0: 2 + 8 - 2 × 4, and nothing of the flat direction
    x, y = np.array([[-1, 0], [1, 0]]), np.array([[-2, 0], [2, 0]])
    assert realism.fid(x, y) == pytest.approx(2)


@given(st.integers(0, 99))
def test_fid_is_zero_of_itself_symmetric_and_does_not_see_a_rotation(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(9, 4)), rng.normal(1, 2, (12, 4))
    assert realism.fid(x, x) == pytest.approx(0, abs=1e-6)
    turned, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    assert realism.fid(x @ turned, y @ turned) == pytest.approx(realism.fid(x, y))
    assert realism.fid(x, y) == pytest.approx(realism.fid(y, x))


@pytest.mark.parametrize("measure", [realism.fid, lambda x, y: realism.kid(x, y, np.zeros(len(x)))])
def test_bad_embeddings_are_refused(measure):
    with pytest.raises(ValueError, match=r"shapes \(3, 2\) and \(3, 4\)"):
        measure(np.ones((3, 2)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="not finite"):
        measure(np.full((3, 2), np.nan), np.ones((3, 2)))


def test_one_picture_has_no_distance():
    assert np.isnan(realism.fid(column(1), column(1, 2)))
    assert np.isnan(realism.kid(column(1), column(1, 2), np.zeros(1)).value)


def test_without_real_pictures_nothing_is_measured():
    made = pl.DataFrame({"embedding": [[1.0, 0.0], [0.0, 1.0]], "prompt_index": [0, 1]})
    found = realism.measured(made, made.clear())
    assert all(np.isnan(one.value) and one.n == 2 for one in found.values()) and set(found) == {"kid", "fid"}


def test_what_is_measured_is_of_cosines():
    """Two perpendicular pictures, real ones equal to the first: (0 + 1)^3 + 8 - 2 × (8 + 1) / 2 = 0."""
    made = pl.DataFrame({"embedding": [[1.0, 0.0], [0.0, 1.0]], "prompt_index": [0, 1]})
    real = pl.DataFrame({"embedding": [[1.0, 0.0], [1.0, 0.0]]})
    found = realism.measured(made, real)
    assert found["kid"].value == pytest.approx(0)
    # means (½, ½) and (1, 0) times √2, apart by 1; variances ½ + ½ times 2, the real ones have none
    assert found["fid"].value == pytest.approx(3) and np.isnan(found["fid"].low)


def test_the_reference_is_drawn_by_content_alone():
    table = pl.DataFrame(
        {
            "keep": [True] * 6 + [False, True],
            "split": ["train"] * 5 + ["test", "train", "train"],
            "source": ["folder"] * 7 + ["rendered"],
            "content_hash": [*"abcdd", "e", "f", "g"],
            "file_kind": "raw_folder",
            "file": [*"12345678"],
        }
    )
    drawn = realism.reference(table, 3)
    assert drawn.columns == ["file_kind", "file", "content_hash"] and drawn.height == 3
    shuffled = realism.reference(table.sample(fraction=1, shuffle=True, seed=1), 3)
    assert shuffled["content_hash"].equals(drawn["content_hash"])
    assert sorted(realism.reference(table)["content_hash"]) == [*"abcd"], (
        "each once, of the split train, none rendered"
    )
    assert realism.reference(table, split="test")["content_hash"].to_list() == ["e"]
