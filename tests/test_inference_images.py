"""inference.images: every kind of picture file comes out upright RGB, and every broken one is named."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

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


def test_size_takes_the_central_square(tmp_path, halves):
    halves.save(tmp_path / "wide.png")
    picture = images.load(tmp_path / "wide.png", size=10)
    assert picture.size == (10, 10)
    assert picture.getpixel((1, 5)) == (255, 0, 0) and picture.getpixel((8, 5)) == (0, 0, 255)


def test_a_picture_of_the_size_wanted_is_not_touched():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    assert images.square(picture, 64) is picture


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


def test_sound_pictures_are_loaded_beside_broken_ones(tmp_path):
    for name in ("a", "c"):
        Image.new("L", (8, 8), ord(name)).save(tmp_path / f"{name}.png")
    _truncated(tmp_path / "b.png")
    pictures, broken = images.load_sound([tmp_path / f"{name}.png" for name in "abc"])
    assert [picture.getpixel((0, 0))[0] for picture in pictures] == [ord("a"), ord("c")]
    assert list(broken) == [1] and "b.png: " in str(broken[1])
    with pytest.raises(images.ImageError, match="gone"):
        images.load_sound([tmp_path / "a.png", tmp_path / "gone.png"])


def test_load_many_keeps_the_order(tmp_path):
    paths = []
    for shade in range(150):
        paths.append(tmp_path / f"{shade}.png")
        Image.new("L", (8, 8), shade).save(paths[-1])
    shades = [picture.getpixel((0, 0))[0] for picture in images.load_many(paths, workers=3)]
    assert shades == list(range(150))
    assert images.as_array(images.load_many(paths[:5], size=4)).shape == (5, 4, 4, 3)


def test_stream_decodes_no_further_ahead_than_told(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    asked = []

    def paths():
        for index in range(100):
            asked.append(index)
            yield tmp_path / "0.png"

    pictures = images.stream(paths(), ahead=7)
    next(pictures)
    assert len(asked) <= 8
    pictures.close()


def test_load_many_raises_for_the_first_broken_file(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("x")
    with pytest.raises(images.ImageError, match=r"bad\.png"):
        images.load_many([tmp_path / "good.png", tmp_path / "bad.png"])
