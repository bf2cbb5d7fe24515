"""The head rig: linear, symmetric where faces are, small enough to live in the repository."""

import numpy as np
import pytest

from facs import ACTION_UNITS
from miniature.rig import head


@pytest.fixture(scope="module")
def rig():
    return head.load()


def test_the_file_is_small_and_names_its_licences():
    from safetensors import safe_open

    assert head.FILE.stat().st_size <= 4_000_000
    with safe_open(head.FILE, "numpy") as file:
        assert "CC0" in file.metadata()["licence"]
        assert "Apache-2.0" in file.metadata()["licence"]


def test_every_action_unit_moves_the_face_and_only_the_face(rig):
    moved = np.linalg.norm(rig.motion_basis.reshape(26, -1, 3), axis=-1)
    assert (moved.max(axis=1) > 0.003).all()
    back_of_head = rig.neutral[:, 1] > 0.0
    assert moved[:, back_of_head].max() < 0.0005


def test_expressions_add_up(rig):
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0, 1, (2, 1, 26)).astype(np.float32)
    together = rig.moves(first + second)
    np.testing.assert_allclose(together, rig.moves(first) + rig.moves(second), atol=1e-6)


def test_left_and_right_mirror_each_other(rig):
    mirrored = rig.neutral * [-1, 1, 1]
    partner = np.array([np.abs(rig.neutral - place).sum(1).argmin() for place in mirrored[::37]])
    for position, unit in enumerate(ACTION_UNITS):
        left = rig.motion_basis[2 * position].reshape(-1, 3)[::37]
        right = rig.motion_basis[2 * position + 1].reshape(-1, 3)[partner] * [-1, 1, 1]
        assert np.abs(left - right).max() < 0.0015, f"AU{unit}"


def test_people_differ(rig):
    nothing = np.zeros((len(rig.people), len(rig.shapes)), np.float32)
    heads = rig.still(rig.people, nothing)
    apart = np.linalg.norm(heads[1:] - heads[:-1], axis=-1).mean(axis=1)
    assert np.median(apart) > 0.002


def test_wrong_widths_and_unknown_shapes_are_named(rig):
    with pytest.raises(ValueError, match="people must be"):
        rig.still(np.zeros((1, 3), np.float32), np.zeros((1, len(rig.shapes)), np.float32))
    with pytest.raises(ValueError, match="no change of shape nose-of-gold"):
        head.shape_weights(rig, {"nose-of-gold": 1.0})


def test_normals_point_away_from_the_head(rig):
    middle = rig.neutral.mean(0)
    skin = np.unique(rig.triangles[rig.regions == head.SKIN])
    outward = ((rig.neutral - middle) * rig.normals(rig.neutral)).sum(1)[skin]
    assert (outward > 0).mean() > 0.8
