"""Presets: known AUs, within the range of labels, and what no slider has is named."""

import facs
from app.expressions import EXPRESSIONS


def test_presets_are_of_the_twelve_within_the_range_of_labels():
    for one in EXPRESSIONS.values():
        assert len(one.vector) == 12 and all(0 <= value <= facs.MAXIMUM for value in one.vector)
        assert not set(one.left_out) & set(facs.ACTION_UNITS)
    assert set(EXPRESSIONS["Happiness"].aus) >= {6, 12}


def test_a_preset_says_what_it_is_and_what_it_lacks():
    assert EXPRESSIONS["Pain"].told == "AU4=4 AU6=4 AU9=3 AU25=2 (without AU7, AU10, AU43)"
    assert EXPRESSIONS["Neutral"].told == "neutral"
