"""AffectNet-7/8 and AffectNet+: crops with their labels beside them."""

import json
import os
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_raw import picture, shuffled_disk, write
from told import TOLD, told

from curation import frames, probing
from curation.frames import RawDataError
from curation.sources import affectnet as source
from store.hashing import hash_files

POINTS = np.arange(136, dtype=np.float64) / 2


def read(folder, min_side=16):
    return source.read(folder, hash_files, min_side=min_side)


def array(value: object, pickled: bool = False) -> bytes:
    content = BytesIO()
    np.save(content, np.array(value, dtype=object if pickled else None), allow_pickle=pickled)
    return content.getvalue()


def crop(folder, number: int, split="train_set", **labels):
    """One crop of AffectNet-7/8; the release keeps its numbers as text."""
    values = {"exp": "3", "val": "-0.5", "aro": "0.25", "lnd": POINTS} | labels
    write(folder / split / "images" / f"{number}.jpg", picture(number, 224, 224, "JPEG"))
    for name, value in values.items():
        if value is not None:
            content = value if isinstance(value, bytes) else array(value)
            write(folder / split / "annotations" / f"{number}_{name}.npy", content)


def test_crops_and_their_arrays_become_frames(tmp_path):
    crop(tmp_path, 0)
    crop(tmp_path, 10, exp=np.int64(7), val=np.float32(0.5), aro="-2", lnd=POINTS.reshape(68, 2))
    crop(tmp_path, 0, "val_set", exp=np.array(["1"]))
    table = read(tmp_path, 224)
    assert table["sample_id"].to_list() == [
        "affectnet/train_set/images/0.jpg",
        "affectnet/train_set/images/10.jpg",
        "affectnet/val_set/images/0.jpg",
    ]
    assert table.schema == frames.SCHEMA and table["keep"].all()
    assert table.select("expression", "valence", "arousal").rows() == [
        (3, -0.5, 0.25),
        (7, 0.5, None),
        (1, -0.5, 0.25),
    ]
    assert table["landmarks"].to_list() == [";".join(map(str, POINTS.tolist()))] * 3
    assert set(table["width"]) == set(table["height"]) == {224} and table["face_x"].null_count() == 3


def test_bad_labels_are_quarantined_by_their_file(tmp_path):
    crop(tmp_path, 0)
    crop(tmp_path, 1, exp=None)
    crop(tmp_path, 2, val=b"\x93NUMPY\x01\x00garbage")
    crop(tmp_path, 3, aro=array("0.5", pickled=True))
    crop(tmp_path, 4, exp="11")
    crop(tmp_path, 5, val="high")
    crop(tmp_path, 6, exp=None, val=None, aro=None, lnd=None)
    crop(tmp_path, 7, lnd=b"")
    (tmp_path / "train_set/images/8.jpg").unlink(missing_ok=True)
    write(tmp_path / "train_set/annotations/8_exp.npy", array("1"))
    table = read(tmp_path)
    found = {origin.rpartition("/")[2]: reason for origin, reason in table.select("origin", TOLD).iter_rows()}
    assert found.pop("0.jpg") is None
    expected = {
        "1.jpg": "no_label: train_set/annotations/1_aro.npy and its neighbours lack expression",
        "2.jpg": "unreadable_label: train_set/annotations/2_val.npy: ",
        "3.jpg": "unreadable_label: train_set/annotations/3_aro.npy: pickled objects are not read",
        "4.jpg": "out_of_range: train_set/images/4.jpg expression '11'",
        "5.jpg": "not_a_number: train_set/images/5.jpg valence 'high'",
        "6.jpg": "no_label: for train_set/images/6.jpg",
        "7.jpg": "unreadable_label: train_set/annotations/7_lnd.npy: ",
        "8_exp.npy": "missing_file: no picture for train_set/annotations/8_exp.npy",
    }
    assert found.keys() == expected.keys()
    for name, reason in expected.items():
        assert found[name].startswith(reason)


def test_names_that_are_no_text_keep_their_row(tmp_path):
    crop(tmp_path, 0)
    images = tmp_path / "train_set" / "images"
    os.rename(write(images / "odd", picture(1)), os.fsencode(images) + b"/caf\xe9.jpg")
    assert told(read(tmp_path)) == [
        None,
        "unreadable_name: train_set/images/caf\\xe9.jpg is not valid text",
    ]


@pytest.mark.parametrize("place", ["{split}/images/{n}.jpg {split}/annotations/{n}.json", "{n}.jpg {n}.json"])
@pytest.mark.parametrize("nested", [True, False])
def test_affectnet_plus_is_read_from_its_documents(tmp_path, place, nested):
    more = {"Valence": 0.5, "Arousal": -0.25, "landmarks": POINTS.reshape(68, 2).tolist(), "age": 30}
    document = {"human-label": 6, "soft-label": [0.1] * 8} | ({"metadata": more} if nested else more)
    for number in range(2):
        image, label = place.format(split="train_set", n=number).split()
        write(tmp_path / image, picture(number, 224, 224, "JPEG"))
        write(tmp_path / label, json.dumps(document))
    table = read(tmp_path)
    assert table["keep"].all() and table.height == 2
    assert table.select("expression", "valence", "arousal").row(0) == (6, 0.5, -0.25)
    assert table["landmarks"][0].split(";") == [str(value) for value in POINTS.tolist()]


def test_documents_without_labels_are_quarantined(tmp_path):
    documents = [
        "{}",
        "[1]",
        "{cut" + "[" * 9999,
        json.dumps({"human-label": 1, "valence": 0, "arousal": None}),
    ]
    for number, document in enumerate(documents):
        write(tmp_path / f"images/{number}.jpg", picture(number))
        write(tmp_path / f"annotations/{number}.json", document)
    reasons = told(read(tmp_path))
    assert reasons[0].startswith("no_label: annotations/0.json and its neighbours lack expression, valence")
    assert reasons[1] == "unreadable_label: annotations/1.json holds no mapping"
    assert reasons[2].startswith("unreadable_label: annotations/2.json: ")
    assert reasons[3] == "not_a_number: images/3.jpg arousal 'None'"


@pytest.mark.parametrize(
    ("files", "release"),
    [
        (["train_set/images/0.jpg", "train_set/annotations/0_exp.npy"], "AffectNet-7/8"),
        (["val_set/images/0.jpg"], "AffectNet-7/8"),
        (
            ["human_annotated/train_set/images/0.jpg", "human_annotated/train_set/annotations/0.json"],
            r"AffectNet\+",
        ),
        (["train_set/0.jpg", "train_set/0.json"], r"AffectNet\+"),
    ],
)
def test_a_side_that_no_crop_has_is_refused_with_the_reason(tmp_path, files, release, monkeypatch):
    for name in files:
        write(tmp_path / name, b"{}")
    monkeypatch.setattr(probing, "with_pictures", lambda *rest: pytest.fail("looked at pictures"))
    with pytest.raises(
        RawDataError, match=rf"is {release}: .*224x224 crops.*minimum side of 225 px.*2017 release.*min_side"
    ):
        read(tmp_path, 225)


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    place = tmp_path_factory.mktemp("crops")
    for number in range(6):
        crop(place, number)
    return place


@given(random=st.randoms(use_true_random=False))
@settings(max_examples=5, deadline=None)
def test_whatever_the_order_of_files_on_disk_the_table_is_the_same(crops, random):
    before = read(crops)
    with shuffled_disk(random):
        assert read(crops).equals(before)
    assert before.select(pl.col("keep").all()).item()
