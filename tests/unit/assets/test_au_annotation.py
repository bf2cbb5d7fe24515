"""The stage au_annotation: group photographs, and what is said about who reads."""

from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest
from PIL import Image
from tiny_raw import picture, write

import facs
from assets.data_set import au_annotation
from inference import abilities, mediapipe
from inference.abilities import Reading
from store import Store
from store.hashing import hash_file


class Estimator:
    """A picture's red value is the second face's share of the largest one's area, in percent; 255:
    unknown."""

    name, fingerprint, batch_size, side = "m", "f", 4, None

    def prepare(self, picture):
        return picture

    def estimate(self, pictures):
        shares = [picture.getpixel((0, 0))[0] for picture in pictures]
        ones = (1.0,) * len(facs.COLUMNS)
        return [Reading(ones, 2, None, rival=None if share == 255 else share / 100) for share in shares]


def annotated(tmp_path, monkeypatch, rival, provider="mediapipe", shares=(0, 49, 50, 90, 255)):
    monkeypatch.setattr(abilities, "build", lambda ability, settings: Estimator())
    paths = [write(tmp_path / f"{share:03}.png", picture(share)) for share in shares]
    rows = [(path.stem, "folder", "raw_here", path.name, hash_file(path), True) for path in paths]
    names = ["sample_id", "source", "file_kind", "file", "content_hash", "keep"]
    estimator = SimpleNamespace(provider=provider, chosen={"provider": provider}, rival=rival)
    return au_annotation.au_annotation(
        dg.build_asset_context(),
        pl.DataFrame(rows, schema=names, orient="row"),
        store=Store(tmp_path / "home", {"raw_here": tmp_path}),
        profile=SimpleNamespace(au_estimator=estimator, chunk=8, engine=None),
    )


def test_a_photograph_with_a_second_face_nearly_as_large_is_dropped_if_the_profile_says_so(
    tmp_path, monkeypatch
):
    table = annotated(tmp_path, monkeypatch, rival=0.5).value
    assert dict(table.select("sample_id", "reason_code").iter_rows()) == {
        "000": None, "049": None, "050": "several_faces", "090": "several_faces", "255": None,
    }  # fmt: skip
    assert table["reason_detail"][3] == "2 faces, the second of 0.9 of the largest one's area"
    assert annotated(tmp_path, monkeypatch, rival=None).value["keep"].all(), "the largest is read"
    check = au_annotation.most_have_a_face(table, profile=SimpleNamespace(limits={"no_face": 0.1}))
    assert check.passed, "a rule is no missing face"


def test_what_an_estimator_does_not_see_is_said_where_it_labels(tmp_path, monkeypatch):
    said = annotated(tmp_path, monkeypatch, None).metadata["blind_spots"]
    assert "AU9 has no channel" in said and "crying is read as a smile" in said
    assert annotated(tmp_path, monkeypatch, None, "conv").metadata["blind_spots"] == "none known"


def test_the_second_largest_face_counts():
    assert mediapipe.rival([100.0]) == 0 and mediapipe.rival([10.0, 100.0, 50.0]) == 0.5


def test_mediapipe_sees_the_second_face_of_a_real_photograph():
    astronaut = Image.fromarray(pytest.importorskip("skimage.data").astronaut())
    pytest.importorskip("mediapipe")
    head = astronaut.crop((140, 0, 310, 170))
    group = Image.new("RGB", (900, 500), "grey")
    group.paste(head.resize((380, 380)), (10, 60))
    group.paste(head.resize((480, 480)), (410, 10))
    alone, two = mediapipe.MediaPipe().estimate([astronaut, group])
    assert (alone.faces, alone.rival) == (1, 0)
    assert two.faces == 2 and two.rival == pytest.approx((380 / 480) ** 2, abs=0.15)
