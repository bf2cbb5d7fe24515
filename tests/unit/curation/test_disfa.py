"""DISFA: films and extracted frames joined with labels, and every way in which they fail to match."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_raw import change_line, disfa_labels, picture, shuffled_disk, video, write
from told import TOLD, counts, told

from curation import frames
from curation.frames import RawDataError
from curation.sources import disfa, disfa_pictures
from curation.sources import disfa_labels as disfa_labels_reader
from curation.sources import video as decoder
from curation.sources.disfa_labels import FAULTY_FRAMES
from curation.training_set import draw_no_au
from store.files import Files
from store.hashing import hash_files, hash_readable_files


def read(folder, **settings):
    files = Files(folder.parent / "files", "frames")
    return disfa.read(folder, files, hash_readable_files, folder.parent / "index", **settings)


def film(folder, subject="SN003", frames=8, side="Left", **settings):
    return video(folder / f"Video_{side}Camera" / f"{side}Video{subject}_comp.avi", frames, **settings)


def stills(folder, subject, numbers, suffix=".png"):
    for number in numbers:
        write(folder / "Frames" / subject / f"{number:05}{suffix}", picture(number))


def reasons(table):
    return dict(table.filter(~pl.col("keep")).select("sample_id", TOLD).iter_rows())


@pytest.fixture
def raw(tmp_path):
    """A folder with labels of one subject, 8 frames, AU12 as strong as the frame's number modulo 6."""
    disfa_labels(tmp_path / "raw", "SN003", 8, lambda au, frame: frame % 6 if au == 12 else 0)
    return tmp_path / "raw"


def labels_file(raw, au, subject="SN003"):
    return raw / "ActionUnit_Labels" / subject / f"{subject}_au{au}.txt"


# films


def test_a_film_and_its_labels_become_frames(raw):
    film(raw)
    table = read(raw)
    assert table.schema == frames.SCHEMA
    assert table["sample_id"].to_list() == [f"disfa/SN003/{n:05}" for n in range(1, 9)]
    assert table["label_au12"].to_list() == [1, 2, 3, 4, 5, 0, 1, 2]
    assert table["label_au1"].to_list() == [0] * 8
    row = table.row(4, named=True)
    assert (row["subject"], row["frame"], row["source"], row["origin"]) == (
        "SN003", 5, "disfa", "LeftVideoSN003_comp.avi#5",
    )  # fmt: skip
    assert (row["width"], row["height"], row["keep"], row["reason_code"]) == (32, 32, True, None)
    assert table["content_hash"].to_list() == hash_files(table["path"].to_list())
    assert table["content_hash"].n_unique() == 8


def test_frames_come_in_the_order_of_the_film(raw):
    film(raw)
    brightness = [np.asarray(Image.open(path)).mean() for path in read(raw)["path"]]
    assert brightness == sorted(brightness)


def test_a_film_is_decoded_once_even_under_another_name_and_once_is_said_so(raw, monkeypatch):
    path = film(raw)
    said, noted = [], []
    first = read(raw, say=said.append, note=noted.append)
    assert said == ["decoded LeftVideoSN003_comp.avi: it gives 8 frames"]
    path.rename(path.with_name("LeftVideoSN003_copy.avi"))
    monkeypatch.setattr(decoder, "_decoded", lambda *_: pytest.fail("decoded again"))
    second = read(raw, say=said.append, note=noted.append)
    assert len(said) == 1 and noted[1] == "LeftVideoSN003_copy.avi gives 8 frames"
    assert first.drop("origin").equals(second.drop("origin"))


def test_a_decoding_that_was_cut_short_starts_again_and_a_lost_frame_is_made_again(raw, tmp_path):
    film(raw)
    first = read(raw)
    (index,) = (tmp_path / "index").iterdir()
    index.write_text(index.read_text()[:40])
    assert read(raw).equals(first)
    lost = Path(first["path"][3])
    lost.unlink()
    assert read(raw).equals(first)
    assert lost.exists()
    assert [path.suffix for path in (tmp_path / "index").iterdir()] == [".json"]


def test_frames_that_are_stored_but_not_on_this_machine_are_not_asked_for(tmp_path):
    """In a bucket another machine may have put the same frames there."""
    frames_put = []

    class Elsewhere(Files):
        def put(self, data: bytes, suffix: str = "") -> str:
            frames_put.append(data)
            return f"{len(frames_put):032x}{suffix}"

    path = film(tmp_path, frames=3)
    (content,) = hash_files([path])
    found = decoder.decode(
        path, content, hash_files, Elsewhere(tmp_path / "none", "frames"), tmp_path / "index"
    )
    assert len(found.names) == len(frames_put) == 3 and found.problem is None
    assert found.width and found.height


def test_labels_without_a_frame_and_frames_without_a_label_are_reported(raw):
    film(raw, frames=7)
    film(raw, "SN004", frames=2)
    disfa_labels(raw, "SN004", 1)
    found = reasons(read(raw))
    film_of = "LeftVideo{}_comp.avi".format
    assert found == {
        "disfa/SN003/00008": f"no_frame: SN003_au1.txt:8 labels frame 8, {film_of('SN003')} gives 7 frames",
        "disfa/SN004/00002": f"no_label: {film_of('SN004')}#2 is frame 2, which SN004_au1.txt does not have",
    }


def test_a_subject_without_labels_or_without_pictures_is_reported(raw):
    film(raw, "SN004", frames=1)
    table = read(raw)
    assert counts(table) == {"no_frame": 8, "no_label": 1}
    assert told(table.filter(subject="SN004")) == [
        "no_label: LeftVideoSN004_comp.avi#1 is frame 1, and SN004 has no label"
    ]
    assert told(table.filter(subject="SN003"))[0].endswith("SN003 has no video and no frames")
    assert table.filter(subject="SN003")["path"].null_count() == 8


def test_a_cut_off_film_gives_its_frames_and_the_rest_is_reported(tmp_path):
    raw = tmp_path / "raw"
    disfa_labels(raw, "SN003", 60)
    path = film(raw, frames=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    table = read(raw)
    kept = table.filter("keep")
    assert 10 < kept.height < 45
    assert kept["frame"].to_list() == list(range(1, kept.height + 1))
    reason = told(table)[59]
    assert reason.startswith("no_frame: SN003_au1.txt:60 labels frame 60, LeftVideoSN003_comp.avi gives ")
    assert f"gives {kept.height} of 60 frames" in reason


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("length", [20, 600, 3000])
def test_damage_in_the_middle_never_shifts_later_frames(tmp_path, codec, cut, length):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        disfa_labels(folder, "SN003", 48)
        film(folder, frames=48, codec=codec, gop=6)
    path = film(broken, frames=48, codec=codec, gop=6)
    content = bytearray(path.read_bytes())
    if cut:  # and with its end the index goes that says which frame is which
        del content[len(content) * 3 // 4 :]
    middle = len(content) * 2 // 5
    content[middle : middle + length] = bytes(length)
    path.write_bytes(content)
    number_of = dict(read(whole).select("content_hash", "frame").iter_rows())
    found = read(broken).filter("keep").select("content_hash", "frame").rows()
    exact = [(number_of[content], frame) for content, frame in found if content in number_of]
    assert len(exact) >= (5 if cut else 12)
    assert (
        len(found) - len(exact) <= 1
    )  # a decoder hides some damage: one frame that differs, in its own place
    assert all(true == frame for true, frame in exact)
    if not cut:
        assert max(frame for _, frame in exact) == 48


@pytest.mark.parametrize("content", [b"", b"no film at all", b"RIFF\x00\x00\x00\x00AVI LIST"])
def test_a_film_that_cannot_be_opened_is_the_reason_of_its_labels(raw, content):
    write(raw / "Video_LeftCamera" / "LeftVideoSN003_comp.avi", content)
    table = read(raw)
    assert counts(table) == {"no_frame": 8}
    assert "LeftVideoSN003_comp.avi cannot be opened" in told(table)[0] or "gives no frame" in told(table)[0]


def test_a_film_that_cannot_be_read_is_the_reason_of_its_labels_and_is_not_remembered(raw, tmp_path):
    path = raw / "Video_LeftCamera" / "LeftVideoSN003_comp.avi"
    path.parent.mkdir()
    path.symlink_to(tmp_path / "gone.avi")
    assert "LeftVideoSN003_comp.avi cannot be read: No such file" in told(read(raw))[0]
    path.unlink()
    film(raw)
    assert read(raw)["keep"].all()


def test_the_right_camera_has_ids_of_its_own(raw):
    film(raw)
    film(raw, side="Right", shade=80)
    table = read(raw, cameras=["left", "right"])
    assert table["keep"].all() and table.height == 16
    assert table["sample_id"][8] == "disfa/SN003/right/00001"
    assert table["subject"].unique().to_list() == ["SN003"]
    assert read(raw, cameras=["right"])["sample_id"][0] == "disfa/SN003/right/00001"


def test_both_cameras_of_a_moment_have_one_label_and_are_drawn_independently(tmp_path):
    raw = tmp_path / "raw"
    disfa_labels(raw, "SN003", 60)
    film(raw, frames=60)
    left = draw_no_au(read(raw), 0.5)
    film(raw, frames=60, side="Right", shade=80)
    both = draw_no_au(read(raw, cameras=["left", "right"]), 0.5)
    right = pl.col("sample_id").str.contains("/right/")
    assert both.filter(~right).equals(left)  # another camera changes nothing for the first
    pairs = both.filter(~right).join(both.filter(right), on="frame")
    assert pairs.height == 60 and 10 < (pairs["keep"] == pairs["keep_right"]).sum() < 50


def test_a_camera_that_a_subject_lacks_is_reported(raw):
    film(raw)
    disfa_labels(raw, "SN004", 1)
    film(raw, "SN004", 1)
    film(raw, "SN004", 1, side="Right")
    found = reasons(read(raw, cameras=["left", "right"]))
    assert len(found) == 8 and found["disfa/SN003/right/00001"].startswith("no_frame: SN003_au1.txt:1 labels")


def test_a_second_film_of_a_subject_is_left_alone_and_said(raw):
    film(raw)
    video(raw / "Video_LeftCamera" / "LeftVideoSN003_later.avi", 3)
    found = reasons(read(raw))
    place = "Video_LeftCamera/LeftVideoSN003"
    assert list(found.values()) == [f"second_video: {place}_later.avi beside {place}_comp.avi"]


# labels


def test_label_lines_that_are_wrong_are_quarantined_by_file_and_line(raw):
    film(raw)
    change_line(labels_file(raw, 4), 1, "1")
    change_line(labels_file(raw, 4), 2, "2,x")
    change_line(labels_file(raw, 5), 3, "3,7")
    change_line(labels_file(raw, 6), 4, "4,1,1")
    change_line(labels_file(raw, 9), 5, "5,1.5")
    change_line(labels_file(raw, 9), 6, None)
    change_line(labels_file(raw, 12), 7, "7,6")
    change_line(labels_file(raw, 12), 8, "8,-1")
    assert reasons(read(raw)) == {
        "disfa/SN003/00001": "short_label_line: SN003_au4.txt:1 '1'",
        "disfa/SN003/00002": "label_not_a_number: SN003_au4.txt:2 '2,x'",
        "disfa/SN003/00003": "label_out_of_range: SN003_au5.txt:3 '3,7'",
        "disfa/SN003/00004": "long_label_line: SN003_au6.txt:4 '4,1,1'",
        "disfa/SN003/00005": "label_out_of_range: SN003_au9.txt:5 '5,1.5'",
        "disfa/SN003/00006": "no_label: frame 6 is not in SN003_au9.txt",
        "disfa/SN003/00007": "label_out_of_range: SN003_au12.txt:7 '7,6'",
        "disfa/SN003/00008": "label_out_of_range: SN003_au12.txt:8 '8,-1'",
    }


def test_a_line_that_names_no_frame_has_a_row_of_its_own(raw):
    film(raw)
    change_line(labels_file(raw, 26), 8, "eight,1")
    assert reasons(read(raw)) == {
        "disfa/SN003/00008": "no_label: frame 8 is not in SN003_au26.txt",
        "disfa/SN003_au26.txt:8": "label_not_a_number: SN003_au26.txt:8 'eight,1'",
    }


def test_a_line_twice_is_reported_and_a_contradiction_drops_the_frame(raw):
    film(raw)
    with labels_file(raw, 1).open("a") as file:
        file.write("2,0\n3,4\n")
    table = read(raw)
    assert reasons(table) == {
        "disfa/SN003/00003": "conflicting_label_lines: "
        "SN003_au1.txt:3 and SN003_au1.txt:10 differ on frame 3",
        "disfa/SN003_au1.txt:9": "duplicate_label_line: SN003_au1.txt:9 names frame 2 again",
        "disfa/SN003_au1.txt:10": "duplicate_label_line: SN003_au1.txt:10 names frame 3 again",
    }
    assert table.filter(sample_id="disfa/SN003/00002")["label_au1"].to_list() == [0]


def test_the_action_unit_comes_from_the_name_of_the_file(tmp_path):
    # in a listing au12 and au15 stand before au2: position would mix them up
    disfa_labels(
        tmp_path / "raw", "SN003", 2, lambda au, frame: {2: 1, 12: 2, 15: 3, 20: 4, 25: 5}.get(au, 0)
    )
    film(tmp_path / "raw", frames=2)
    row = read(tmp_path / "raw").row(0, named=True)
    assert [row[f"label_au{au}"] for au in (2, 12, 15, 20, 25, 1)] == [1, 2, 3, 4, 5, 0]


def test_a_missing_label_file_drops_the_frames_of_its_subject(raw):
    film(raw)
    labels_file(raw, 17).unlink()
    film(raw, "SN004")
    disfa_labels(raw, "SN004", 8)
    table = read(raw)
    assert counts(table) == {"no_label_file": 8}
    assert reasons(table)["disfa/SN003/00001"] == "no_label_file: SN003_au17.txt is missing"
    assert table.filter("keep")["subject"].unique().to_list() == ["SN004"]
    # and it never comes out as intensity 0, not even by the draw of frames without an active AU
    assert table.filter(subject="SN003")["label_au17"].null_count() == 8
    assert draw_no_au(table, share=0.0).filter(subject="SN003")["reason_code"].eq("no_label_file").all()


def test_label_files_that_are_empty_or_cannot_be_read_count_as_missing(raw):
    film(raw)
    labels_file(raw, 2).write_text("\n \n")
    labels_file(raw, 25).unlink()
    labels_file(raw, 25).symlink_to(labels_file(raw, 25))
    assert reasons(read(raw))["disfa/SN003/00008"] == (
        "no_label_file: SN003_au2.txt is empty, "
        "SN003_au25.txt cannot be read: Too many levels of symbolic links"
    )


def test_three_copies_of_a_label_file_are_told_apart(raw):
    film(raw)
    for copy in ("copy", "old/copy"):
        write(raw / "ActionUnit_Labels" / copy / "SN003_au1.txt", labels_file(raw, 1).read_bytes())
    table = read(raw)
    assert counts(table) == {"duplicate_label_line": 16} and table["keep"].sum() == 8
    assert "disfa/old/copy/SN003_au1.txt:8" in table["sample_id"]


def test_separators_line_ends_and_blank_lines_do_not_matter(raw):
    film(raw)
    labels_file(raw, 12).write_bytes(b"\xef\xbb\xbf" + b"\r\n\r\n".join(b"%d \t3" % n for n in range(1, 9)))
    table = read(raw)
    assert table["keep"].all() and table["label_au12"].to_list() == [3] * 8


def test_a_sound_subject_read_whole_has_the_labels_that_its_lines_give_one_by_one(raw, monkeypatch):
    for number in range(4, 11):
        disfa_labels(raw, f"SN{number:03}", 8, lambda au, frame: (au + frame) % 6)
    change_line(labels_file(raw, 9, "SN004"), 3, "4,1")
    labels_file(raw, 9, "SN005").write_text("\n".join(f"{frame},1" for frame in range(8, 0, -1)))
    change_line(labels_file(raw, 9, "SN006"), 8, None)
    change_line(labels_file(raw, 9, "SN007"), 8, "8,6")
    labels_file(raw, 9, "SN008").unlink()
    write(raw / "ActionUnit_Labels" / "copy" / "SN009_au1.txt", "2,0\n")
    labels_file(raw, 9, "SN010").write_bytes(
        labels_file(raw, 9, "SN010").read_bytes().replace(b"\n", b"\r\n")
    )
    files = list((raw / "ActionUnit_Labels").rglob("*.txt"))
    labels, strays = disfa_labels_reader.read(files)
    monkeypatch.setattr(disfa_labels_reader, "_sound", lambda *arguments: None)
    by_line, same_strays = disfa_labels_reader.read(files)
    order = ["subject", "frame"]
    assert labels.sort(order).equals(by_line.sort(order)) and strays.equals(same_strays)
    assert labels.filter(subject="SN003", frame=2)["label_line"].to_list() == ["SN003_au1.txt:2"]


# faulty frames


def test_frames_of_the_tracking_log_are_excluded_unless_asked_for(tmp_path):
    raw = tmp_path / "raw"
    disfa_labels(raw, "SN003", 5)
    film(raw, frames=5)
    faulty = {"SN003": [(2, 3), (5, 9)], "SN004": [(1, 1)]}
    assert read(raw, faulty=faulty)["keep"].to_list() == [True, False, False, True, False]
    assert told(read(raw, faulty=faulty))[1] == "faulty_frame: tracking log"
    assert read(raw, faulty=faulty, exclude_faulty=False)["keep"].all()
    assert read(raw)["keep"].all()


def test_the_tracking_log_is_that_of_disfa():
    log = """
        SN001 398-420, 3190-3243; SN002 800-826; SN004 4541-4555; SN006 1349-1405; SN009 1736-1808, 1851-1885;
        SN011 4529-4533, 4830-4845; SN021 574-616, 985-1164, 1190-1205, 1305-1338, 1665-1710, 1862-2477,
        2554-4657, 4710-4722; SN023 1021-1049, 3378-3557, 3584-3668, 4547-4621, 4741-4772, 4825-4845;
        SN025 4596-4662, 4816-4835; SN027 3461-3494, 4738-4785; SN028 1875-1885, 4571-4690; SN029 4090-4543;
        SN030 939-962, 1406-1422, 2100-2132, 2893-2955"""
    told = {
        entry.split()[0]: tuple((int(a), int(b)) for a, b in re.findall(r"(\d+)-(\d+)", entry))
        for entry in log.split(";")
    }
    assert told == FAULTY_FRAMES


# frames extracted before


@pytest.mark.parametrize(("first", "evidence"), [(0, "there is a frame 0"), (1, "the last label is 8")])
def test_extracted_frames_counted_from_0_or_1_meet_the_same_labels(raw, first, evidence):
    stills(raw, "SN003", range(first, first + 8))
    said = []
    table = read(raw, note=said.append)
    assert table["keep"].all() and table["frame"].to_list() == list(range(1, 9))
    assert table["content_hash"].to_list() == hash_files(
        [raw / "Frames" / "SN003" / f"{n:05}.png" for n in range(first, first + 8)]
    )
    assert table["origin"][0] == f"Frames/SN003/{first:05}.png (files counted from {first})"
    assert len(said) == 1 and evidence in said[0]


def test_frames_in_a_folder_named_like_their_film_belong_to_its_subject_and_strangers_are_told(raw):
    for number in range(1, 9):
        write(raw / "Bright" / "LeftVideoSN003_comp" / f"{number:05}.png", picture(number))
    write(raw / "previews" / "1.png", picture(9))
    said = []
    table = read(raw, note=said.append)
    assert table["keep"].all() and table.height == 8
    assert said[0] == "1 pictures and videos are left alone: no SN001 or the like in their names"
    with pytest.raises(RawDataError, match="no pictures of the right camera"):  # "Bright" is no camera
        read(raw, cameras=["right"])


def test_without_own_evidence_a_subject_counts_like_the_others(tmp_path):
    raw = tmp_path / "raw"
    for subject in ("SN003", "SN004"):
        disfa_labels(raw, subject, 8)
    stills(raw, "SN003", range(0, 8))
    stills(raw, "SN004", range(1, 6))  # frame 0 is lost, and so are the last ones
    assert read(raw).filter(subject="SN004").filter("keep")["frame"].to_list() == [2, 3, 4, 5, 6]


def test_numbering_without_evidence_is_an_error_that_a_setting_solves(raw):
    stills(raw, "SN003", [3, 4, 5])
    with pytest.raises(RawDataError, match=r"SN003 \(left camera, 3 to 5\).*set disfa.first_frame"):
        read(raw)
    assert read(raw, first_frame=0).filter("keep")["frame"].to_list() == [4, 5, 6]
    assert read(raw, first_frame=1).filter("keep")["frame"].to_list() == [3, 4, 5]
    with pytest.raises(ValueError, match="first_frame is 0 or 1"):
        disfa_pictures.decide({}, {}, 2, print)


def test_bad_extracted_frames_are_quarantined(raw):
    stills(raw, "SN003", [1, 2, 4, 8])
    write(raw / "Frames" / "SN003" / "00003.png", picture(3, noise=True)[:-200])
    write(raw / "Frames" / "SN003" / "00004.jpg", picture(4, form="JPEG"))
    write(raw / "Frames" / "SN003" / "thumbnail.png", picture(9))
    found = reasons(read(raw))
    assert found["disfa/SN003/00003"].startswith("truncated_image: ")
    assert (
        found["disfa/Frames/SN003/00004.png"]
        == "duplicate_frame: Frames/SN003/00004.png beside Frames/SN003/00004.jpg"
    )
    assert found["disfa/Frames/SN003/thumbnail.png"] == "no_frame_number: Frames/SN003/thumbnail.png"
    assert found["disfa/SN003/00005"] == (
        "no_frame: SN003_au1.txt:5 labels frame 5, Frames/SN003 does not have it"
    )
    assert sorted(found)[:3] and len(found) == 6  # and frames 6 and 7


def test_a_film_goes_before_extracted_frames_of_the_same_subject(raw):
    film(raw)
    stills(raw, "SN003", range(8))
    table = read(raw)
    assert table.height == 8 and table["origin"][0] == "LeftVideoSN003_comp.avi#1"


# a run that is killed

CHILD = """
import sys, time
from pathlib import Path
from curation.sources import disfa
from store.files import Files
from store.hashing import hash_files

class Stalling(Files):
    puts = 0
    def put(self, content, suffix):
        Stalling.puts += 1
        if Stalling.puts > 70:
            Path(sys.argv[2]).touch()
            time.sleep(600)
        return super().put(content, suffix)

raw = Path(sys.argv[1])
disfa.read(raw, Stalling(raw.parent / "files", "frames"), hash_files, raw.parent / "index")
"""


def test_killed_while_decoding_a_film_it_goes_on_to_the_same_table(tmp_path, monkeypatch):
    for place in ("killed", "undisturbed"):
        for subject in ("SN003", "SN004"):
            disfa_labels(tmp_path / place / "raw", subject, 50)
            film(tmp_path / place / "raw", subject, 50, shade=int(subject[2:]))
    home = tmp_path / "killed"
    stalled = tmp_path / "stalled"
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, home / "raw", stalled], cwd=Path(__file__).parents[3]
    )
    try:
        deadline = time.monotonic() + 120
        while not stalled.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert len(list((home / "index").glob("*.json"))) == 1, "the first film is done, the second is not"
    left = len(list((home / "files").rglob("*.png")))
    assert 50 < left < 100

    decoded, really = [], decoder._decoded
    monkeypatch.setattr(decoder, "_decoded", lambda *args: decoded.append(args[0].name) or really(*args))
    after = read(home / "raw")
    assert decoded == ["LeftVideoSN004_comp.avi"], "what was done stays done"
    assert after["keep"].all() and after.height == 100
    before = read(tmp_path / "undisturbed" / "raw")
    assert after.drop("path").equals(before.drop("path"))
    assert after["content_hash"].to_list() == hash_files(after["path"].to_list())


def test_a_film_replaced_while_it_is_decoded_is_not_remembered(raw):
    path = film(raw)
    content = path.read_bytes()
    other = video(raw.parent / "other.avi", 5, shade=9).read_bytes()

    def replaced_once_hashed(paths):
        found = hash_readable_files(paths)
        path.write_bytes(other)
        return found

    files, index = Files(raw.parent / "files", "frames"), raw.parent / "index"
    table = disfa.read(raw, files, replaced_once_hashed, index)
    assert told(table)[:5] == [f"changed_file: {path.name}"] * 5
    assert [text.partition(":")[0] for text in told(table)[5:]] == ["no_frame"] * 3
    assert "was replaced while it was decoded, run again" in told(table)[7]
    path.write_bytes(content)
    again = disfa.read(raw, files, hash_readable_files, index)
    assert again["keep"].all() and again.height == 8


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_stored_frame_that_is_damaged_is_made_again(raw, damage):
    film(raw)
    before = read(raw)
    frame = Path(before["path"][3])
    sound = frame.read_bytes()
    if damage == "gone":
        frame.unlink()
    else:
        frame.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert read(raw).equals(before) and frame.read_bytes() == sound


# the folder as a whole


def test_what_is_missing_as_a_whole_is_named(tmp_path, raw):
    with pytest.raises(RawDataError, match=r"no folder .*nowhere"):
        read(tmp_path / "nowhere")
    with pytest.raises(RawDataError, match=r"no pictures of the left camera in .*LeftVideoSN001_comp\.avi"):
        read(raw)
    film(raw)
    with pytest.raises(RawDataError, match="no pictures of the right camera"):
        read(raw, cameras=["left", "right"])
    with pytest.raises(ValueError, match="cameras are some of left, right"):
        read(raw, cameras=["middle"])
    for path in (raw / "ActionUnit_Labels" / "SN003").iterdir():
        path.write_text("\n")
    with pytest.raises(RawDataError, match=r"all label files .* are empty or unreadable"):
        read(raw)
    for path in (raw / "ActionUnit_Labels" / "SN003").iterdir():
        path.unlink()
    with pytest.raises(RawDataError, match=r"no label file named like SN001_au1\.txt in .*ActionUnit_Labels"):
        read(raw)


def test_a_name_that_is_no_text_is_quarantined_and_circles_of_links_end(raw):
    film(raw)
    stills(raw, "SN003", range(8))
    for name in (
        b"Frames/SN003/caf\xe9_00009.png",
        b"ActionUnit_Labels/SN003/\xe9/SN003_au1.txt",
        b"\xe9.md",
    ):
        odd = os.fsencode(raw) + b"/" + name
        os.makedirs(os.path.dirname(odd), exist_ok=True)
        with open(odd, "wb") as file:
            file.write(b"1,0")
    (raw / "Frames" / "up").symlink_to(raw)
    (raw / "Frames" / "self").symlink_to(raw / "Frames" / "self")
    assert reasons(read(raw)) == {
        f"disfa/{name}": f"unreadable_name: {name} is not valid text"
        for name in (r"Frames/SN003/caf\xe9_00009.png", r"ActionUnit_Labels/SN003/\xe9/SN003_au1.txt")
    }


@pytest.fixture(scope="module")
def untidy(tmp_path_factory):
    """Films, extracted frames, copies and every kind of bad line in one folder; its table."""
    raw = tmp_path_factory.mktemp("untidy") / "raw"
    for subject in ("SN003", "SN004", "SN010"):
        disfa_labels(raw, subject, 6, lambda au, frame: frame % 6 if au == 12 else 0)
    film(raw, frames=6)
    video(raw / "Video_LeftCamera" / "LeftVideoSN003_later.avi", 3)
    film(raw, "SN003", 5, side="Right", shade=80)
    stills(raw, "SN004", range(6))
    stills(raw, "SN004", [3], suffix=".jpg")
    stills(raw, "SN010", [1, 2, 5])
    (raw / "Again").symlink_to(raw / "Frames")
    change_line(labels_file(raw, 4), 4, "4,7")
    write(raw / "ActionUnit_Labels" / "old" / "SN003_au1.txt", "1,0\n2,3\n2,4\n")
    labels_file(raw, 9, "SN010").unlink()
    return raw, read(raw, cameras=["right", "left"])


@given(random=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_whatever_the_order_of_files_on_disk_the_table_is_the_same(untidy, random):
    raw, table = untidy
    with shuffled_disk(random):
        assert read(raw, cameras=["left", "right"]).equals(table)


def test_the_untidy_folder_has_something_of_everything(untidy):
    _, table = untidy
    assert set(counts(table)) == {
        "no_frame", "no_label_file", "duplicate_frame", "label_out_of_range", "duplicate_label_line",
        "conflicting_label_lines", "second_video",
    }  # fmt: skip
