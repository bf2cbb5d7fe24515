"""The face renderer and the expressions: what a label says must be visible, and only there."""

import dataclasses
import itertools

import numpy as np
import pytest

from facs import ACTION_UNITS
from miniature import expressions
from miniature.canvas import brightness
from miniature.expressions import disfa_intensities, disfa_track, rounded, web_intensities
from miniature.faces import caption, draw_identity, draw_shot, render
from miniature.identities import COLOURS, HAIRS, SKINS

# (top, bottom) rows of a 64-pixel picture in which a unit must do most of what it does.
REGIONS = {
    1: (8, 30),
    2: (8, 30),
    4: (8, 34),
    5: (22, 38),
    6: (24, 44),
    9: (20, 46),
    12: (34, 60),
    15: (38, 60),
    17: (38, 64),
    20: (38, 60),
    25: (38, 60),
    26: (38, 64),
}
LOOKS = [
    {"skin": "pale", "beard": False, "hair_style": "long", "gender": "woman"},
    {"skin": "dark", "beard": False, "hair_style": "short", "gender": "man"},
    {"skin": "tan", "beard": True, "hair": "black", "hair_style": "bald", "gender": "man"},
]


def alone(unit, intensity):
    vector = np.zeros(12)
    vector[ACTION_UNITS.index(unit)] = intensity
    return vector


@pytest.fixture(scope="module", params=range(len(LOOKS)), ids=["pale woman", "dark man", "bearded man"])
def person(request):
    rng = np.random.default_rng(request.param)
    return dataclasses.replace(draw_identity(rng), **LOOKS[request.param]), draw_shot(rng)


def change(person, vector):
    identity, shot = person
    return render(identity, shot, vector).astype(float) - render(identity, shot, np.zeros(12))


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_a_unit_grows_with_its_intensity_in_its_own_region(person, unit):
    energies = [np.abs(change(person, alone(unit, intensity))).sum() for intensity in range(6)]
    assert energies[0] == 0
    assert energies[1] > 0.04 * energies[5]
    assert all(later > 1.02 * earlier for earlier, later in itertools.pairwise(energies[1:]))
    top, bottom = REGIONS[unit]
    strongest = np.abs(change(person, alone(unit, 5)))
    assert strongest[top:bottom].sum() > 0.85 * strongest.sum()


def test_no_two_units_look_alike(person):
    changes = np.array([change(person, alone(unit, 4)).ravel() for unit in ACTION_UNITS])
    changes /= np.linalg.norm(changes, axis=1, keepdims=True)
    likeness = np.abs(changes @ changes.T - np.eye(12))
    assert likeness.max() < 0.75, np.unravel_index(likeness.argmax(), likeness.shape)


def test_a_dropped_jaw_is_dark_inside_and_parted_lips_show_teeth(person):
    mouth = np.s_[40:54, 28:36]
    identity, shot = person
    neutral, parted, dropped = (
        render(identity, shot, vector)[mouth] for vector in (np.zeros(12), alone(25, 5), alone(26, 5))
    )
    white = [picture.min(axis=2).max() for picture in (neutral, parted, dropped)]
    dark = [(picture.max(axis=2) < 65).sum() for picture in (neutral, parted, dropped)]
    assert white[1] > 225 > max(white[0], white[2])
    assert dark[2] > 20 + max(dark[0], dark[1])


def test_smiles_narrow_the_eyes_with_the_cheeks_only(person):
    smile, full = alone(12, 4), alone(12, 4) + alone(6, 4)
    eyes = np.s_[24:36]
    assert np.abs(change(person, full)[eyes]).sum() > 4 * np.abs(change(person, smile)[eyes]).sum()


def test_cartoons_are_flat_and_outlined_in_black(person):
    identity, shot = person
    photo, cartoon = (render(identity, shot, np.zeros(12), style=style) for style in ("photo", "cartoon"))
    colours = [len(np.unique(picture.reshape(-1, 3), axis=0)) for picture in (photo, cartoon)]
    assert np.abs(photo.astype(float) - cartoon).mean() > 8
    saturation = [np.ptp(picture[16:44, 16:48].astype(float), axis=2).mean() for picture in (photo, cartoon)]
    assert saturation[1] > 1.15 * saturation[0]
    assert (cartoon.max(axis=2) < 40).mean() > (photo.max(axis=2) < 40).mean() or identity.hair == "black"
    assert colours[1] < colours[0]


def test_any_size_keeps_the_face_in_the_central_square(person):
    identity, shot = person
    square = render(identity, shot, alone(12, 4), (80, 80)).astype(float)
    for size in ((120, 80), (80, 120)):
        wide = render(identity, shot, alone(12, 4), size)
        assert wide.shape == (size[1], size[0], 3)
        assert wide.dtype == np.uint8
        top, left = (size[1] - 80) // 2, (size[0] - 80) // 2
        assert np.abs(wide[top : top + 80, left : left + 80] - square).mean() < 1
    assert render(identity, shot, alone(12, 4), (32, 32)).shape == (32, 32, 3)


def test_render_is_pure_clips_and_rejects_nonsense(person):
    identity, shot = person
    vector = alone(4, 3)
    assert np.array_equal(render(identity, shot, vector), render(identity, shot, vector.tolist()))
    assert np.array_equal(render(identity, shot, np.full(12, -1.0)), render(identity, shot, np.zeros(12)))
    render(identity, shot, np.full(12, 6.0))
    with pytest.raises(ValueError, match="12 intensities"):
        render(identity, shot, np.zeros(11))
    with pytest.raises(ValueError, match="style"):
        render(identity, shot, vector, style="oil")


def test_identities_are_reproducible_and_varied():
    first, again = (draw_identity(np.random.default_rng(5)) for _ in range(2))
    assert first == again
    rng = np.random.default_rng(0)
    people = [draw_identity(rng) for _ in range(400)]
    for field, values in (
        ("skin", SKINS),
        ("hair", HAIRS),
        ("wall_colour", COLOURS),
        ("clothing_colour", COLOURS),
    ):
        assert {getattr(person, field) for person in people} == set(values)
    assert not any(person.beard for person in people if person.gender == "woman")
    assert 0.4 < np.mean([person.gender == "man" for person in people]) < 0.6


def test_captions_are_true_and_silent_on_the_expression():
    rng = np.random.default_rng(1)
    for _ in range(300):
        identity = draw_identity(rng)
        text = caption(identity, rng)
        words = text.split()
        assert identity.gender in words
        assert (" beard" in text) <= identity.beard
        assert ("no hair" in text) <= (identity.hair_style == "bald")
        assert all(
            shown in identity.__dict__.values()
            for shown in words
            if shown in {"young", "old", "long", "short"}
        )
        assert not {"smiling", "smile", "sad", "angry", "surprised", "neutral", "mouth", "expression"} & set(
            words
        )
    assert len({caption(identity, rng) for _ in range(50)}) > 10


def test_clothes_and_walls_have_the_colour_the_caption_names():
    rng = np.random.default_rng(2)
    identity = dataclasses.replace(
        draw_identity(rng), background="wall", hair_style="short", clothing="sweater"
    )
    for name, colour in COLOURS.items():
        dressed = dataclasses.replace(identity, clothing_colour=name, wall_colour=name)
        picture = render(dressed, draw_shot(rng), np.zeros(12)).astype(float)
        for corner in (picture[61:, 1:5], picture[:2, 1:4]):
            assert np.abs(corner.mean(axis=(0, 1)) - colour).max() < 20
    assert brightness(COLOURS["white"]) > brightness(COLOURS["black"])


@pytest.fixture(scope="module")
def disfa_like():
    return disfa_intensities(np.random.default_rng(7), 50_000)


def test_disfa_vectors_have_disfa_statistics(disfa_like):
    assert disfa_like.dtype == np.float32
    assert disfa_like.shape == (50_000, 12)
    assert set(np.unique(disfa_like)) == {0, 1, 2, 3, 4, 5}
    np.testing.assert_allclose((disfa_like >= 1).mean(axis=0), expressions.DISFA_AT_LEAST_1, atol=0.01)
    np.testing.assert_allclose((disfa_like >= 2).mean(axis=0), expressions.DISFA_AT_LEAST_2, atol=0.01)
    active = np.bincount((disfa_like > 0).sum(axis=1), minlength=7)[:7] / len(disfa_like)
    np.testing.assert_allclose(active, [0.373, 0.198, 0.158, 0.150, 0.081, 0.026, 0.011], atol=0.025)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(1, 2, 0.73), (6, 12, 0.59), (12, 25, 0.58), (6, 25, 0.47), (25, 26, 0.44), (4, 9, 0.42)],
)
def test_disfa_vectors_have_disfa_correlations(disfa_like, first, second, expected):
    pair = disfa_like[:, [ACTION_UNITS.index(first), ACTION_UNITS.index(second)]]
    assert np.corrcoef(pair.T)[0, 1] == pytest.approx(expected, abs=0.03)


def test_tracks_are_smooth_and_keep_the_marginals():
    tracks = np.array([disfa_track(np.random.default_rng(seed), 300) for seed in range(8)])
    assert np.abs(np.diff(tracks, axis=1)).max() < 2
    assert tracks.min() >= 0 and tracks.max() <= 5
    labels = rounded(tracks).reshape(-1, 12)
    np.testing.assert_allclose((labels >= 1).mean(axis=0), expressions.DISFA_AT_LEAST_1, atol=0.03)
    np.testing.assert_allclose((labels >= 2).mean(axis=0), expressions.DISFA_AT_LEAST_2, atol=0.03)
    assert (labels.sum(axis=1) == 0).mean() == pytest.approx(expressions.DISFA_ALL_ZERO, abs=0.08)


def test_web_vectors_cover_every_unit_at_every_strength_alone_and_in_company():
    vectors = web_intensities(np.random.default_rng(3), 20_000)
    assert vectors.dtype == np.float32
    assert vectors.min() >= 0 and vectors.max() <= 5
    assert (vectors.sum(axis=1) == 0).mean() == pytest.approx(0.10, abs=0.02)
    active = vectors > 0
    for unit in range(12):
        strengths = vectors[active[:, unit], unit]
        assert np.histogram(strengths, bins=5, range=(0, 5))[0].min() > 150
        only = active[:, unit] & (active.sum(axis=1) == 1)
        assert only.sum() > 80
        assert np.ptp(vectors[only, unit]) > 4
