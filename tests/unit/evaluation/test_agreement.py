"""Agreement of two annotators: values worked out by hand, symmetry and bounds, and AUs that nobody read."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import facs
from evaluation import agreement, figures

NAN = float("nan")


def test_worked_out_by_hand():
    # a = 0 1 2 5, b = 1 1 3 3; means 2 and 2; x = -2 -1 0 3, y = -1 -1 1 1
    # sums: xx = 14, yy = 4, xy = 2 + 1 + 0 + 3 = 6; r = 6 / sqrt(56) = 0.80178; ICC = 12 / 18 = 0.66667
    # |a - b| = 1 0 1 2, mean 1; present: a in 3, b in 4; opposite: the first picture only
    found = agreement.agree(np.array([0.0, 1, 2, 5]), np.array([1.0, 1, 3, 3]))
    assert found == pytest.approx((6 / math.sqrt(56), 2 / 3, 1.0, 0.25, 4, 3, 4))


def test_icc_is_that_of_the_two_way_table():
    """(BMS - EMS) / (BMS + EMS) from sums of squares, as Shrout and Fleiss define ICC(3,1)."""
    a, b = np.array([1.0, 4, 2, 5, 0, 3]), np.array([2.0, 5, 2, 3, 1, 3])
    table = np.stack([a, b], axis=1)
    rows, columns, mean = table.mean(axis=1), table.mean(axis=0), table.mean()
    between = 2 * ((rows - mean) ** 2).sum() / 5
    error = ((table - rows[:, None] - columns + mean) ** 2).sum() / 5
    assert agreement.agree(a, b).icc == pytest.approx((between - error) / (between + error))


def test_only_pictures_that_both_read_count():
    found = agreement.agree(np.array([1.0, NAN, 3, 0]), np.array([1.0, 5, NAN, 2]))
    assert (found.n, found.opposite, found.mae) == (2, 0.5, 1.0)


def test_a_constant_annotator_has_no_correlation():
    found = agreement.agree(np.array([2.0, 2, 2]), np.array([1.0, 2, 3]))
    assert math.isnan(found.pearson) and found.icc == 0


intensities = st.lists(
    st.tuples(st.floats(0, 5, allow_subnormal=False), st.floats(0, 5, allow_subnormal=False)), max_size=30
)


@given(intensities)
def test_it_is_symmetric_and_bounded(pairs):
    a, b = (np.array([pair[side] for pair in pairs], dtype=float) for side in (0, 1))
    one, other = agreement.agree(a, b), agreement.agree(b, a)
    assert one[:5] == pytest.approx(other[:5], nan_ok=True)
    assert (one.first_present, one.second_present) == (other.second_present, other.first_present)
    for value, low, high in ((one.pearson, -1, 1), (one.icc, -1, 1), (one.mae, 0, 5), (one.opposite, 0, 1)):
        assert math.isnan(value) or low <= value <= high
    if not math.isnan(one.pearson):
        assert abs(one.icc) <= abs(one.pearson) + 1e-9, "a wider scale never makes agreement better"


@given(intensities)
def test_with_itself_it_agrees(pairs):
    a = np.array([pair[0] for pair in pairs], dtype=float)
    found = agreement.agree(a, a)
    assert math.isnan(found.pearson) or found.pearson == pytest.approx(1)
    assert math.isnan(found.icc) or found.icc == pytest.approx(1)
    assert not pairs or (found.mae, found.opposite) == (0, 0)


def readings(count, **given):
    columns = {name: given.get(name, [0.0] * count) for name in facs.COLUMNS}
    return pl.DataFrame(columns, schema=dict.fromkeys(facs.COLUMNS, pl.Float64))


@pytest.fixture
def table():
    count = 40
    rising = [i / 8 for i in range(count)]
    first = readings(count, au12=rising, au9=rising)
    second = readings(count, au12=rising[::-1], au9=[None] * count)
    return agreement.compare("photographs", {"labeller": first, "second": second}, [("labeller", "second")])


def test_an_au_that_one_does_not_read_is_named_and_not_counted_as_zero(table):
    row = table.filter(au=9).row(0, named=True)
    assert (row["n"], row["pearson"], row["opposite"], row["mae"]) == (0, None, None, None)
    assert row["note"] == "not read by second"


def test_few_positives_are_said(table):
    assert table.height == 12 and table.filter(au=12)["note"].item() is None
    assert table.filter(au=12)["pearson"].item() == pytest.approx(-1)
    assert table.filter(au=5)["note"].item() == "few positives: 0 of 40 by second"


def test_the_charts_are_pictures_and_the_same_every_time(table):
    drawn = figures.agreement(table)
    assert drawn.startswith(b"\x89PNG") and drawn == figures.agreement(table)
    errors = pl.DataFrame({"recipe": ["paper", "paper"], "au": [1, 9], "mse": [0.5, None]})
    assert figures.recipe_errors(errors).startswith(b"\x89PNG")
