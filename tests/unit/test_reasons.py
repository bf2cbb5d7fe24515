"""The vocabulary of reasons: what a member is."""

import re

import polars as pl
import pytest

import reasons
from reasons import Kind, Reason


def test_a_reason_is_its_code_with_a_kind_and_a_sentence():
    assert Reason.TOO_SMALL == "too_small" and f"{Reason.TOO_SMALL}" == "too_small"
    assert Reason("too_small").kind == Kind.BY_RULE
    assert Reason.CORRUPT_IMAGE.kind == Kind.UNUSABLE
    with pytest.raises(ValueError, match="'too small' is not a valid Reason"):
        Reason("too small")


@pytest.mark.parametrize("reason", Reason)
def test_every_code_is_its_name_and_has_a_sentence(reason):
    assert reason.value == reason.name.lower() and re.fullmatch("[a-z_]+", reason.value)
    assert reason.description.endswith(".") and reason.description[0].isupper()


def test_kinds_part_the_vocabulary():
    assert sorted(code for kind in Kind for code in reasons.of_kind(kind)) == sorted(Reason)
    assert reasons.of_kind(Kind.NO_FACE)[0] == "no_face"


def test_a_reason_is_plain_text_in_a_table():
    table = pl.select(pl.lit(Reason.NO_FACE).alias("reason_code"))
    assert table.schema == {"reason_code": pl.String} and table.item() == "no_face"
