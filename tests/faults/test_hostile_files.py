"""Files that a raw folder may well hold and that no reader may trip over, hang on or misread."""

import os
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from PIL import Image
from tiny_raw import affectnet, affectnet_line, change_line, disfa_labels, picture, write
from told import told

import picture_files
from curation import probing
from curation.frames import RawDataError
from curation.sources import affectnet as affectnet_reader
from curation.sources import disfa, folder, texts
from inference import images
from store import HashCache, Store
from store.files import Files
from store.hashing import hash_file, hash_readable_files


def read_folder(place):
    return {row["origin"]: row for row in folder.read(place, hash_readable_files).iter_rows(named=True)}


def reasons(rows):
    return {name: row["reason_code"] for name, row in rows.items()}


# sizes


def test_a_side_that_opencv_cannot_hold_is_refused_before_any_model_sees_it(tmp_path):
    """At 32,767 px MediaPipe aborts the whole process: 65500 × 300 is no more pixels than a photograph's."""
    Image.new("RGB", (65_500, 300)).save(tmp_path / "strip.jpg", quality=10)
    Image.new("L", (picture_files.MAX_SIDE, 2)).save(tmp_path / "longest.png")
    rows = read_folder(tmp_path)
    assert reasons(rows) == {"strip.jpg": "too_many_pixels", "longest.png": None}
    assert rows["strip.jpg"]["reason_detail"].endswith("strip.jpg: 65500x300")
    with pytest.raises(images.ContentError, match=r"strip\.jpg: 65500x300 px is implausibly large"):
        images.load(tmp_path / "strip.jpg")


def test_header_and_decoder_have_one_limit(tmp_path, monkeypatch):
    path = write(tmp_path / "a.png", picture(width=20, height=10))
    monkeypatch.setattr(picture_files, "MAX_PIXELS", 199)
    assert probing.probe(path).reason_code == "too_many_pixels"
    with pytest.raises(images.ContentError, match="20x10 px is implausibly large"):
        images.load(path)


# formats


def test_heic_as_telephones_write_it_is_read(tmp_path):
    import pillow_heif

    pillow_heif.register_heif_opener()
    values = np.zeros((48, 64, 3), np.uint8)
    values[:, :32] = (200, 30, 20)
    Image.fromarray(values).save(tmp_path / "IMG_0001.HEIC", quality=95)
    row = read_folder(tmp_path)["IMG_0001.HEIC"]
    assert row["keep"] and (row["width"], row["height"]) == (64, 48)
    seen = np.asarray(images.load(row["path"]))
    assert np.abs(seen[:, 2:30].astype(int) - values[:, 2:30]).max() < 20


def test_pictures_of_formats_that_are_not_read_are_rows_with_a_reason(tmp_path):
    for name in ("a.jxl", "b.svg", "c.EPS", "d.psd", "e.dng"):
        write(tmp_path / "deep" / name, b"whatever")
    write(tmp_path / "good.jpg", picture(form="JPEG"))
    rows = read_folder(tmp_path)
    assert reasons(rows).pop("good.jpg") is None and len(rows) == 6
    assert {code for name, code in reasons(rows).items() if name != "good.jpg"} == {"unsupported_format"}


def test_an_eps_under_another_name_runs_no_other_program(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.check_call", lambda *given, **more: pytest.fail("ran Ghostscript"))
    path = write(
        tmp_path / "a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(images.ContentError):
        images.load(path)
    assert reasons(read_folder(tmp_path)) == {"a.jpg": "not_a_picture"}


# what is no regular file


@pytest.mark.timeout(20)
def test_pipes_and_devices_are_named_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    write(tmp_path / "good.jpg", picture(form="JPEG"))
    os.mkfifo(tmp_path / "good.txt")
    for hash_files in (hash_readable_files, HashCache(Store(tmp_path.parent / "home")).hash_readable_files):
        rows = {row["origin"]: row for row in folder.read(tmp_path, hash_files).iter_rows(named=True)}
        assert reasons(rows) == {
            "good.jpg": None,
            "pipe.jpg": "unreadable_file",
            "zero.png": "unreadable_file",
        }
        assert rows["pipe.jpg"]["reason_detail"].endswith("pipe.jpg: not a regular file")
        assert rows["good.jpg"]["caption_fault"] == "good.txt: not a regular file"
    for use in (hash_file, picture_files.read, images.load):
        with pytest.raises((OSError, images.ImageError), match="not a regular file"):
            use(tmp_path / "pipe.jpg")


@pytest.mark.timeout(20)
def test_a_label_file_that_is_a_pipe_costs_its_subject_only(tmp_path):
    for subject in ("SN001", "SN002"):
        disfa_labels(tmp_path / "raw", subject, 3)
        for number in range(1, 4):
            write(tmp_path / "raw" / subject / f"{number:05}.png", picture(number))
    path = tmp_path / "raw" / "ActionUnit_Labels" / "SN002" / "SN002_au9.txt"
    path.unlink()
    os.mkfifo(path)
    table = read_disfa(tmp_path)
    assert table.group_by("subject").agg(pl.col("keep").all()).sort("subject")["keep"].to_list() == [
        True,
        False,
    ]
    assert (
        table["reason_detail"].drop_nulls().str.contains("SN002_au9.txt cannot be read: not a regular").all()
    )


# captions


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_sidecar_is_read_in_the_encoding_that_it_names(tmp_path, encoding):
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    write(tmp_path / "a.txt", mark + "Zoë,\r\n  smiling ".encode(encoding))
    assert texts.caption(tmp_path / "a.txt") == "Zoë, smiling"


def test_a_sidecar_that_is_no_caption_is_none_and_says_why(tmp_path):
    for name, content in {
        "nameless16": "a man".encode("utf-16-le"),
        "long": b"word " * 2_000_000,
        "fits": b"a" * texts.MAX_CAPTION_BYTES,
    }.items():
        write(tmp_path / f"{name}.jpg", picture(form="JPEG"))
        write(tmp_path / f"{name}.txt", content)
    rows = read_folder(tmp_path)
    assert all(row["keep"] for row in rows.values()), "a model may still caption them"
    assert rows["nameless16.jpg"]["caption_fault"] == "nameless16.txt: NUL characters, no text"
    assert (
        rows["long.jpg"]["caption_fault"] == "long.txt: 10,000,000 bytes, more than the 16,384 of a caption"
    )
    assert rows["nameless16.jpg"]["raw_caption"] is None is rows["long.jpg"]["raw_caption"]
    assert len(rows["fits.jpg"]["raw_caption"]) == texts.MAX_CAPTION_BYTES


# lists


def list_in(tmp_path, change, header=True):
    raw = affectnet(
        tmp_path,
        [affectnet_line("1/a.jpg"), affectnet_line("1/b.jpg")],
        pictures={"1/a.jpg": picture(1), "1/b.jpg": picture(2)},
    )
    path = raw / "Manually_Annotated_file_lists" / "training.csv"
    lines = path.read_text().splitlines(keepends=True)[0 if header else 1 :]
    path.write_bytes(change("".join(lines)))
    return affectnet_reader.read(raw, hash_readable_files)


def quoted(text):
    cells = ([f'"{cell}"' for cell in line.split(",")] for line in text.splitlines())
    return "".join(",".join(line) + "\n" for line in cells)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        str,
        quoted,
        lambda text: text.replace(",", "\t"),
        lambda text: quoted(text).replace(",", "\t"),
        lambda text: "\ufeff" + text,
    ],
    ids=["plain", "quotes", "tabs", "quotes and tabs", "byte order mark"],
)
def test_lists_with_quotes_or_tabs_are_read_as_those_without(tmp_path, change, header):
    table = list_in(tmp_path, lambda text: change(text).encode(), header)
    assert table["keep"].all() and table.height == 2
    assert table.select("sample_id", "face_width", "valence").row(1) == ("affectnet/1/b.jpg", 10.0, 0.5)
    assert table["landmarks"][0].startswith("0.5;0.25;")


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda text: text.replace(",", ";").encode(), "semicolons between its cells"),
        (lambda text: text.encode("utf-16"), "UTF-16, not UTF-8: iconv -f UTF-16 -t UTF-8"),
        (lambda text: text.encode("utf-16-le"), "UTF-16, not UTF-8"),
    ],
    ids=["semicolons", "utf-16", "utf-16 without a mark"],
)
def test_a_list_that_cannot_be_read_is_one_error_not_a_row_a_line(tmp_path, change, error, header):
    with pytest.raises(RawDataError, match=error):
        list_in(tmp_path, change, header)


# DISFA's labels


def read_disfa(tmp_path, **options):
    raw = tmp_path / "raw"
    return disfa.read(
        raw, Files(tmp_path / "files", "frames"), hash_readable_files, tmp_path / "index", **options
    )


def label_tree(tmp_path, frames=5, subjects=("SN001",)):
    for subject in subjects:
        disfa_labels(tmp_path / "raw", subject, frames, lambda au, frame: frame % 6 if au == 12 else 0)
        for number in range(1, frames + 1):
            write(tmp_path / "raw" / subject / f"{number:05}.png", picture(number))
    return sorted((tmp_path / "raw" / "ActionUnit_Labels").rglob("*.txt"))


@pytest.mark.parametrize("number", ["1000000000", "99999999999999999999", "1e300"])
def test_a_label_line_of_an_impossible_frame_is_a_row_and_stops_nothing(tmp_path, number):
    change_line(label_tree(tmp_path)[0], 2, f"{number},0")
    table = read_disfa(tmp_path)
    assert table["keep"].sum() == 4
    dropped = told(table.filter(~pl.col("keep")))
    assert f"frame_out_of_range: SN001_au1.txt:2 '{number},0'" in dropped
    assert "no_label: frame 2 is not in SN001_au1.txt" in dropped


def test_label_files_counted_from_0_are_an_error_unless_the_profile_says_so(tmp_path):
    """Read as they are, frame n would carry the label of frame n + 1, and nothing would show it."""
    expected = None
    for path in label_tree(tmp_path):
        lines = [line.split(",") for line in path.read_text().splitlines()]
        if expected is None:
            expected = read_disfa(tmp_path)
        path.write_text("".join(f"{int(frame) - 1},{value}\n" for frame, value in lines))
    with pytest.raises(
        RawDataError, match=r"12 label files of SN001 .* from 0 \(SN001_au1.txt:1\).*first_label: 0"
    ):
        read_disfa(tmp_path)
    assert read_disfa(tmp_path, first_label=0).equals(expected)


def test_said_to_count_from_0_label_files_that_do_not_are_an_error_too(tmp_path):
    label_tree(tmp_path)
    with pytest.raises(RawDataError, match="no label file in ActionUnit_Labels names frame 0"):
        read_disfa(tmp_path, first_label=0)


def test_one_bad_line_of_frame_0_is_a_row(tmp_path):
    change_line(label_tree(tmp_path)[0], 1, "0,0")
    table = read_disfa(tmp_path)
    assert "frame_out_of_range: SN001_au1.txt:1 '0,0'" in told(table.filter(~pl.col("keep")))


# shrinking


def test_a_large_picture_is_shrunk_while_it_is_decoded_and_a_small_one_is_untouched():
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 255, (25, 37, 3), dtype=np.uint8))
    large = coarse.resize((1480, 1000), Image.Resampling.BICUBIC)
    for form in ("JPEG", "PNG"):
        content = BytesIO()
        large.save(content, form, **({"quality": 95} if form == "JPEG" else {}))
        data = content.getvalue()
        whole = picture_files.decode(data)
        assert whole.size == (1480, 1000)
        assert picture_files.decode(data, side=251).size == (1480, 1000), "below four times the side"
        half, eighth = picture_files.decode(data, side=250), picture_files.decode(data, side=60)
        assert half.size == (740, 500) and eighth.size == (185, 125)
        near = np.asarray(whole.resize((185, 125), Image.Resampling.BOX)).astype(int)
        assert np.abs(np.asarray(eighth) - near).mean() < 2
        part = picture_files.decode(data, picture_files.Region(480, 0, 1000, 1000), side=100)
        assert part.size == (250, 250), "the part is what counts"
    assert [picture_files.shrinking(side, 224) for side in (447, 895, 896, 1792, 3584, 4000)] == [
        1,
        1,
        2,
        4,
        8,
        8,
    ]


@pytest.mark.parametrize("size", [(1499, 1001), (1501, 999), (1497, 1003)])
@pytest.mark.parametrize("turned", [1, 6])
def test_sides_that_no_factor_divides_are_shrunk_as_far_as_was_forecast(tmp_path, size, turned):
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 255, (13, 19, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = turned
    path = tmp_path / "a.jpg"
    coarse.resize(size, Image.Resampling.BICUBIC).save(path, quality=95, exif=exif)
    data = path.read_bytes()
    whole = picture_files.decode(data)
    for side, factor in ((240, 2), (120, 4), (60, 8)):
        shrunk = picture_files.decode(data, side=side)
        assert shrunk.size == tuple(-(-length // factor) for length in whole.size)
        assert picture_files.decoded_bytes(path, side) == 3 * shrunk.width * shrunk.height + len(data)
        part = picture_files.decode(data, picture_files.Region(304, 208, 600, 608), side=side // 2)
        assert part.size == (600 // factor, 608 // factor)
        cut = whole.crop((304, 208, 904, 816)).resize(part.size, Image.Resampling.BOX)
        # turned, the incomplete blocks come first: what is seen lies less than a pixel off
        assert np.abs(np.asarray(part).astype(int) - np.asarray(cut)).mean() < (1 if turned == 1 else 8)
