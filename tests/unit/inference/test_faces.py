"""Finding faces."""

from types import SimpleNamespace

import pytest
from PIL import Image

from inference import abilities, faces, mediapipe
from inference.abilities import Face

NOBODY = Face(None, None, None, None, 0)


def landmarks(*points):
    return [SimpleNamespace(x=x, y=y) for x, y in points]


def test_the_largest_faces_box_may_stick_out():
    small, large = landmarks((0.0, 0.1), (0.2, 0.7)), landmarks((0.8, 0.2), (0.5, 0.7), (1.1, 0.4))
    found = faces._largest([small, large], (200, 100))
    assert found == pytest.approx(Face(0.5, 0.2, 0.6, 0.5, 2)), "shares of width and height"
    assert faces._largest([], (200, 100)) == NOBODY


def test_what_is_missing_is_said_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(mediapipe, "find_spec", lambda name: None)
    for use in (lambda it: it.fingerprint, lambda it: it.find([Image.new("RGB", (9, 9))])):
        with pytest.raises(abilities.EstimatorUnavailable, match=r"make environment"):
            use(faces.Landmarks())
        with pytest.raises(abilities.EstimatorUnavailable, match="nowhere"):
            use(faces.Landmarks(tmp_path / "nowhere.task"))


def test_mediapipe_finds_the_face_of_a_real_photograph():
    astronaut = Image.fromarray(pytest.importorskip("skimage.data").astronaut())
    detector = abilities.build("faces", {"provider": "mediapipe", "model": None})
    face, nobody = detector.find([astronaut, Image.new("RGB", (64, 64), "grey")])
    assert nobody == NOBODY and face.faces == 1
    x, y, width, height = (share * 512 for share in face[:4])
    assert 150 < x < 200 and 50 < y < 100 and 70 < width < 120 and 90 < height < 140
    assert len(detector.fingerprint) == 32 and detector.calls == 2
    assert detector.name.startswith("mediapipe ") and detector.name.endswith(" face_landmarker.task")
