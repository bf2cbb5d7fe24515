"""Probing pictures, quarantine, the frames table, counts by reason."""

import os
import struct
import zlib
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from tiny_raw import picture, write
from told import told

from curation import frames, probing
from reasons import Reason
from store.hashing import hash_files, hash_readable_files
from store.store import Store


def test_a_sound_picture_has_its_size_and_no_problem(tmp_path):
    for form, suffix in (
        ("PNG", ".png"),
        ("JPEG", ".JPG"),
        ("BMP", ".bmp"),
        ("TIFF", ".TIF"),
        ("WEBP", ".webp"),
    ):
        path = write(tmp_path / f"a{suffix}", picture(form=form))
        assert probing.probe(path) == probing.Probe(16, 12, None)


def test_the_size_is_that_of_the_picture_as_seen(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (16, 12)).save(tmp_path / "a.jpg", exif=exif)
    assert probing.probe(tmp_path / "a.jpg") == probing.Probe(12, 16, None)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP"])
def test_a_cut_off_picture_is_found_by_its_end(tmp_path, form):
    content = picture(noise=True, width=64, height=64, form=form)
    found = probing.probe(write(tmp_path / "a", content[: len(content) * 2 // 3]))
    assert found.width == 64 and found.reason_code == "truncated_image"


def corrupt_png() -> bytes:
    """Header and end are sound, the compressed pixels are not."""
    content = bytearray(picture(noise=True, width=64, height=64))
    content[60] ^= 0xFF
    return bytes(content)


def test_only_headers_are_read(tmp_path, monkeypatch):
    """What is wrong behind a header a model stage finds: tests/faults/test_corrupt_pictures.py."""
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (16, 12)).save(tmp_path / "turned.png", exif=exif)
    files = [write(tmp_path / "corrupt.png", corrupt_png()), tmp_path / "turned.png"]
    files += [
        write(tmp_path / form, picture(form=form)) for form in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
    ]
    for module in ("ImageFile.ImageFile", "PngImagePlugin.PngImageFile", "WebPImagePlugin.WebPImageFile"):
        monkeypatch.setattr(f"PIL.{module}.load", lambda picture: pytest.fail(f"{picture.format} decoded"))
    sizes = [(64, 64), (12, 16)] + [(16, 12)] * 6
    assert [probing.probe(path) for path in files] == [probing.Probe(*size, None) for size in sizes]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_bytes_after_the_end_do_no_harm(tmp_path, form):
    path = write(tmp_path / "a", picture(form=form) + b"\0" * 9)
    assert probing.probe(path) == probing.Probe(16, 12, None)


def test_each_kind_of_bad_file_has_its_code(tmp_path):
    cases = {
        "missing_file": tmp_path / "none.png",
        "empty_file": write(tmp_path / "empty.jpg", b""),
        "not_a_picture": write(tmp_path / "text.jpg", b"<html>404 not found</html>"),
        "corrupt_image": write(tmp_path / "bits.png", corrupt_png() + b"more"),
        "unreadable_file": tmp_path,
    }
    for code, path in cases.items():
        assert probing.probe(path).reason_code == code


def test_a_decompression_bomb_is_refused_undecoded(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side, said in ((11_000, "11000x11000"), (60_000, "more than")):
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        (found,) = probing.probe_files([write(tmp_path / "bomb.png", bomb + chunk(b"IEND", b""))])
        assert found.reason_code == "too_many_pixels" and said in found.reason_detail


def test_many_files_are_probed_in_order(tmp_path):
    paths = [write(tmp_path / f"{i}.png", picture(i, width=i + 1)) for i in range(20)]
    assert [found.width for found in probing.probe_files(paths, workers=4)] == list(range(1, 21))


def rows_of(paths: list[Path]) -> pl.DataFrame:
    return pl.DataFrame({"path": [str(path) for path in paths]}).with_columns(frames.KEPT)


def test_pictures_get_hash_and_size_and_bad_ones_are_quarantined_by_path(tmp_path):
    good, bad = write(tmp_path / "a.png", picture()), write(tmp_path / "b.png", picture(noise=True)[:-200])
    rows = rows_of([good, bad]).vstack(
        rows_of([good]).with_columns(keep=False, reason_code=pl.lit("short_line"), reason_detail=pl.lit("x"))
    )
    found = probing.with_pictures(rows, hash_files)
    assert found["content_hash"].to_list() == [*hash_files([good, bad]), None]
    assert found["keep"].to_list() == [True, False, False]
    assert told(found)[1].startswith(f"truncated_image: {bad}: ")
    assert told(found)[2] == "short_line: x"


def test_with_a_memo_content_probed_before_is_not_decoded_again(tmp_path, monkeypatch):
    def probe():
        memo = Store(tmp_path / "home").memo("probes", probing.SCHEMA)
        paths = sorted((tmp_path / "raw").iterdir())
        return probing.with_pictures(rows_of(paths), hash_files, memo)

    write(tmp_path / "raw" / "a.png", picture(1))
    write(tmp_path / "raw" / "b.png", picture(2, noise=True)[:-200])
    first = probe()
    for name in ("a.png", "b.png"):
        (tmp_path / "raw" / name).rename(tmp_path / "raw" / f"new_{name}")
    monkeypatch.setattr(probing, "probe_files", lambda paths: pytest.fail(f"decoded {paths} again"))
    second = probe()
    assert first["width"].to_list() == second["width"].to_list() == [16, 16]
    assert "/new_b.png: " in told(second)[1]  # the reason names today's file


def test_an_unreadable_file_does_not_stop_the_others(tmp_path):
    paths = [write(tmp_path / f"{i}.png", picture(i)) for i in range(9)]
    paths[4] = tmp_path / "gone.png"

    found = probing.with_pictures(rows_of(paths), hash_readable_files)
    assert found["keep"].to_list() == [i != 4 for i in range(9)]
    assert told(found)[4] == f"unreadable_file: {paths[4]}: No such file or directory"


def test_no_picture_at_all_needs_no_hashing():
    found = probing.with_pictures(rows_of([]), lambda paths: pytest.fail("hashed nothing"))
    assert found.is_empty() and found["width"].dtype == pl.Int64


def test_the_first_reason_stays():
    rows = pl.DataFrame({"n": [1, 2, 3]}).with_columns(
        keep=pl.lit(True),
        reason_code=pl.lit(None, dtype=pl.String),
        reason_detail=pl.lit(None, dtype=pl.String),
    )
    rows = frames.quarantine(rows, pl.col("n") > 1, Reason.LINK, "first")
    rows = frames.quarantine(rows, pl.col("n") > 2, Reason.NO_FACE, pl.col("n").cast(pl.String))
    assert told(rows) == [None, "link: first", "link: first"]


def test_a_finished_table_has_the_schema_and_is_sorted():
    part = pl.DataFrame(
        {"sample_id": ["b", "a"], "keep": [True, False], "reason_code": [None, "no_label"], "other": [1, 2]}
    )
    table = frames.finished([part, part.with_columns(sample_id=pl.lit("c") + pl.col("sample_id"))])
    assert table.schema == frames.SCHEMA
    assert table["sample_id"].to_list() == ["a", "b", "ca", "cb"]
    assert frames.finished([]).schema == frames.SCHEMA


def test_a_table_with_an_id_twice_or_a_mute_drop_is_a_readers_error():
    part = pl.DataFrame({"sample_id": ["a", "a"], "keep": [True, True]})
    with pytest.raises(ValueError, match="not unique"):
        frames.finished(part)
    with pytest.raises(ValueError, match="without a reason"):
        frames.finished(pl.DataFrame({"sample_id": ["a"], "keep": [False]}))


def test_reasons_are_counted_with_an_example():
    table = pl.DataFrame(
        {
            "sample_id": ["a", "d", "c", "b"],
            "keep": [True, False, False, False],
            "reason_code": [None, "too_small", "no_label", "too_small"],
        }
    )
    assert frames.counts_by_reason(table).rows() == [("too_small", 2, "b"), ("no_label", 1, "c")]
    assert frames.counts_by_reason(table.head(1)).is_empty()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_unreadable(tmp_path):
    path = write(tmp_path / "a.png", picture())
    path.chmod(0)
    assert probing.probe(path).reason_code == "unreadable_file"


@pytest.mark.parametrize("other", ["truncated", "larger", "gone"])
@pytest.mark.parametrize("remembers", [True, False])
def test_what_is_seen_of_a_file_replaced_after_hashing_is_not_remembered(tmp_path, other, remembers):
    memo = Store(tmp_path / "home").memo("probes", probing.SCHEMA) if remembers else None
    content = picture(1, noise=True)
    paths = [write(tmp_path / "raw" / name, content) for name in ("a.png", "b.png")]
    paths.append(write(tmp_path / "raw" / "c.png", picture(2)))

    def replace_first(asked):
        found = hash_readable_files(asked)
        if other == "gone":
            paths[0].unlink(missing_ok=True)
        else:
            paths[0].write_bytes(content[:-200] if other == "truncated" else picture(3, width=40))
        return found

    first = probing.with_pictures(rows_of(paths), replace_first, memo)
    assert told(first) == [f"changed_file: {paths[0]}", f"changed_file: {paths[1]}", None]
    assert first["width"].to_list() == [None, None, 16]
    paths[0].write_bytes(content)
    again = probing.with_pictures(rows_of(paths), hash_readable_files, memo)
    assert again["keep"].all() and again["width"].to_list() == [16, 16, 16]
