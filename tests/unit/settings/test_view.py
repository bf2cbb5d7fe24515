"""What of a profile a stage sees, and what of it is told."""

from typing import Annotated

import pytest
from pydantic import Field

from settings.base import OPERATIONAL, Settings
from settings.view import Undeclared, View, told


class Split(Settings):
    seed: int = 0
    shares: tuple[float, ...] = (0.9, 0.1)
    chunk: Annotated[int, OPERATIONAL] = 8


class Profile(Settings):
    split: Split = Split()
    base: str = "sd"
    title: Annotated[str, OPERATIONAL] = Field("T")

    @property
    def judge(self) -> str:
        return f"{self.base} judges"


def view(*reads):
    return View(Profile(), reads, "training_set")


def test_a_declared_section_key_or_property_is_seen():
    assert view("split").split == Split()
    assert view("split.seed").split.seed == 0
    assert view("judge").judge == "sd judges", "a property may look where its stage may not"


def test_what_is_operational_is_seen_by_all():
    assert view().title == "T" and view("split.seed").split.chunk == 8


@pytest.mark.parametrize(
    ("ask", "named"),
    [
        (lambda profile: profile.base, "profile.base; .* is split.seed"),
        (lambda profile: profile.split.shares, "profile.split.shares"),
        (lambda profile: profile.bas, "profile.bas;"),
        (lambda profile: getattr(profile, "base", None), "training_set asks for profile.base"),
    ],
)
def test_all_else_is_refused_by_name(ask, named):
    with pytest.raises(Undeclared, match=named):
        ask(view("split.seed"))


def test_what_is_told_are_the_deciding_fields():
    assert told(Profile(), ("split", "judge")) == {
        "split": {"seed": 0, "shares": [0.9, 0.1]},
        "judge": "sd judges",
    }
    assert told(Profile(), ("split.seed",)) == {"split.seed": 0} and told(Profile(), ()) == {}
