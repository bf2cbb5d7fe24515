import math

import pytest

import facs


def test_vocabulary_is_the_twelve_disfa_units_in_order():
    assert facs.ACTION_UNITS == (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
    assert facs.COLUMNS[0] == "au1" and facs.COLUMNS[6] == "au12" and facs.COLUMNS[-1] == "au26"
    assert tuple(facs.NAMES) == facs.ACTION_UNITS


def test_parse_accepts_every_spelling_and_fills_with_zero():
    vector = facs.parse({"AU12": 4.5, "au6": 3, 1: 1, "26": 0.5, "AU04": -2})
    assert vector == (1.0, 0.0, -2.0, 0.0, 3.0, 0.0, 4.5, 0.0, 0.0, 0.0, 0.0, 0.5)
    assert facs.parse({}) == (0.0,) * 12


def test_parse_does_not_clip_prompts():
    assert facs.parse({"AU12": 9})[6] == 9.0


@pytest.mark.parametrize("au", ["AU3", "AU", "smile", "", 7, True, 12.0, None, "AU12x", "-12", "AU1²"])
def test_unknown_unit_is_named(au):
    with pytest.raises(ValueError, match="unknown action unit") as error:
        facs.parse({au: 1.0})
    assert repr(au) in str(error.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "much", None, [1]])
def test_value_that_is_no_finite_number_is_refused_with_its_unit(value):
    with pytest.raises(ValueError, match="AU12"):
        facs.parse({"AU12": value})


def test_unit_given_twice_is_refused():
    with pytest.raises(ValueError, match="AU12 is given twice"):
        facs.parse({"AU12": 1, 12: 2})


def test_describe_and_text():
    vector = facs.parse({6: 3, 12: 4.5})
    assert facs.describe(vector) == "AU6=3 AU12=4.5"
    assert facs.as_text(vector) == "lip corner puller 4.5, cheek raiser 3"
    assert facs.describe(facs.parse({4: -1.256})) == "AU4=-1.26"
    assert facs.describe((0.0,) * 12) == "neutral"
    assert facs.as_text((0.001,) * 12) == ""


def test_ties_in_text_keep_the_vocabulary_order():
    assert facs.as_text(facs.parse({25: 2, 1: 2})) == "inner brow raiser 2, lips part 2"


def test_vector_of_wrong_length_is_refused():
    with pytest.raises(ValueError, match="12 values, this one has 3"):
        facs.describe((1, 2, 3))
