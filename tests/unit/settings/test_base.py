"""What all settings keep to: strict, frozen, and telling what decides."""

from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from settings.base import LATER, OPERATIONAL, Settings, identity


class Inner(Settings):
    depth: int = 1
    cores: Annotated[int, OPERATIONAL] = 2


class Outer(Settings):
    rate: float = Field(0.5, gt=0)
    batches: Annotated[int, OPERATIONAL] = Field(1, ge=1)
    inner: Inner = Inner()
    each: dict[str, Inner] = Field(default_factory=dict)


def test_identity_holds_what_decides_at_every_depth():
    settings = Outer(batches=7, inner=Inner(cores=9), each={"a": Inner(depth=4, cores=1)})
    assert identity(settings) == {"rate": 0.5, "inner": {"depth": 1}, "each": {"a": {"depth": 4}}}
    assert identity(settings) == identity(Outer(each={"a": Inner(depth=4)}))


@pytest.mark.parametrize(
    ("said", "place", "message"),
    [
        ({"rte": 1}, ("rte",), "unknown key; did you mean 'rate'?"),
        ({"inner": {"dpeth": 1}}, ("inner", "dpeth"), "unknown key; did you mean 'depth'?"),
        ({"each": {"a": {"corse": 1}}}, ("each", "a", "corse"), "unknown key; did you mean 'cores'?"),
        ({"quite": 1}, ("quite",), "unknown key"),
        ({"rate": 0}, ("rate",), "Input should be greater than 0"),
        ({"rate": float("inf")}, ("rate",), "Input should be a finite number"),
    ],
)
def test_mistakes_are_named_with_their_place(said, place, message):
    with pytest.raises(ValidationError) as refused:
        Outer.model_validate(said)
    (problem,) = refused.value.errors()
    assert problem["loc"] == place and problem["msg"] == message


def test_all_mistakes_are_told_together():
    with pytest.raises(ValidationError) as refused:
        Outer.model_validate({"rte": 1, "rate": -1, "inner": {"dpeth": 1}})
    assert len(refused.value.errors()) == 3


def test_a_later_field_is_part_of_the_identity_only_where_it_asks_for_something_else():
    class Grown(Outer):
        dropout: Annotated[float, LATER] = Field(0.0, ge=0)

    assert identity(Grown()) == identity(Outer())
    assert identity(Grown(dropout=0.1)) == identity(Outer()) | {"dropout": 0.1}
