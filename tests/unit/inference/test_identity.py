"""The descriptor of faces: who is seen, and what is said where nobody can be asked."""

import builtins
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

import facs
from inference import abilities, questions
from inference.abilities import EstimatorUnavailable
from inference.identity import INSTALL, Dlib

installed = pytest.mark.skipif(
    find_spec("dlib") is None or find_spec("face_recognition_models") is None,
    reason="the extra identity is not installed",
)


def drawn(person: int, au12: float) -> Image.Image:
    """A face of the embedded world, 64 pixels."""
    from miniature.faces import draw_identity, draw_shot, render

    rng = np.random.default_rng(person)
    return Image.fromarray(render(draw_identity(rng), draw_shot(rng), facs.parse({12: au12})))


@installed
def test_a_face_is_described_by_128_numbers_the_same_each_time():
    model = Dlib()
    first, second = model.describe([drawn(0, 0), drawn(1, 4)])
    assert len(first) == len(second) == 128 and first != second
    assert Dlib(batch_size=1).describe([drawn(0, 0)]) == [first] and model.calls == 2


@installed
def test_the_largest_face_is_meant():
    small, large = drawn(0, 0), drawn(1, 0).resize((192, 192))
    both = Image.new("RGB", (384, 256), "grey")
    both.paste(small.resize((96, 96)), (8, 80))
    both.paste(large, (160, 32))
    alone = Image.new("RGB", (384, 256), "grey")
    alone.paste(large, (160, 32))
    assert Dlib().describe([both]) == Dlib().describe([alone]) != [None]


@installed
def test_a_picture_without_a_face_has_no_descriptor():
    grey = Image.fromarray(np.full((64, 64, 3), 128, np.uint8))
    assert Dlib().describe([grey]) == [None]


def test_small_pictures_are_enlarged_and_large_ones_stay():
    prepare = Dlib().prepare
    assert prepare(Image.new("RGB", (64, 96))).shape == (384, 256, 3)
    assert prepare(Image.new("RGB", (300, 280))).shape == (280, 300, 3)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    genuine = builtins.__import__

    def absent(name, *arguments, **named):
        if name == "dlib":
            raise ImportError("No module named 'dlib'", name="dlib")
        return genuine(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(EstimatorUnavailable, match=r"dlib is missing: pip install 'fineface\[identity\]'"):
        _ = Dlib().fingerprint


def test_the_profile_chooses_who_is_asked():
    question = questions.identities({"provider": "dlib", "batch_size": 3})
    assert question.model.model.batch_size == 3
    assert [need.how for need in abilities.build("identity", {"provider": "dlib"}).needs()] == [INSTALL] * 2
