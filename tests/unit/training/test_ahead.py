"""The next step's samples are made while a step is computed: the same ones, and one step ahead only."""

import threading

import pytest

from training.ahead import Ahead


def test_the_next_step_is_made_while_this_one_is_used_and_no_further_one():
    made, third = [], threading.Event()

    def make(step: int) -> str:
        made.append(step)
        if step == 3:
            third.set()
        return f"samples of {step}"

    ahead = Ahead(make, end=4)
    assert ahead.at(2) == "samples of 2"
    assert third.wait(10), "before it is asked for"
    assert ahead.at(3) == "samples of 3"
    assert made == [2, 3], "each once, and none past the end"


def test_steps_out_of_order_are_made_when_asked_for():
    ahead = Ahead(lambda step: step * 10, end=100)
    assert [ahead.at(step) for step in (5, 9, 10, 0)] == [50, 90, 100, 0]


def test_what_cannot_be_read_is_told_when_its_step_is_asked_for():
    def make(step: int) -> int:
        if step == 1:
            raise ValueError("a broken picture")
        return step

    ahead = Ahead(make, end=3)
    assert ahead.at(0) == 0
    with pytest.raises(ValueError, match="a broken picture"):
        ahead.at(1)
