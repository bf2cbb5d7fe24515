"""Thumbnails of what tables name, and of nothing else."""

import io

import pytest
from PIL import Image

from app import thumbnails
from app.thumbnails import NoPicture, Thumbnails, address


def test_a_picture_comes_shrunk_as_jpeg_and_is_made_once(store, tmp_path):
    shown = Thumbnails(store)
    content = shown.jpeg(96, "raw_affectnet", "faces/smile.png")
    picture = Image.open(io.BytesIO(content))
    assert picture.format == "JPEG" and picture.size == (96, 64)
    (tmp_path / "raw" / "faces" / "smile.png").unlink()
    assert shown.jpeg(96, "raw_affectnet", "faces/smile.png") is content


@pytest.mark.parametrize(
    ("side", "kind", "name"),
    [
        (96, "raw_affectnet", "../secret.png"),
        (96, "raw_affectnet", "faces/../../secret.png"),
        (96, "raw_affectnet", "/etc/hostname"),
        (96, "raw_affectnet", "list.csv"),
        (96, "raw_affectnet", "faces/absent.png"),
        (96, "raw_disfa", "faces/smile.png"),
        (96, "../../raw", "faces/smile.png"),
        (96, "generated", "smile.png"),
        (9999, "raw_affectnet", "faces/smile.png"),
    ],
)
def test_what_is_no_picture_of_the_home_is_not_served(store, tmp_path, side, kind, name):
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "raw" / "list.csv").write_text("a,b")
    with pytest.raises(NoPicture):
        Thumbnails(store).jpeg(side, kind, name)


def test_an_address_quotes_what_a_url_would_obey():
    assert address("raw_affectnet", "a b/ü#1,2?x") == "/picture/96/raw_affectnet/a%20b/%C3%BC%231%2C2%3Fx"
    assert address(None, None) is None and address("frames", None) is None
    assert thumbnails.SIDES[0] == 96
