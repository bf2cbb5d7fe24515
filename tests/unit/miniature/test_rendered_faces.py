"""Rendered faces: the same bytes twice, every AU visible where FACS says, at any size."""

import dataclasses

import numpy as np
import pytest

from facs import ACTION_UNITS
from miniature.rendered import figure, muscles
from miniature.rendered.landmarks import face_box, face_landmarks
from miniature.rendered.people import Shot, caption, draw_person, draw_shot
from miniature.rendered.picture import render

STRAIGHT = Shot(
    yaw=0, pitch=0, roll=0, offset_x=0, offset_y=0, scale=1, light_azimuth=0.4, light_elevation=0.5,
    key=1, warmth=0, exposure=1, gaze_x=0, gaze_y=0,
)  # fmt: skip
UPPER = (1, 2, 4, 5, 6, 9)


def person(seed: int = 0, **words):
    return draw_person(np.random.default_rng([11, seed]), **words)


def showing(unit: int, intensity: float = 5.0) -> np.ndarray:
    return np.where(np.array(ACTION_UNITS) == unit, intensity, 0.0)


def test_the_same_arguments_give_the_same_bytes():
    rng = np.random.default_rng(3)
    one, shot = draw_person(rng), draw_shot(rng)
    first = render(one, shot, showing(12))
    assert first.dtype == np.uint8 and first.shape == (64, 64, 3)
    assert first.tobytes() == render(one, shot, showing(12)).tobytes()


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_each_action_unit_changes_its_part_of_the_face(unit):
    someone = person(1, gender="woman", skin="tan", hair_style="short")
    still, moved = (render(someone, STRAIGHT, showing(unit, value)).astype(float) for value in (0, 5))
    change = np.abs(moved - still).mean(2)
    assert change.max() > 25
    rows = change.sum(1)
    centre = (rows * np.arange(64)).sum() / rows.sum()
    assert centre < 30 if unit in UPPER else centre > 22


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_a_stronger_intensity_changes_more(unit):
    someone = person(2)
    still = render(someone, STRAIGHT, np.zeros(12)).astype(float)
    changes = [np.abs(render(someone, STRAIGHT, showing(unit, v)) - still).mean() for v in (1, 2.5, 5)]
    assert 0 < changes[0] < changes[1] < changes[2]


def test_the_curve_from_intensity_to_geometry_is_as_stated():
    np.testing.assert_allclose(muscles.shares(np.full(12, 5.0)), 1.0)
    np.testing.assert_allclose(muscles.shares(np.full(12, 2.5)), 0.5**0.85)
    np.testing.assert_allclose(muscles.shares(np.full(12, -3.0)), 0.0)
    assert muscles.strengths(showing(4))[2] == muscles.GAINS[4]
    with pytest.raises(ValueError, match="12 finite"):
        muscles.shares([1.0, 2.0])


def test_lips_are_shut_at_rest_and_part_with_au25():
    for seed in range(6):
        someone = person(seed)
        resting, parted = (figure.build(someone, showing(25, v)).vertices for v in (0, 4))
        upper, lower = figure._lips()
        at_rest = resting[upper, 2].mean() - resting[lower, 2].mean()
        assert abs(at_rest) < 0.0025
        assert parted[upper, 2].mean() - parted[lower, 2].mean() > at_rest + 0.005


def test_one_side_moves_alone():
    someone = person(3)
    lean = np.full(12, 1.0)
    still = figure.build(someone, np.zeros(12)).vertices
    moved = figure.build(someone, showing(12), asymmetry=lean).vertices - still
    left = np.linalg.norm(moved[still[:, 0] > 0.015], axis=1).max()
    right = np.linalg.norm(moved[still[:, 0] < -0.015], axis=1).max()
    assert left > 0.01 > 0.004 > right


def test_words_can_be_fixed_and_unknown_ones_are_refused():
    for seed in range(5):
        one = person(seed, skin="dark", age="old", gender="woman")
        assert (one.skin, one.age, one.gender, one.beard) == ("dark", "old", "woman", False)
    with pytest.raises(TypeError, match="height"):
        person(0, height="tall")


def test_captions_never_tell_the_expression():
    someone = person(4)
    text = caption(someone, np.random.default_rng(0))
    assert someone.gender in text
    assert not any(word in text for word in ("smil", "frown", "brow ", "lips"))


@pytest.mark.parametrize("size", [(48, 48), (96, 64), (64, 100)])
def test_any_aspect_shows_the_face_in_its_central_square(size):
    someone = person(5)
    assert render(someone, STRAIGHT, np.zeros(12), size).shape == (size[1], size[0], 3)
    x, y, width, height = face_box(someone, STRAIGHT, np.zeros(12), size)
    assert abs(x + width / 2 - size[0] / 2) < 3
    assert y >= 0 and y + height <= size[1]


def test_landmarks_follow_the_face():
    someone, size = person(6), (128, 128)
    still, jaw = (face_landmarks(someone, STRAIGHT, showing(26, v), size) for v in (0, 5))
    assert still.shape == (68, 2)
    assert (still[36:42].mean(0) < still[42:48].mean(0))[0], "the picture's left eye comes first"
    assert jaw[8, 1] > still[8, 1] + 5, "the chin drops"
    np.testing.assert_allclose(jaw[17:27], still[17:27], atol=0.5)
    right = dataclasses.replace(STRAIGHT, offset_x=0.1)
    np.testing.assert_allclose(
        face_landmarks(someone, right, np.zeros(12), size)[:, 0] - still[:, 0], 12.8, atol=1.6
    )


def test_people_look_different():
    pictures = np.stack([render(person(seed), STRAIGHT, np.zeros(12)) for seed in range(6)]).astype(float)
    apart = np.abs(pictures[:, None] - pictures[None]).mean((2, 3, 4))
    assert apart[~np.eye(6, dtype=bool)].min() > 8


def test_the_page_of_the_world_tells_the_gains_as_they_are():
    from pathlib import Path

    page = (Path(__file__).parents[3] / "docs" / "world.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| gain"))
    assert [float(cell) for cell in row.strip("| ").split("|")[1:]] == list(muscles.GAINS.values())
