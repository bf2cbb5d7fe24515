"""Raw data of the rendered world: the real formats, the oddities of the wild, the same bytes twice."""

import hashlib

import av
import numpy as np
import polars as pl
import pytest
from PIL import Image

from miniature import affectnet, raw, worlds
from miniature.disfa import video_path

GOLDEN = "b0afb2d2aeae1f96"
"""Of the names, which are hashes of the contents, before there was a second world."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    raw.write_rendered(folder, size=32, images=40, subjects=1, frames=6, processes=1)
    return folder


def test_the_trees_are_those_of_the_real_sets(written):
    lists = written / "affectnet" / affectnet.LISTS_FOLDER
    lines = (lists / "training.csv").read_text().splitlines() + (
        lists / "validation.csv"
    ).read_text().splitlines()
    assert lines[0] == affectnet.HEADER and len(lines) == 41
    labels = written / "disfa" / "ActionUnit_Labels" / "SN001"
    assert len(list(labels.glob("SN001_au*.txt"))) == 12
    with av.open(str(video_path(written / "disfa", "SN001"))) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(frames) == 5 and frames[0].shape == (48, 64, 3)


def test_truth_tells_cartoons_sizes_and_oddities(written):
    truth = pl.read_parquet(written / "affectnet" / "truth.parquet")
    assert set(truth["style"]) <= {"photo", "cartoon"}
    for row in truth.filter(defect="").iter_rows(named=True):
        with Image.open(written / "affectnet" / row["path"]) as picture:
            assert picture.size == (row["width"], row["height"])


def test_several_processes_write_the_same_bytes(tmp_path):
    for processes in (1, 2):
        affectnet.write_affectnet(
            tmp_path / str(processes), images=6, seed=5, world="rendered", side=24, processes=processes
        )
    first, second = (
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*.*")
            if path.is_file()
        }
        for name in ("1", "2")
    )
    assert first == second


def test_a_picture_without_a_face_says_so(monkeypatch):
    world = worlds.named("rendered")
    monkeypatch.setattr(affectnet, "named", lambda name: worlds.named(name) if name == "drawn" else world)
    monkeypatch.setitem(world.oddities.shares, "none", 0.95)
    monkeypatch.setitem(world.oddities.shares, "off_centre", 0.0)
    monkeypatch.setitem(world.oddities.shares, "several", 0.0)
    samples = [affectnet._sample(((9, 0, index), "rendered", 24)) for index in range(8)]
    nobody = [sample for sample in samples if sample.truth.get("oddity") == "none"]
    assert nobody
    for sample in nobody:
        fields = sample.line.split(",")
        assert fields[6] == "10" and fields[5] == ""
        assert sum(sample.truth[f"au{au}"] for au in (1, 12, 26)) == 0


def test_unusable_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 16"):
        raw.write_rendered(tmp_path, size=8)
    with pytest.raises(ValueError, match="27 subjects"):
        raw.write_rendered(tmp_path, subjects=40)
    with pytest.raises(ValueError, match="unknown world"):
        worlds.named("painted")


def test_the_drawn_world_writes_what_it_always_wrote(tmp_path):
    affectnet.write_affectnet(tmp_path / "a", images=3, seed=0)
    truth = pl.read_parquet(tmp_path / "a" / "truth.parquet")
    assert "oddity" not in truth.columns
    names = sorted(path.name for path in (tmp_path / "a" / affectnet.IMAGES_FOLDER).rglob("*.*"))
    found = hashlib.sha256("".join(names).encode()).hexdigest()[:16]
    assert found == GOLDEN, np.array(names)
