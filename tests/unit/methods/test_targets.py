"""Targets from what a face shows and what is asked for."""

import pytest

import facs
from methods.editing import targets

SOURCE = facs.parse({"AU4": 3, "AU12": 1})


def test_relative_replaces_what_is_asked_for_and_keeps_the_rest():
    assert targets.relative(SOURCE, {12: 4, 6: 2}) == facs.parse({"AU4": 3, "AU6": 2, "AU12": 4})
    assert targets.relative(SOURCE, {4: 0}) == facs.parse({"AU12": 1})
    assert targets.relative(SOURCE, {}) == SOURCE


def test_average_is_what_is_asked_for_and_nothing_else():
    assert targets.average(SOURCE, {12: 4}) == facs.parse({"AU12": 4})


def test_the_expression_of_a_set_is_the_mean_of_what_it_shows():
    def row(**aus):
        return [aus.get(column) for column in facs.COLUMNS]

    readings = [row(au12=4.0, au6=1.0, au1=0.4), row(au12=2.0, au6=0.0, au1=0.5, au9=None)]
    assert targets.expression(readings) == {12: 3.0, 6: 0.5}
    with pytest.raises(ValueError, match="no action unit was read"):
        targets.expression([row()])
