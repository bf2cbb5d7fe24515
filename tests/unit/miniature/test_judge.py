"""MediaPipe on a measured scale: the fitted map, its file, and that it sees rendered faces."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from curation.frames import LABELS
from facs import ACTION_UNITS, COLUMNS
from inference.abilities import EstimatorUnavailable, Reading, unmeasured
from inference.calibrated_mediapipe import CHANNELS, CalibratedMediaPipe, raw
from miniature.conv_estimator import ConvEstimator
from miniature.judge import CALIBRATION, Judge
from miniature.rendered.people import draw_person, draw_shot
from miniature.rendered.picture import render
from miniature.train import judge


def frames(count: int = 400) -> pl.DataFrame:
    """Readings that follow the truth as its square root, but for AU9 (unread) and AU20 (says nothing)."""
    truth = np.random.default_rng(0).uniform(0, 5, (count, 12))
    read = np.sqrt(truth)
    read[:, ACTION_UNITS.index(20)] = 0.3
    columns = {name: read[:, k].tolist() for k, name in enumerate(COLUMNS)} | {"au9": [None] * count}
    labels = {name: truth[:, k].tolist() for k, name in enumerate(LABELS)}
    return pl.DataFrame(
        {"sample_id": [str(i) for i in range(count)], **columns, **labels},
        schema_overrides={"au9": pl.Float64},
    )


def test_the_fitted_map_undoes_a_curve_and_leaves_out_what_is_not_read(tmp_path):
    maps = judge.fit(frames())
    assert {"9", "20"}.isdisjoint(maps) and len(maps) == 10
    assert max(len(one["reading"]) for one in maps.values()) <= judge.MOST_KNOTS
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(maps))
    reader = CalibratedMediaPipe(path)
    assert 9 not in reader.supported and 12 in reader.supported
    for level in (0.5, 2.0, 4.5):
        mapped = reader.mapped([level**0.5] * 12)
        assert mapped[6] == pytest.approx(level, abs=0.4)
        assert mapped[5] is None


def test_balanced_expressions_show_each_unit_alike():
    shown = judge.expressions(np.random.default_rng(1), 4000) > 0
    assert shown.mean(0).min() > 0.7 * shown.mean(0).max()
    assert 0.45 < (shown.sum(1) == 1).mean() < 0.55


def test_the_raw_scale_is_five_times_the_channels_mean():
    shapes = {
        f"{name}{side}": 0.4 for names in CHANNELS.values() for name in names for side in ("Left", "Right")
    }
    shapes |= {"browInnerUp": 0.2, "jawOpen": 1.0, "mouthShrugLower": 0.0}
    found = raw(shapes)
    assert found[0] == pytest.approx(1.0) and found[11] == pytest.approx(5.0) and found[5] is None


def test_a_file_that_is_no_calibration_is_named(tmp_path):
    broken = tmp_path / "broken.json"
    for content in (
        "{",
        '{"12": {"reading": [1, 0], "intensity": [0, 1]}}',
        '{"9": {"reading": [1], "intensity": [0]}}',
    ):
        broken.write_text(content)
        with pytest.raises(EstimatorUnavailable, match=r"broken\.json"):
            _ = CalibratedMediaPipe(broken).maps
    with pytest.raises(EstimatorUnavailable, match=r"absent\.json"):
        _ = CalibratedMediaPipe(tmp_path / "absent.json").maps


def test_the_fingerprint_follows_the_calibration(tmp_path):
    pytest.importorskip("mediapipe")
    for name, top in (("a", 4.0), ("b", 5.0)):
        (tmp_path / name).write_text(json.dumps({"12": {"reading": [0.0, 5.0], "intensity": [0.0, top]}}))
    prints = {CalibratedMediaPipe(tmp_path / name).fingerprint for name in ("a", "b")}
    assert len(prints | {CalibratedMediaPipe().fingerprint}) == 3


def test_it_finds_faces_of_64_pixels_and_reads_them_in_order():
    pytest.importorskip("mediapipe")
    rng = np.random.default_rng(2)
    person, shot = draw_person(rng), draw_shot(rng)
    jaw = np.eye(12)[11]
    faces = [Image.fromarray(render(person, shot, jaw * level)) for level in (0, 2.5, 5)]
    reader = CalibratedMediaPipe()
    readings = reader.estimate([*faces, Image.new("RGB", (64, 64), (90, 120, 160))])
    assert [reading.faces for reading in readings] == [1, 1, 1, readings[3].faces] and reader.calls == 4
    opened = [reading.intensities[11] for reading in readings[:3]]
    assert opened[0] < opened[1] < opened[2]
    assert readings[3].intensities == (None,) * 12


def test_the_judge_takes_two_units_from_the_network_and_the_face_from_mediapipe(tmp_path, monkeypatch):
    torch.manual_seed(0)
    ConvEstimator().save_pretrained(tmp_path)
    (tmp_path / CALIBRATION).write_text(
        json.dumps({"12": {"reading": [0, 5], "intensity": [0, 5]}, "4": {"reading": [0], "intensity": [2]}})
    )
    second = Judge(tmp_path)
    seen = [Reading((1.0,) * 12, 1, None), unmeasured()]
    monkeypatch.setattr(second.detector, "estimate", lambda pictures: seen)
    faces = [Image.new("RGB", (64, 64), colour) for colour in ("white", "black")]
    read, lost = second.estimate(faces)
    own = second.network.predict(faces)[0][0].tolist()
    assert [read.intensities[k] for k in (2, 5)] == [own[2], own[5]]
    assert [v for k, v in enumerate(read.intensities) if k not in (2, 5)] == [1.0] * 10
    assert lost.intensities == (None,) * 12 and second.calls == 2 and second.estimate([]) == []
