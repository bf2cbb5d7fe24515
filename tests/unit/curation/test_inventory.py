"""The inventory of a raw folder: what is recognised, counted, and what a run would make of it."""

import json

import pytest
from tiny_raw import affectnet, affectnet_line, disfa_labels, picture, video, write
from told import counts

from curation import inventory, training_set
from curation.frames import RawDataError
from curation.inventory import Rules, inspect
from curation.sources import disfa
from store.files import Files
from store.hashing import hash_files

RULES = Rules(min_side=16)


def test_several_data_sets_are_counted_each_and_planned_together(tmp_path):
    pictures = {
        "1/a.png": picture(1, 20, 16),
        "1/b.png": picture(1, 20, 16),  # a once more
        "1/c.png": picture(2, 40, 15),
        "2/d.jpg": picture(3, 20, 20, "JPEG", noise=True)[:-30],
    }
    lines = [affectnet_line(name, expression=3) for name in [*pictures, "2/gone.jpg"]]
    affectnet(tmp_path / "faces", lines, pictures=pictures)
    disfa_labels(tmp_path / "disfa", "SN001", 3, lambda au, frame: 4 if (au, frame) == (12, 2) else 0)
    for frame in range(3):
        write(tmp_path / "disfa" / "SN001" / f"{frame:05}.png", picture(50 + frame, 32, 24))
    write(tmp_path / "own" / "me.png", picture(1, 20, 16))
    write(tmp_path / "own" / "me.txt", "me")

    found = inspect(tmp_path, Rules(min_side=16, no_au_share=0))
    assert [source.layout for source in found.sources] == [
        "DISFA, extracted frames",
        "AffectNet 2017, unpacked",
        "folder of pictures",
    ]
    films, faces, own = found.sources
    assert (faces.rows, faces.usable) == (5, 3)
    assert faces.unusable == {"missing_file": 1, "truncated_image": 1}
    assert faces.examples["missing_file"] == ["training.csv:6 lists 2/gone.jpg"]
    assert faces.expressions == {"surprise": 5}
    assert {k: v for k, v in faces.shorter_sides.items() if v} == {"0-15": 1, "16-63": 3}
    assert faces.large_enough == 3
    assert films.subjects == 1 and any("counted from 0" in note for note in films.notes)
    assert films.action_units["AU12"] == [2, 0, 0, 0, 1, 0] and films.action_units["AU1"] == [
        3,
        0,
        0,
        0,
        0,
        0,
    ]
    assert (own.rows, own.captions) == (1, 1)
    assert (found.compared, found.duplicates) == (8, 2)
    assert found.duplicate_examples == [["affectnet/1/a.png", "affectnet/1/b.png", "folder/me.png"]]
    assert [(step.stage, step.rows, step.kept, step.dropped) for step in found.plan] == [
        ("raw_affectnet", 5, 3, {"missing_file": 1, "truncated_image": 1}),
        ("raw_folder", 1, 1, {}),
        ("raw_disfa", 3, 1, {"no_active_au": 2}),
        ("resolution", 4, 3, {"too_small": 1}),
    ]
    assert found.calls == {"photorealism": 1, "au_annotation": 1, "captions": 2}
    assert json.loads(found.as_json())["sources"][1]["large_enough"] == 3


def test_videos_are_counted_by_their_headers_as_the_reader_will(tmp_path, monkeypatch):
    raw = tmp_path / "disfa"
    disfa_labels(raw, "SN002", 800, lambda au, frame: 1 if frame == 3 else 0)  # its log: 800-826 are faulty
    film = video(raw / "Video_LeftCamera" / "LeftVideoSN002_comp.avi", 12)
    read = disfa.read(raw, Files(tmp_path / "frames", "frames"), hash_files, tmp_path / "index")
    drawn = training_set.draw_no_au(read, 0.1, 0)

    monkeypatch.setattr("curation.sources.video._decoded", lambda *arguments: pytest.fail("decoded"))
    before = {path: path.read_bytes() for path in raw.rglob("*.*")}
    found = inspect(raw, RULES)
    assert {path: path.read_bytes() for path in raw.rglob("*.*")} == before
    (source,) = found.sources
    assert source.layout == "DISFA, videos" and found.compared == 0
    assert (source.rows, source.usable) == (read.height, read["keep"].sum()) == (800, 12)
    assert source.unusable == counts(read)
    assert found.plan[0].kept == drawn["keep"].sum() and found.plan[0].dropped == counts(drawn)
    film.write_bytes(b"no film")
    (source,) = inspect(raw, RULES).sources
    assert source.usable == 0 and "cannot be opened" in source.examples["no_frame"][0]


def test_a_plain_folder_is_read_whole(tmp_path):
    for name in ("a.png", "deep/er/b.png"):
        write(tmp_path / name, picture(len(name), 20, 20))
    write(tmp_path / "c.jpg", "no picture")
    (source,) = inspect(tmp_path, RULES).sources
    assert (source.layout, source.rows, source.unusable) == ("folder of pictures", 3, {"not_a_picture": 1})


def test_what_the_pipeline_refuses_says_why(tmp_path):
    write(tmp_path / "train_set" / "images" / "0.jpg", picture())
    write(tmp_path / "train_set" / "annotations" / "0_exp.npy", b"x")
    (source,) = inspect(tmp_path, Rules()).sources
    assert "224x224 crops" in source.problem and source.rows == 0


def test_nothing_recognised_says_what_was_expected(tmp_path):
    with pytest.raises(RawDataError, match=r"no folder .*nowhere"):
        inspect(tmp_path / "nowhere")
    write(tmp_path / "notes" / "a.md", "x")
    with pytest.raises(RawDataError, match=r"nothing recognised in .*AffectNet 2017 .*DISFA .*\.jpg"):
        inspect(tmp_path)


def test_sides_are_counted_with_the_rules_own_bound(tmp_path):
    for side in (10, 63, 64, 99, 100, 2000):
        write(tmp_path / f"{side}.png", picture(side, side, side))
    (source,) = inspect(tmp_path, Rules(min_side=100)).sources
    counts = {name: count for name, count in source.shorter_sides.items() if count}
    assert counts == {"0-63": 2, "64-99": 2, "100-127": 1, "1024 and more": 1}
    assert source.large_enough == 2
    assert sum(source.shorter_sides.values()) == 6 and set(inventory.SIDES) == {64, 128, 224, 256, 512, 1024}
