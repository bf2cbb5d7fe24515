"""Every odd kind of picture, from the raw readers to the RGB picture that models see."""

import struct
import zlib
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_raw import disfa_labels, picture, shuffled_disk, write
from told import TOLD, counts

from curation.sources import disfa, folder
from inference import images
from store.files import Files
from store.hashing import hash_files

RED, BLUE = (200, 30, 20), (20, 40, 180)


def halves():
    """Left half red, right half blue, 40 × 20."""
    content = Image.new("RGB", (40, 20), BLUE)
    content.paste(RED, (0, 0, 20, 20))
    return content


def saved(image, form, **options):
    content = BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 8  # stored lying, to be shown turned by 90° the other way round
    return saved(halves().transpose(Image.Transpose.ROTATE_270), "JPEG", exif=exif, quality=95, subsampling=0)


def png(width, height, depth, colour, data):
    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def sixteen_bits():
    """As a scanner writes it: 16 bits a channel, which Pillow cannot write itself."""
    values = (np.asarray(halves()).astype(">u2") * 257).tobytes()
    rows = [b"\0" + values[start : start + 240] for start in range(0, len(values), 240)]
    return png(40, 20, 16, 2, b"".join(rows))


def animated(form):
    return saved(halves(), form, save_all=True, append_images=[Image.new("RGB", (40, 20), "white")] * 2)


SEEN = {
    "cmyk.jpg": saved(halves().convert("CMYK"), "JPEG", quality=95, subsampling=0),
    "cmyk.tif": saved(halves().convert("CMYK"), "TIFF"),
    "sixteen.png": sixteen_bits(),
    "animated.gif": animated("GIF"),
    "animated.png": animated("PNG"),
    "animated.webp": animated("WEBP"),
    "turned.jpg": turned(),
}
"""Kept, and seen as the 40 × 20 picture of two halves."""

BAD = {
    "empty.jpg": (b"", "empty_file"),
    "cut.jpg": (picture(1, 64, 64, "JPEG", noise=True)[:900], "truncated_image"),
    "text.png": (b"<html>404</html>", "not_a_picture"),
    "bomb.png": (png(60_000, 60_000, 8, 0, b"\0" * 999), "too_many_pixels"),
}


def by_name(table):
    return {path.rsplit("/", 1)[1]: (keep, reason) for path, keep, reason in table}


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    """A folder with one picture of every kind."""
    place = tmp_path_factory.mktemp("portraits")
    for name, content in SEEN.items():
        write(place / name, content)
    for name, (content, _) in BAD.items():
        write(place / "deep" / name, content)
    write(place / "deep" / "text.txt", "A man.")
    (place / "deep" / "loop").symlink_to(place)
    return place


@pytest.fixture(scope="module")
def disfa_tree(tmp_path_factory):
    """The same pictures as extracted frames of one subject, from 1."""
    place = tmp_path_factory.mktemp("disfa") / "raw"
    disfa_labels(place, "SN003", len(SEEN) + len(BAD))
    for number, (name, content) in enumerate([*SEEN.items(), *BAD.items()], start=1):
        content = content if isinstance(content, bytes) else content[0]
        write(place / "Frames" / "SN003" / f"{name.replace('.', f'_{number:05}.')}", content)
    return place


def read_disfa(place):
    return disfa.read(place, Files(place.parent / "files", "frames"), hash_files, place.parent / "index")


def test_from_a_folder_what_cannot_be_seen_is_quarantined_and_all_else_kept(portraits):
    found = by_name(folder.read(portraits, hash_files).select("path", "keep", TOLD).iter_rows())
    for name in SEEN:
        assert found[name] == (True, None)
    for name, (_, code) in BAD.items():
        keep, reason = found[name]
        assert not keep and reason.startswith(f"{code}: {portraits}/deep/{name}: ")


def test_from_disfa_what_cannot_be_seen_is_quarantined_and_all_else_kept(disfa_tree):
    table = read_disfa(disfa_tree)
    assert table["keep"].to_list() == [True] * len(SEEN) + [False] * len(BAD)
    assert list(counts(table)) == sorted(code for _, code in BAD.values())


@pytest.mark.parametrize("name", SEEN)
def test_what_is_kept_is_seen_upright_in_its_colours_at_the_size_the_table_says(portraits, name):
    row = folder.read(portraits, hash_files).filter(sample_id=f"folder/{name}").row(0, named=True)
    seen = images.load(row["path"])
    assert seen.mode == "RGB" and seen.size == (row["width"], row["height"]) == (40, 20)
    difference = np.asarray(seen).astype(int) - np.asarray(halves())
    assert np.abs(difference[:, [5, 34]]).max() <= 12  # JPEG and palettes are not exact


def test_sixteen_bits_of_grey_are_scaled_not_clipped_to_white(tmp_path):
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for name in ("grey.png", "grey.tif"):
        Image.fromarray(values).save(tmp_path / name)
        assert np.abs(np.asarray(images.load(tmp_path / name))[..., 0].ravel() - np.arange(256)).max() <= 1


@given(random=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_whatever_the_order_of_files_on_disk_the_tables_are_the_same(portraits, disfa_tree, random):
    before = folder.read(portraits, hash_files), read_disfa(disfa_tree)
    with shuffled_disk(random):
        after = folder.read(portraits, hash_files), read_disfa(disfa_tree)
    assert all(one.equals(other) for one, other in zip(before, after, strict=True))
    assert before[0].filter(~pl.col("keep")).height == len(BAD)
