"""inference.images: every kind of picture file comes out upright RGB, and every broken one is named."""

import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

import picture_files
from inference import images


@pytest.fixture
def halves():
    """Left half red, right half blue, 40 × 20."""
    picture = Image.new("RGB", (40, 20), "blue")
    picture.paste("red", (0, 0, 20, 20))
    return picture


def test_exif_orientation_is_applied(tmp_path, halves):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be shown turned by 90° clockwise
    halves.save(tmp_path / "turned.png", exif=exif)
    picture = images.load(tmp_path / "turned.png")
    assert picture.size == (20, 40)
    assert picture.getpixel((10, 5)) == (255, 0, 0) and picture.getpixel((10, 35)) == (0, 0, 255)


@pytest.mark.parametrize("mode, suffix", [("RGB", "png"), ("P", "png"), ("RGBA", "png"), ("CMYK", "tif")])
def test_colour_modes_become_the_same_rgb(tmp_path, halves, mode, suffix):
    path = tmp_path / f"picture.{suffix}"
    halves.convert(mode).save(path)
    assert np.array_equal(np.asarray(images.load(path)), np.asarray(halves))


def test_16_bit_grey_is_scaled_not_cut(tmp_path):
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    picture = images.load(tmp_path / "grey.png")
    assert picture.mode == "RGB"
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_white(tmp_path, mode):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode).save(tmp_path / "clear.png")
    assert np.asarray(images.load(tmp_path / "clear.png")).min() == 255


def test_a_palettes_transparent_entry_becomes_white(tmp_path):
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([9, 9, 9, 80, 90, 100])
    picture.putpixel((0, 0), 0)
    picture.save(tmp_path / "picture.gif", transparency=0)
    pixels = np.asarray(images.load(tmp_path / "picture.gif"))
    assert pixels[0, 0].tolist() == [255, 255, 255] and pixels[1, 1].tolist() == [80, 90, 100]


def test_size_squashes_and_a_region_is_cut_out_before(tmp_path, halves):
    halves.save(tmp_path / "wide.png")
    picture = images.load(tmp_path / "wide.png", size=10)
    assert picture.size == (10, 10)
    assert picture.getpixel((1, 5)) == (255, 0, 0) and picture.getpixel((8, 5)) == (0, 0, 255)
    part = picture_files.part_of(str(tmp_path / "wide.png"), picture_files.Region(15, 0, 20, 20))
    assert np.array_equal(np.asarray(images.load(part)), np.asarray(halves)[:, 15:35])
    assert images.load(part, size=20).getpixel((4, 5)) == (255, 0, 0)


def test_a_picture_of_the_size_wanted_is_not_touched():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    assert images.resized(picture, 64) is picture


def _bomb(path):
    """A PNG whose header claims 60,000 × 60,000 px."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


def _truncated(path):
    Image.effect_noise((64, 64), 90).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:600])


def _corrupt(path):
    Image.effect_noise((64, 64), 90).save(path, format="PNG")
    data = bytearray(path.read_bytes())
    data[60:200] = bytes(140)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "break_it",
    [
        _bomb,
        _truncated,
        _corrupt,
        lambda path: path.write_text("not a picture"),
        lambda path: path.write_bytes(b""),
        lambda path: path.mkdir(),
        lambda path: None,
    ],
    ids=["bomb", "truncated", "corrupt", "text", "empty", "folder", "missing"],
)
def test_a_broken_file_is_an_error_that_names_it(tmp_path, break_it):
    path = tmp_path / "picture.jpg"
    break_it(path)
    with pytest.raises(images.ImageError, match=r"picture\.jpg"):
        images.load(path)


def test_a_bad_disk_is_not_blamed_on_the_picture(tmp_path):
    for break_it, blamed in ((_truncated, True), (lambda path: path.mkdir(), False)):
        path = tmp_path / f"{blamed}.jpg"
        break_it(path)
        with pytest.raises(images.ImageError) as caught:
            images.load(path)
        assert isinstance(caught.value, images.ContentError) is blamed


@pytest.fixture
def shades(tmp_path):
    """Paths of grey pictures, shade n in the n-th."""
    paths = [tmp_path / f"{shade}.png" for shade in range(150)]
    for shade, path in enumerate(paths):
        Image.new("L", (8, 8), shade).save(path)
    return paths


def shade(picture):
    return picture.getpixel((0, 0))[0]


def test_a_file_that_changed_since_it_was_hashed_is_refused(shades):
    from store.hashing import hash_file

    hashes = [hash_file(path) for path in shades[:4]]
    shades[2].write_bytes(shades[9].read_bytes())
    with pytest.raises(images.ChangedError, match=r"2\.png: the file has changed"):
        images.load(shades[2], content_hash=hashes[2])
    found = list(images.read_ahead(shades[:4], list, 2, shade, content_hashes=hashes))
    assert found[:2] == [0, 1] and found[3] == 3 and isinstance(found[2], images.ChangedError)
    requests = [
        {"key": str(n), "path": str(path), "content_hash": one}
        for n, (path, one) in enumerate(zip(shades, hashes, strict=False))
    ]
    rows = list(images.rows_ahead(requests, lambda batch: [{"shade": one} for one in batch], 2, shade))
    assert rows[3] == {"key": "3", "shade": 3}
    assert rows[2]["key"] == "2" and rows[2]["changed"] and "has changed" in rows[2]["problem"]


@pytest.mark.parametrize("broken", [(), (0,), (3, 4, 149), tuple(range(40)), tuple(range(150))])
def test_reading_ahead_keeps_the_order_and_puts_an_error_in_its_place(shades, broken):
    for place in broken:
        shades[place].write_bytes(b"")
    sizes = []

    def read(batch):
        sizes.append(len(batch))
        return batch

    found = list(images.read_ahead(shades, read, 16, prepare=shade, workers=3))
    assert len(found) == 150
    for place, answer in enumerate(found):
        if place in broken:
            assert isinstance(answer, images.ContentError) and f"{place}.png" in str(answer)
        else:
            assert answer == place
    assert sum(sizes) == 150 - len(broken) and set(sizes[:-1]) <= {16}, "broken ones do not thin out batches"


def test_a_file_that_cannot_be_read_is_no_fault_of_its_content(shades):
    shades[9].unlink()
    with pytest.raises(images.ImageError, match=r"9\.png") as raised:
        list(images.read_ahead(shades, list, 16))
    assert not isinstance(raised.value, images.ContentError)


def test_reading_ahead_decodes_while_the_model_reads_but_not_without_bounds(shades):
    asked, answered = [], 0

    def prepare(picture):
        asked.append(shade(picture))
        return picture

    def read(batch):
        nonlocal answered
        answered += len(batch)
        deadline = time.monotonic() + 20
        while len(asked) < min(150, answered + 8) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert min(150, answered + 8) <= len(asked) <= answered + 16
        return batch

    assert len(list(images.read_ahead(shades, read, 8, prepare))) == 150


def test_reading_ahead_is_bounded_by_bytes_and_large_pictures_come_in_smaller_batches(tmp_path, monkeypatch):
    """Twenty pictures of 270 kB as RGB under a bound of 1 MB: three ahead, two in a batch; small ones by
    number."""
    for number in range(20):
        Image.new("RGB", (300, 300), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
    paths = sorted(tmp_path.glob("*.png"))
    prepared, seen, leads, batches = [], [], [], []

    def prepare(picture):
        prepared.append(picture)
        return picture

    def read(batch):
        batches.append(len(batch))
        return [picture.getpixel((0, 0))[0] for picture in batch]

    def run():
        prepared.clear(), seen.clear(), leads.clear(), batches.clear()
        for answer in images.read_ahead(paths, read, 8, prepare, workers=4):
            leads.append(len(prepared) - len(seen))
            seen.append(answer)

    run()
    assert seen == list(range(20)) and batches == [8, 8, 4]
    monkeypatch.setattr(images, "AHEAD_BYTES", 1_000_000)
    run()
    assert seen == list(range(20)) and set(batches) == {2}
    assert max(leads) <= 2 + 3, "a batch and what may lie decoded ahead of it"
    monkeypatch.setattr(images, "AHEAD_BYTES", 1)
    run()
    assert seen == list(range(20)) and set(batches) == {1}, "one at least, however large"


def test_a_model_that_wants_fewer_pixels_gets_them(tmp_path):
    random = np.random.default_rng(0)
    large = Image.fromarray(random.integers(0, 255, (20, 30, 3), dtype=np.uint8)).resize((1200, 800))
    large.save(tmp_path / "large.jpg", quality=95)
    large.resize((300, 200)).save(tmp_path / "small.jpg", quality=95)
    for side, sizes in ((None, [(1200, 800), (300, 200)]), (64, [(300, 200), (300, 200)])):
        paths = [tmp_path / "large.jpg", tmp_path / "small.jpg"]
        read = images.read_ahead(paths, lambda batch: [one.size for one in batch], 2, side=side)
        assert list(read) == sizes
    assert images.held_bytes({"pixels": np.zeros((3, 4), np.float32), "faces": 1}) == 48
