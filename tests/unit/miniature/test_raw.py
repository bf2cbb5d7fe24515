"""The miniature's raw data: the real layouts, the same bytes every time, and never half written."""

import csv
import hashlib
import io

import av
import numpy as np
import polars as pl
import pytest
from PIL import Image

from facs import ACTION_UNITS, COLUMNS
from miniature import affectnet, atomic, disfa, faces, raw
from miniature.expressions import rounded

IMAGES, FRAMES = 150, 40
SUBJECTS = ("SN001", "SN002")


def fingerprint(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web") / "affectnet"
    raw.write_affectnet(folder, images=IMAGES, seed=4)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos") / "disfa"
    raw.write_disfa(folder, subjects=SUBJECTS, frames=FRAMES, seed=4)
    return folder


def rows(folder):
    lists = folder / "Manually_Annotated_file_lists"
    training = list(csv.reader((lists / "training.csv").open()))
    validation = list(csv.reader((lists / "validation.csv").open()))
    return training[0], training[1:], validation


def test_affectnet_lists_have_the_columns_of_the_release(web):
    header, training, validation = rows(web)
    assert ",".join(header) == affectnet.HEADER
    assert len(training) + len(validation) == IMAGES
    assert len(validation) == round(0.05 * IMAGES)
    for path, x, y, width, height, landmarks, expression, valence, arousal in training + validation:
        subfolder, name = path.split("/")
        assert subfolder.isdigit()
        assert len(name.split(".")[0]) == 56
        points = np.array(landmarks.split(";"), dtype=float).reshape(68, 2)
        left, top, right, bottom = int(x), int(y), int(x) + int(width), int(y) + int(height)
        assert (points[27:, 0] >= left).all() and (points[27:, 0] <= right).all()
        assert (points[17:, 1] >= top).all() and (points[17:, 1] <= bottom).all()
        assert points[36:48, 1].max() < points[30, 1] < points[48:, 1].mean() < points[8, 1]
        assert points[36, 0] < points[39, 0] < points[42, 0] < points[45, 0]
        assert 0 <= int(expression) <= 9
        assert (int(expression) == 9) == (float(valence) == -2) == (float(arousal) == -2)


def test_affectnet_pictures_are_as_the_truth_says(web):
    truth = pl.read_parquet(web / "truth.parquet")
    assert truth["path"].n_unique() == truth.height == IMAGES
    assert sorted(truth.filter(pl.col("defect") != "")["defect"]) == sorted(affectnet.DEFECTS)
    for row in truth.iter_rows(named=True):
        path = web / row["path"]
        if row["defect"] == "missing":
            assert not path.exists()
        elif row["defect"] == "empty":
            assert path.stat().st_size == 0
        elif row["defect"] == "truncated":
            with pytest.raises((OSError, SyntaxError)):
                Image.open(path).load()
        else:
            with Image.open(path) as picture:
                picture.load()
                assert picture.size == (row["width"], row["height"])
    short = truth.select(pl.min_horizontal("width", "height")).to_series()
    assert 0.05 < (short < 64).mean() < 0.22
    assert short.min() >= 32
    assert truth.select(pl.max_horizontal("width", "height")).to_series().max() <= 128
    assert 0.04 < (truth["style"] == "cartoon").mean() < 0.18
    assert (truth["width"] != truth["height"]).mean() > 0.3
    assert len({path.suffix for path in (web / affectnet.IMAGES_FOLDER).rglob("*.*")}) >= 4
    listed = {f"{affectnet.IMAGES_FOLDER}/{row[0]}" for part in rows(web)[1:] for row in part}
    assert listed == set(truth["path"])


def test_expressions_follow_from_the_units():
    rng = np.random.default_rng(0)

    def label(**strengths):
        return affectnet.emotion(np.array([strengths.get(column, 0.0) for column in COLUMNS]), rng)

    assert label()[0] == 0
    assert abs(label()[1]) < 0.3
    assert label(au6=3, au12=4)[0] == 1
    assert label(au6=3, au12=4)[1] > 0.3
    assert label(au1=3, au4=3, au15=4)[0] == 2
    assert label(au1=4, au2=4, au5=4, au26=4)[0] == 3
    assert label(au9=5, au4=2)[0] == 5
    assert label(au20=2)[0] == 9
    assert label(au20=2)[1:] == (-2.0, -2.0)


def test_disfa_labels_and_videos_pair_up(videos):
    truth = pl.read_parquet(videos / "truth.parquet")
    assert truth.height == len(SUBJECTS) * FRAMES
    for subject in SUBJECTS:
        true = truth.filter(pl.col("subject") == subject).sort("frame")
        assert true["frame"].to_list() == list(range(1, FRAMES + 1))
        for unit in ACTION_UNITS:
            lines = (
                (videos / "ActionUnit_Labels" / subject / f"{subject}_au{unit}.txt").read_text().splitlines()
            )
            labels = np.array([line.split(",") for line in lines], dtype=int)
            assert labels[:, 0].tolist() == list(range(1, FRAMES + 1))
            assert labels[:, 1].tolist() == rounded(true[f"au{unit}"].to_numpy()).tolist()
        with av.open(str(disfa.video_path(videos, subject))) as container:
            assert container.streams.video[0].average_rate == 20
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(pictures) == FRAMES - (subject == SUBJECTS[-1])
        assert {picture.shape for picture in pictures} == {(96, 128, 3)}


def test_videos_are_nearly_lossless():
    rng = np.random.default_rng(0)
    identity, shot = faces.draw_identity(rng), faces.draw_shot(rng)
    pictures = [
        faces.render(identity, shot, np.full(12, strength), (128, 96)) for strength in (0.0, 2.0, 5.0)
    ]
    with av.open(io.BytesIO(disfa.encode_video(pictures))) as container:
        decoded = [frame.to_ndarray(format="rgb24").astype(float) for frame in container.decode(video=0)]
    for before, after in zip(pictures, decoded, strict=True):
        assert np.abs(before - after).mean() < 2


def test_the_same_seed_writes_the_same_bytes(web, videos, tmp_path):
    raw.write_affectnet(tmp_path / "web", images=IMAGES, seed=4)
    raw.write_disfa(tmp_path / "videos", subjects=SUBJECTS, frames=FRAMES, seed=4)
    assert fingerprint(tmp_path / "web") == fingerprint(web)
    assert fingerprint(tmp_path / "videos") == fingerprint(videos)
    raw.write_affectnet(tmp_path / "other", images=5, seed=5)
    assert not set(fingerprint(tmp_path / "other")) & set(fingerprint(web)) - {
        "truth.parquet",
        "Manually_Annotated_file_lists/training.csv",
        "Manually_Annotated_file_lists/validation.csv",
    }


def test_an_interrupted_writer_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(affectnet, "_truth_table", interrupt)
    with pytest.raises(KeyboardInterrupt):
        raw.write_affectnet(tmp_path / "affectnet", images=5)
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_writer_are_swept_away(tmp_path):
    leftover = tmp_path / ".disfa.partial" / "junk.txt"
    leftover.parent.mkdir()
    leftover.write_text("half")
    raw.write_disfa(tmp_path / "disfa", subjects=("SN009",), frames=3)
    assert not (tmp_path / "disfa" / "junk.txt").exists()
    assert not leftover.exists()
    with pytest.raises(FileExistsError):
        raw.write_disfa(tmp_path / "disfa", subjects=("SN009",), frames=3)


def test_write_raw_completes_what_is_absent_and_touches_nothing_else(tmp_path, monkeypatch):
    calls = []

    def writer(folder, seed):
        calls.append((folder.name, seed))
        with atomic.whole_folder(folder) as partial:
            (partial / "data").write_text("x")

    monkeypatch.setattr(raw, "write_affectnet", writer)
    monkeypatch.setattr(raw, "write_disfa", writer)
    (tmp_path / "disfa").mkdir()
    raw.write_raw(tmp_path, seed=3)
    raw.write_raw(tmp_path, seed=3)
    assert calls == [("affectnet", 3)]
    assert list((tmp_path / "disfa").iterdir()) == []


def test_images_arrive_once_and_leave_the_old_ones_alone(tmp_path):
    raw.write_affectnet(tmp_path / "web", images=8, seed=1)
    before = fingerprint(tmp_path / "web")
    old_lines = (tmp_path / "web" / affectnet.LISTS_FOLDER / "training.csv").read_text()
    added = raw.add_images(tmp_path / "web", images=3, seed=1)
    assert len(added) == 3 and all(path.exists() for path in added)
    after = fingerprint(tmp_path / "web")
    rewritten = {"truth.parquet", f"{affectnet.LISTS_FOLDER}/training.csv"}
    assert {name for name in before if before[name] != after[name]} == rewritten
    lines = (tmp_path / "web" / affectnet.LISTS_FOLDER / "training.csv").read_text()
    assert lines.startswith(old_lines)
    assert len(lines.splitlines()) == len(old_lines.splitlines()) + 3
    raw.add_images(tmp_path / "web", images=3, seed=1)
    assert fingerprint(tmp_path / "web") == after


def test_an_interrupted_arrival_is_completed_by_the_next_call(tmp_path, monkeypatch):
    raw.write_affectnet(tmp_path / "web", images=4)
    raw.write_affectnet(tmp_path / "undisturbed", images=4)
    before = fingerprint(tmp_path / "web")
    real = atomic.write_whole

    def fail_at_list(path, content):
        if path.suffix == ".csv":
            raise KeyboardInterrupt
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(affectnet, "write_whole", fail_at_list)
        with pytest.raises(KeyboardInterrupt):
            raw.add_images(tmp_path / "web", images=2)
    training = f"{affectnet.LISTS_FOLDER}/training.csv"
    assert fingerprint(tmp_path / "web")[training] == before[training]
    raw.add_images(tmp_path / "web", images=2)
    raw.add_images(tmp_path / "undisturbed", images=2)
    assert fingerprint(tmp_path / "web") == fingerprint(tmp_path / "undisturbed")


def test_a_subject_arrives_as_if_it_had_been_there_from_the_start(tmp_path):
    raw.write_disfa(tmp_path / "grown", subjects=("SN001",), frames=4)
    raw.add_subject(tmp_path / "grown", "SN007", frames=4)
    raw.add_subject(tmp_path / "grown", "SN007", frames=4)
    raw.write_disfa(tmp_path / "alone", subjects=("SN007", "SN008"), frames=4)
    grown, whole = fingerprint(tmp_path / "grown"), fingerprint(tmp_path / "alone")
    shared = [name for name in whole if "SN007" in name]
    assert len(shared) == 13
    assert all(grown[name] == whole[name] for name in shared)
    truth = pl.read_parquet(tmp_path / "grown" / "truth.parquet")
    assert truth.group_by("subject").len().sort("subject").rows() == [("SN001", 4), ("SN007", 4)]
