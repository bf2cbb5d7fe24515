"""A plain folder of pictures as frames: captions, subjects, links, odd files."""

import os

import polars as pl
import pytest
from tiny_raw import picture, write
from told import counts, told

from curation import frames
from curation.frames import RawDataError
from curation.sources import folder, listing
from store.hashing import hash_readable_files


def read(path):
    return folder.read(path, hash_readable_files)


def subjects(table):
    return dict(table.select("sample_id", "subject").iter_rows())


def test_pictures_at_any_depth_with_their_captions(tmp_path):
    write(tmp_path / "b.JPG", picture(1, form="JPEG"))
    write(tmp_path / "b.txt", "A man\n in a park. ")
    write(tmp_path / "deep" / "er" / "a.webp", picture(2, 20, 10, form="WEBP"))
    write(tmp_path / "deep" / "er" / "a.txt", "\n")
    write(tmp_path / "notes.md", "no picture")
    table = read(tmp_path)
    assert table.schema == frames.SCHEMA
    assert table["sample_id"].to_list() == ["folder/b.JPG", "folder/deep/er/a.webp"]
    assert table["raw_caption"].to_list() == ["A man in a park.", None]
    assert table["width"].to_list() == [16, 20] and table["keep"].all()
    assert table["origin"].to_list() == ["b.JPG", "deep/er/a.webp"]
    assert table["path"][0] == str(tmp_path / "b.JPG") and table["source"][0] == "folder"


def test_a_folder_of_numbered_frames_is_one_subject(tmp_path):
    for clip in ("clip1", "clip2"):
        for number in range(3):
            write(tmp_path / clip / f"{number:04}.png", picture(number))
    for name in ("portrait.png", "mixed/ann.png", "mixed/bob.png", "takes/take_7.png", "takes/take_9.png"):
        write(tmp_path / name, picture(9))
    table = read(tmp_path)
    assert subjects(table) == {
        **{f"folder/{clip}/{number:04}.png": clip for clip in ("clip1", "clip2") for number in range(3)},
        "folder/portrait.png": None,
        "folder/mixed/ann.png": None,
        "folder/mixed/bob.png": None,
        "folder/takes/take_7.png": "takes",
        "folder/takes/take_9.png": "takes",
    }
    assert table.filter(subject="takes")["frame"].to_list() == [7, 9]


def test_numbered_portraits_are_no_subject(tmp_path):
    # FFHQ: the numbers go on from folder to folder; CelebA-HQ: all in the top folder
    for number in range(6):
        write(
            tmp_path / "ffhq" / f"{number // 3 * 1000:05}" / f"{number // 3 * 1000 + number:05}.png",
            picture(number),
        )
    for number in range(3):
        write(tmp_path / f"{number}.png", picture(number))
    assert read(tmp_path)["subject"].null_count() == 9


def test_bad_pictures_are_quarantined(tmp_path):
    write(tmp_path / "cut.jpg", picture(form="JPEG", noise=True, width=64, height=64)[:900])
    write(tmp_path / "empty.png", b"")
    write(tmp_path / "text.jpg", "hello")
    write(tmp_path / "good.png", picture())
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    table = read(tmp_path)
    assert counts(table) == {
        "empty_file": 1, "not_a_picture": 1, "truncated_image": 1, "unreadable_file": 1,
    }  # fmt: skip
    assert table.filter("keep")["sample_id"].to_list() == ["folder/good.png"]


def test_links_that_run_in_circles_end(tmp_path):
    write(tmp_path / "top" / "in" / "a.png", picture())
    (tmp_path / "top" / "in" / "back").symlink_to(tmp_path / "top")
    (tmp_path / "top" / "self").symlink_to(tmp_path / "top" / "self")
    write(tmp_path / "other" / "b.png", picture(1))
    (tmp_path / "top" / "other").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "again").symlink_to(tmp_path / "top")
    assert read(tmp_path / "top")["sample_id"].to_list() == ["folder/in/a.png", "folder/other/b.png"]


def test_a_folder_that_cannot_be_listed_stops_the_reading(tmp_path, monkeypatch):
    """Else its pictures would be missing without a word."""
    for name in ("a.png", "lost+found/b.png"):
        write(tmp_path / name, picture())
    scandir = os.scandir

    def refusing(place):
        if str(place).endswith(("locked", "lost+found")):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    assert read(tmp_path)["keep"].to_list() == [True]  # the file system's own folder is nobody's data
    (tmp_path / "locked").mkdir()
    with pytest.raises(RawDataError, match=r"cannot list folder .*/locked: Permission denied"):
        read(tmp_path)


def test_hidden_files_are_left_out(tmp_path):
    for name in (".trash/a.png", "._b.png", "b.png"):
        write(tmp_path / name, picture())
    assert read(tmp_path)["sample_id"].to_list() == ["folder/b.png"]


def test_a_name_that_is_no_text_is_quarantined(tmp_path):
    write(tmp_path / "good.png", picture())
    odd = os.fsencode(str(tmp_path)) + b"/caf\xe9.png"
    try:
        with open(odd, "wb") as file:
            file.write(picture(1))
    except OSError:
        pytest.skip("this file system takes text only")
    table = read(tmp_path)
    assert told(table.filter(~pl.col("keep"))) == [r"unreadable_name: caf\xe9.png is not valid text"]
    assert not listing.sound(os.fsdecode(odd))


def test_nothing_to_read_is_an_error_that_names_the_folder(tmp_path):
    with pytest.raises(RawDataError, match=r"no folder .*nowhere"):
        read(tmp_path / "nowhere")
    write(tmp_path / "raw" / "a.txt", "no picture")
    with pytest.raises(RawDataError, match=r"no pictures in .*raw .*\.jpg"):
        read(tmp_path / "raw")
