"""Both correction recipes: values worked out by hand, properties, and tables without a range."""

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from told import told

from curation import corrections
from curation.corrections import Corrections
from curation.recipes import PAPER, RECIPES, REFERENCE, Power, Recipe
from facs import COLUMNS

BENT = (1, 4, 15, 17, 20)
BOTH = ("paper", "reference")
"""The recipes with powers; the calibrated one is tested in test_calibration.py."""


def table(*rows: dict, **columns: list) -> pl.DataFrame:
    """AU columns, 0 where a row does not say, plus any other columns."""
    aus = {name: [row.get(name, 0.0) for row in rows] for name in COLUMNS}
    frame = pl.DataFrame(aus, schema=dict.fromkeys(COLUMNS, pl.Float64))
    return frame.with_columns(pl.Series(name, values) for name, values in columns.items())


def close(found: list, expected: list) -> bool:
    return all(
        a == b or (None not in (a, b) and math.isclose(a, b, rel_tol=1e-4))
        for a, b in zip(found, expected, strict=True)
    )


# paper, worked out by hand


def test_paper_bends_au1_and_stretches_it_back_onto_0_to_5():
    # 5^1.8 = 18.1195, 3^1.8 = 7.2247, 1^1.8 = 1; the column's range is 0 to 18.1195
    # 7.2247 / 18.1195 * 5 = 1.99362;  1 / 18.1195 * 5 = 0.27594, below 1
    result = corrections.apply(table({"au12": 2}, {"au1": 1}, {"au1": 3}, {"au1": 5}), "paper")
    assert close(result["au1_raw"].to_list(), [0, 1, 3, 5])
    assert close(result["au1_power"].to_list(), [0, 1, 7.2247, 18.1195])
    assert close(result["au1_scaled"].to_list(), [0, 0.27594, 1.99362, 5])
    assert close(result["au1"].to_list(), [0, 0, 1.99362, 5])


def test_paper_takes_the_columns_minimum_off():
    # 1^0.8 = 1, 2^0.8 = 1.741101, 4^0.8 = 3.031433: (1.741101 - 1) / 2.031433 * 5 = 1.82408
    result = corrections.apply(table(*({"au15": x} for x in (1, 2, 4))), "paper")
    assert close(result["au15_scaled"].to_list(), [0, 1.82408, 5])
    assert close(result["au15"].to_list(), [0, 1.82408, 5])


def test_paper_leaves_other_action_units_alone_but_zeroes_below_1():
    result = corrections.apply(table({"au12": 0.99}, {"au12": 1.0}, {"au12": 4.2}), "paper")
    assert result["au12"].to_list() == [0.0, 1.0, 4.2]
    assert result["au12_raw"].to_list() == [0.99, 1.0, 4.2]
    assert "au12_power" not in result.columns


def test_paper_drops_sums_below_a_fifth_and_their_values_set_no_range():
    # the first row's 0.1 would be AU1's minimum; without it the range is 2 to 5
    rows = table({"au1": 0.1}, {"au1": 2, "au6": 0.3}, {"au1": 5}, {"au1": 3, "au2": 0.2})
    result = corrections.apply(rows, "paper")
    assert result["keep"].to_list() == [False, True, True, True]
    assert told(result) == ["too_weak: intensities sum to 0.1 < 0.2", None, None, None]
    assert result["au1"].to_list()[:3] == [None, 0.0, 5.0]
    assert result["au1_raw"][0] == 0.1
    # 2^1.8 = 3.48220: (7.22467 - 3.48220) / (18.11949 - 3.48220) * 5 = 1.27840
    assert close([result["au1"][3]], [1.27840])


def test_paper_keeps_a_sum_of_exactly_a_fifth():
    assert corrections.apply(table({"au6": 0.2}, {"au6": 0.1999}), "paper")["keep"].to_list() == [True, False]


def test_paper_holds_an_estimator_that_does_not_clamp_within_the_scale():
    # -0.4 counts as 0 (so the sum is 1, not 0.6), 6 as 5
    result = corrections.apply(table({"au1": -0.4, "au2": 1}, {"au1": 6.0, "au12": 5.5}), "paper")
    assert result["keep"].to_list() == [True, True]
    assert result["au1"].to_list() == [0.0, 5.0]
    assert result["au12"].to_list() == [0.0, 5.0]
    assert result["au1_raw"].to_list() == [-0.4, 6.0]


# reference, worked out by hand


def test_reference_stretches_au1_to_the_maximum_it_had_before_the_power():
    # 0-1 scale: 0, 0.4, 0.8; 0.5^1.8 = 0.287175; * 0.8 * 5 = 1.14870; the maximum: 0.8 * 5 = 4
    result = corrections.apply(table({"au12": 2}, {"au1": 2}, {"au1": 4}), "reference")
    assert close(result["au1_scaled"].to_list(), [0, 1.14870, 4])
    assert close(result["au1"].to_list(), [0, 1.14870, 4])
    assert close([result["au1_power"][2]], [0.8**1.8])  # 0.66921, on the recipe's scale


def test_reference_amplifies_au17_past_5():
    # (2/4)^0.8 = 0.574349; * 0.8 * 1.8 * 5 = 4.13531; the maximum: 0.8 * 1.8 * 5 = 7.2
    result = corrections.apply(table({"au12": 2}, {"au17": 2}, {"au17": 4}), "reference")
    assert close(result["au17"].to_list(), [0, 4.13531, 7.2])


def test_reference_stretches_au15_to_the_maximum_of_au17():
    # AU15 goes up to 0.2, AU17 to 0.8: AU15's becomes 0.8 * 1.8 * 5 = 7.2, not 0.2 * 1.8 * 5
    # AU15 = 0.5: (0.5/1)^0.8 = 0.574349 -> 4.13531
    rows = table({"au12": 2}, {"au15": 1, "au17": 4}, {"au15": 0.5, "au12": 2})
    result = corrections.apply(rows, "reference")
    assert close(result["au15"].to_list(), [0, 7.2, 4.13531])


def test_reference_drops_by_the_highest_intensity_and_zeroes_below_1_1():
    # raw 1.0 is 0.2 on the 0-1 scale: not above, dropped, though the sum is 2
    rows = table({"au6": 1.0, "au12": 1.0}, {"au6": 1.05}, {"au6": 1.1}, {"au6": 5.4})
    result = corrections.apply(rows, "reference")
    assert result["keep"].to_list() == [False, True, True, True]
    assert told(result)[0] == "too_weak: highest intensity 0.2 <= 0.2 on a 0-1 scale"
    assert result["au6"].to_list() == [None, 0.0, 1.1, 5.4]


def test_reference_wants_a_face():
    rows = table({"au6": 3}, {"au6": 3}, {"au6": 3}, faces=[0, 1, None])
    result = corrections.apply(rows, "reference")
    assert result["keep"].to_list() == [False, True, True]
    assert told(result)[0] == "no_face"
    assert corrections.apply(rows, "paper")["keep"].to_list() == [True, True, True]


# statistics


def test_statistics_name_the_samples_that_set_them():
    rows = table(
        {"au1": 2},
        {"au1": 5},
        {"au1": 5},
        {"au1": 0.1},
        {"au1": 2, "au4": 3},
        sample_id=["e", "d", "c", "weak", "b"],
    )
    found = corrections.fit(rows, "paper").statistics.filter(pl.col("au") == 1).row(0, named=True)
    assert (found["recipe"], found["step"], found["samples"]) == ("paper", "power", 4)
    assert close([found["minimum"], found["maximum"]], [3.48220, 18.11949])  # 2^1.8, 5^1.8
    assert (found["minimum_sample_id"], found["maximum_sample_id"]) == ("b", "c")  # ties: first by sample id


def test_statistics_of_the_reference_hold_the_target_of_each_action_unit():
    rows = table({"au15": 1, "au17": 4}, {"au15": 2, "au17": 3}, sample_id=["a", "b"])
    found = corrections.fit(rows, "reference").statistics
    assert found.height == 10
    target = found.filter(step="target", au=15).row(0, named=True)
    assert (target["maximum"], target["maximum_sample_id"]) == (0.8, "a")  # AU17's, on the 0-1 scale
    power = found.filter(step="power", au=15).row(0, named=True)
    assert power["maximum_sample_id"] == "b" and close([power["maximum"]], [0.4**0.8])


def test_statistics_without_sample_ids_name_row_numbers_and_break_ties_by_number():
    rows = table(*({"au1": 5} for _ in range(11)), {"au1": 1})
    found = corrections.fit(rows, "paper").statistics.row(0, named=True)
    assert (found["minimum_sample_id"], found["maximum_sample_id"]) == ("11", "0")


def test_given_statistics_are_used_and_values_beyond_them_stay_on_the_scale():
    fitted = corrections.fit(table({"au1": 1}, {"au1": 3}), "paper")
    result = fitted.apply(table({"au1": 3}, {"au1": 4}, {"au1": 0.5}))
    assert result["au1"].to_list() == [5.0, 5.0, 0.0]


def test_statistics_of_another_recipe_or_incomplete_ones_are_refused():
    rows = table({"au1": 3})
    with pytest.raises(ValueError, match=r"statistics of recipe .'paper'. given to recipe 'reference'"):
        Corrections(REFERENCE, corrections.fit(rows, "paper").statistics).apply(rows)
    with pytest.raises(ValueError, match="lack AU1 power"):
        Corrections(PAPER, corrections.fit(rows, "paper").statistics.slice(1)).apply(rows)


# null, degenerate, dropped before, bad input


@pytest.mark.parametrize("recipe", BOTH)
def test_an_unsupported_action_unit_stays_null_everywhere(recipe):
    rows = table({"au9": None, "au17": None, "au6": 3}, {"au9": None, "au17": None, "au6": 2, "au15": 1})
    result = corrections.apply(rows, recipe)
    for column in ("au9", "au9_raw", "au17", "au17_raw", "au17_power", "au17_scaled"):
        assert result[column].to_list() == [None, None]
    assert result["keep"].all()
    found = corrections.fit(rows, recipe).statistics.filter(step="power", au=17).row(0, named=True)
    assert (found["minimum"], found["maximum_sample_id"], found["samples"]) == (None, None, 0)


def test_a_null_in_one_row_counts_as_nothing_in_the_sum_and_sets_no_range():
    result = corrections.apply(table({"au1": None, "au6": 0.1}, {"au1": 5}, {"au1": 2}), "paper")
    assert result["keep"].to_list() == [False, True, True]
    assert result["au1"].to_list() == [None, 5.0, 0.0]


def test_a_row_without_any_intensity_is_dropped():
    rows = table(dict.fromkeys(COLUMNS), {"au6": 3})
    for recipe in BOTH:
        assert told(corrections.apply(rows, recipe)) == ["no_intensities", None]


@pytest.mark.parametrize("recipe", BOTH)
def test_a_column_without_a_range_keeps_its_values_from_before_the_power(recipe):
    # stretching one value to 5 would make the strongest label out of any trace
    result = corrections.apply(table({"au1": 2.5, "au4": 0.0}, {"au1": 2.5, "au4": 0.0}), recipe)
    assert result["au1"].to_list() == [2.5, 2.5]
    assert result["au4"].to_list() == [0.0, 0.0]


def test_an_all_zero_au17_makes_au15_zero_in_the_reference():
    # the recipe as stated: AU15's maximum becomes AU17's, which is 0
    result = corrections.apply(table({"au15": 5}, {"au15": 2}), "reference")
    assert result["au15"].to_list() == [0.0, 0.0]


@pytest.mark.parametrize("recipe", BOTH)
def test_an_empty_table_stays_empty(recipe):
    result = corrections.apply(table(), recipe)
    assert result.height == 0 and {"keep", "reason_code", "au1_raw", "au1_scaled", "au26"} <= set(
        result.columns
    )
    assert corrections.fit(table(), recipe).statistics["samples"].sum() == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_drops_its_row_and_spoils_no_other(value):
    result = corrections.apply(table({"au4": value, "au6": 5}, {"au4": 5}, {"au4": 1}), "paper")
    assert told(result) == ["not_finite: au4", None, None]
    assert result["au4"].to_list()[1:] == [5.0, 0.0]


def test_rows_dropped_before_stay_dropped_and_set_no_range():
    rows = table(
        {"au1": 5}, {"au1": 4}, {"au1": 1}, keep=[False, True, True], reason_code=["no_face", None, None]
    )
    result = corrections.apply(rows, "paper")
    assert result["keep"].to_list() == [False, True, True]
    assert told(result) == ["no_face", None, None]
    assert result["au1"].to_list() == [None, 5.0, 0.0]


def test_integers_and_other_columns_are_carried():
    rows = table({"au1": 5}, {"au1": 1}).cast(pl.Int64).with_columns(path=pl.Series(["b", "a"]))
    result = corrections.apply(rows, "paper")
    assert result["path"].to_list() == ["b", "a"] and result["au1"].dtype == pl.Float64


def test_unknown_recipe_missing_column_and_crooked_powers_are_refused():
    with pytest.raises(
        ValueError, match="unknown correction recipe 'papr'; known are as_read, calibrated, paper"
    ):
        corrections.apply(table({}), "papr")
    with pytest.raises(ValueError, match="no column au9"):
        corrections.fit(table({}).drop("au9"), "paper")
    with pytest.raises(ValueError, match="AU1: give either target or target_au"):
        Power(1, 1.8)


# properties

intensities = st.floats(0, 5, allow_subnormal=False)
rows_of = st.lists(
    st.fixed_dictionaries({name: st.one_of(st.just(0.0), intensities) for name in COLUMNS}),
    min_size=1,
    max_size=12,
)


def oracle(rows: list[dict], recipe: str) -> list[dict | None]:
    """Both recipes in plain Python, for columns that have a range; None for a dropped row."""
    if recipe == "paper":
        kept = [row for row in rows if sum(row.values()) >= 0.2]
    else:
        kept = [row for row in rows if max(row.values()) / 5 > 0.2]
    answers: list[dict | None] = []
    for row in rows:
        if not any(row is other for other in kept):
            answers.append(None)
            continue
        answer = dict(row)
        for au in BENT:
            gamma = 1.8 if au in (1, 4) else 0.8
            column = [other[f"au{au}"] for other in kept]
            low, high = min(column) ** gamma, max(column) ** gamma
            if recipe == "paper":
                top = 5.0
            else:
                top = max(other[f"au{17 if au == 15 else au}"] for other in kept) * (
                    1.8 if gamma == 0.8 else 1
                )
            if high - low > 0:
                answer[f"au{au}"] = (row[f"au{au}"] ** gamma - low) / (high - low) * top
            else:
                answer[f"au{au}"] = None
        answers.append(answer)
    return answers


@pytest.mark.parametrize("recipe", BOTH)
@settings(max_examples=40, deadline=None)
@given(rows=rows_of)
def test_agrees_with_the_recipe_in_plain_python(recipe, rows):
    result = corrections.apply(table(*rows), recipe)
    limit = 1.0 if recipe == "paper" else 1.1
    for found, expected in zip(result.iter_rows(named=True), oracle(rows, recipe), strict=True):
        assert found["keep"] == (expected is not None)
        if expected is None:
            continue
        for name in COLUMNS:
            if expected[name] is None or abs(expected[name] - limit) < 1e-9:
                continue
            wanted = 0.0 if expected[name] < limit else expected[name]
            assert math.isclose(found[name], wanted, rel_tol=1e-9, abs_tol=1e-9), name


@pytest.mark.parametrize("recipe", BOTH)
@settings(max_examples=40, deadline=None)
@given(rows=rows_of)
def test_range_order_and_zero(recipe, rows):
    given_ids = pl.Series("sample_id", [f"{i:02}" for i in range(len(rows))])
    result = corrections.apply(table(*rows).with_columns(given_ids), recipe).filter("keep")
    for name in COLUMNS:
        raw, final = result[f"{name}_raw"], result[name]
        assert final.is_finite().all() and (final >= 0).all()
        if RECIPES[recipe].bounded:
            assert (final <= 5).all()
        ordered = final.gather(raw.arg_sort())
        assert ordered.is_sorted(), f"{name} does not keep its order"
        assert (final.filter(raw == 0) == 0).all(), f"{name}: zero does not stay zero"
        assert ((final == 0) | (final >= RECIPES[recipe].zero_below)).all()


@pytest.mark.parametrize("recipe", BOTH)
@settings(max_examples=30, deadline=None)
@given(rows=rows_of, data=st.data())
def test_the_order_of_rows_changes_nothing(recipe, rows, data):
    frame = table(*rows).with_columns(pl.Series("sample_id", [f"{i:02}" for i in range(len(rows))]))
    shuffled = frame[data.draw(st.permutations(range(len(rows))))]
    assert_frame_equal(*(corrections.fit(each, recipe).statistics for each in (frame, shuffled)))
    once, again = (corrections.apply(each, recipe) for each in (frame, shuffled))
    assert_frame_equal(once, again.sort("sample_id"))
    assert_frame_equal(once.select("sample_id"), frame.select("sample_id"))


def test_the_recipes_say_what_their_sources_say():
    assert {power.au: power.gamma for power in PAPER.powers} == {1: 1.8, 4: 1.8, 15: 0.8, 17: 0.8, 20: 0.8}
    assert {power.au: power.target_au for power in REFERENCE.powers} == {1: 1, 4: 4, 15: 17, 17: 17, 20: 20}
    assert PAPER.inclusive_height and not REFERENCE.inclusive_height
    assert isinstance(PAPER, Recipe) and corrections.fit(table({"au1": 2}), PAPER).statistics.height == 5


def test_as_read_bends_and_stretches_nothing():
    """AU17 of 1.7 stays 1.7, where the paper's recipe makes it 5; no label depends on another sample."""
    rows = table({"au17": 1.7, "au12": 4.0}, {"au17": 0.5, "au20": 0.7}, {"au1": 0.1})
    result = corrections.apply(rows, "as_read")
    assert result["keep"].to_list() == [True, True, False], "too weak: 0.1 < 0.2"
    assert result["au17"].to_list() == [1.7, 0.0, None] and result["au20"].to_list() == [0.0, 0.0, None]
    assert corrections.fit(rows, "as_read").statistics.is_empty()
    assert corrections.apply(rows, "paper")["au17"][0] == 5.0


def test_scales_that_few_samples_make_up_are_named():
    rows = table(
        {"au1": 4.0, "au17": 1.7, "au15": 5.0}, {"au1": 3.8, "au17": 1.6, "au15": 0.4}, {"au12": 3.0}
    ).with_columns(sample_id=pl.Series(["a", "b", "c"]))
    for recipe in BOTH:
        found = corrections.doubtful(corrections.fit(rows, recipe).statistics, recipe)
        by_au = {row["au"]: row for row in found.iter_rows(named=True)}
        assert set(by_au) == {4, 15, 17, 20}, "AU1 reaches 4, and 3.8 without its highest"
        assert by_au[17]["why"] == "no reading reaches 2"
        assert close([by_au[17]["highest"], by_au[17]["next_highest"]], [1.7, 1.6])
        assert (by_au[15]["sample_id"], by_au[15]["why"]) == ("a", "one sample alone sets the scale")
    alone = corrections.doubtful(corrections.fit(rows.head(1), "paper").statistics, "paper")
    assert alone.filter(au=1)["why"].item() == "one sample alone sets the scale"
