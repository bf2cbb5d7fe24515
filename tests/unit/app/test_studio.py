"""What is drawn for a page: of which model, with which intensities, and the call that draws it again."""

import shlex

import polars as pl
import pytest

import facs
from app.studio import Asked, Studio
from pipelines import drawing, profiles
from store import Store

SMILE = facs.parse({"AU12": 4, "AU6": 2})


@pytest.fixture
def studio(tmp_path) -> Studio:
    profile = profiles.load("miniature", tmp_path)
    store = Store(tmp_path)
    for name, folder in (("sd", None), ("fineface", "files/adapters/a")):
        row = {"experiment": name, "method": name, "folder": folder}
        store.write(f"trained_model/{name}", pl.DataFrame([row], schema_overrides={"folder": pl.String}))
    return Studio(store, profile, "miniature")


def test_what_trained_something_comes_first_and_others_of_the_profile_do_not(studio):
    assert studio.experiments() == ["fineface", "sd"]
    assert studio.au_scale("fineface") == 1.0 and studio.au_scale("sd") is None


def test_a_strip_asks_for_shares_of_the_intensities_with_one_noise(studio, monkeypatch):
    asked = []

    class Faces:
        guidance = 4.0

        def names(self, *given, **arguments):
            asked.append((given, arguments))
            return [f"{number}.png" for number in range(len(given[1]))]

    monkeypatch.setattr(drawing, "find", lambda *_: Faces())
    names = studio.draw(Asked("fineface", "a man", SMILE, seed=7, au_scale=0.5), (0.0, 0.5, 1.0))
    ((prompt, vectors, seed, guidance), arguments), *_ = asked
    assert names == ["0.png", "1.png", "2.png"] and (prompt, seed, guidance) == ("a man", 7, None)
    assert vectors[0] == (0.0,) * 12 and vectors[2] == SMILE
    assert facs.describe(vectors[1]) == "AU6=1 AU12=2" and arguments == {"au_scale": 0.5}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked("fineface", " ", SMILE), "the prompt is empty"),
        (Asked("fineface", "a", SMILE, seed=-1), "not -1"),
    ],
)
def test_what_cannot_be_drawn_is_said(studio, asked, message):
    with pytest.raises(ValueError, match=message):
        studio.draw(asked)


def test_the_call_draws_the_same_again(studio):
    one = Asked("fineface", "a man's face; rm", SMILE, seed=7, guidance=3.5, au_scale=0.5)
    python, command = studio.call(one)
    assert len(python.splitlines()) == 3
    compile(python, "call", "exec")
    assert "{'AU6': 2.0, 'AU12': 4.0}, seed=7, guidance=3.5, au_scale=0.5)" in python
    words = shlex.split(command)
    assert words[:5] == ["fineface", "draw", "a man's face; rm", "AU6=2", "AU12=4"]
    from typer.testing import CliRunner

    from pipelines.command import app

    asked = CliRunner().invoke(app, [*words[1:], "--out", "x.txt"])
    assert "pictures are written as .png" in asked.output, "the command understands every word of it"
