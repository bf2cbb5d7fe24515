"""What a stage does when its child ends: begin again if it was killed, else say why, once."""

import logging

import dagster as dg
import pytest

from assets import retries
from inference.child import ChildFailed


@pytest.mark.parametrize("code", [-9, -15, 137])
def test_what_was_killed_is_tried_again(code, caplog):
    after = retries.after(ChildFailed("it said …", code), "the training", logging.getLogger())
    assert f"the training was killed by signal {15 if code == -15 else 9}" in caplog.text
    assert isinstance(after, dg.RetryRequested) and after.max_retries == retries.RETRIES


@pytest.mark.parametrize("code", [1, 2])
def test_an_error_of_the_code_is_not(code):
    after = retries.after(ChildFailed("it said KeyError", code), "the training", logging.getLogger())
    assert isinstance(after, dg.Failure) and not after.allow_retries
    assert after.description == "the training: it said KeyError"
