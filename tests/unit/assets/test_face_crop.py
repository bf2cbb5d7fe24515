"""The stage face_crop: pictures as they are or the square around the face, and the way to the original."""

from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image
from told import told

import facs
from assets.data_set import face_crop as stage_file
from assets.data_set.captions import captions
from assets.data_set.face_crop import COLUMNS, face_crop
from assets.data_set.resolution import resolution
from assets.data_set.training_set import training_set
from curation import frames
from curation.frames import LABELS
from inference import abilities
from inference.abilities import Face
from settings.profile import Crop, Split
from store import Store
from store.hashing import hash_file

SIZE = (100, 80)


class Settings:
    """The parts of a profile that the stage reads."""

    def __init__(self, min_side=8, **crop):
        self.crop = Crop(**crop)
        self.resolution = SimpleNamespace(min_side=min_side)
        self.limits = {"no_face": 0.25}


class Detector:
    """Finds the white rectangle; remembers how many pictures it saw."""

    name, fingerprint = "rectangles", "white"
    seen = 0

    def find(self, pictures):
        Detector.seen += len(pictures)
        return [self._one(np.asarray(picture)[..., 0] > 250) for picture in pictures]

    def _one(self, white):
        rows, columns = white.any(axis=1).nonzero()[0], white.any(axis=0).nonzero()[0]
        if not len(rows):
            return Face(None, None, None, None, 0)
        return Face(columns[0], rows[0], len(columns), len(rows), 1)


@pytest.fixture
def detector(monkeypatch):
    monkeypatch.setattr(Detector, "seen", 0)
    monkeypatch.setattr(abilities, "build", lambda ability, settings: Detector())
    return Detector


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


def source(folder, name, *boxes, **columns):
    """A frames table of pictures with a white rectangle each, (x, y, width, height); None: all grey."""
    rows = []
    for index, box in enumerate(boxes):
        picture = Image.new("RGB", SIZE, (90, 90, index))
        if box is not None:
            picture.paste("white", (box[0], box[1], box[0] + box[2], box[1] + box[3]))
        path = folder / f"{name}{index}.png"
        picture.save(path)
        found = dict(zip(("face_x", "face_y", "face_width", "face_height"), box or (), strict=False))
        listed = found if name == "affectnet" else {}
        rows.append(
            {"sample_id": f"{name}/{index}", "path": str(path), "content_hash": hash_file(path), **listed}
        )
    table = pl.DataFrame(rows).with_columns(
        pl.lit(name).alias("source"), width=SIZE[0], height=SIZE[1], keep=pl.lit(True), **columns
    )
    return frames.finished(table)


NONE = frames.finished([])


def crop(store, settings, affectnet=NONE, disfa=NONE, folder=NONE):
    result = face_crop(
        dg.build_asset_context(),
        raw_affectnet=affectnet,
        raw_disfa=disfa,
        raw_folder=folder,
        store=store,
        profile=settings,
    )
    return result.value, result.metadata


def test_off_every_row_is_its_original_and_nothing_is_opened(store, tmp_path):
    affectnet = source(tmp_path, "affectnet", (10, 10, 20, 20), None)
    disfa = source(tmp_path, "disfa", None, subject=pl.lit("SN001"))
    for path in tmp_path.glob("*.png"):
        path.unlink()
    dropped = affectnet.tail(1).with_columns(keep=pl.lit(False), reason_code=pl.lit("missing_file"))
    table, metadata = crop(store, Settings(), pl.concat([affectnet.head(1), dropped]), disfa)
    assert table.columns == list(COLUMNS) and table["keep"].all()
    assert table["sample_id"].to_list() == ["affectnet/0", "disfa/0"]
    assert table["path"].equals(table["original_path"]) and table["width"].to_list() == [100, 100]
    assert table["content_hash"].equals(table["original_hash"])
    assert "model_calls" not in metadata and not store.home.exists()


def test_affectnet_is_cut_around_the_box_of_its_list(store, tmp_path):
    boxes = (10, 20, 20, 10), (0, 0, 4, 4), None
    affectnet = source(tmp_path, "affectnet", *boxes)
    disfa = source(tmp_path, "disfa", (30, 30, 20, 20))
    table, metadata = crop(store, Settings(min_side=25, affectnet="box", margin=0.25), affectnet, disfa)
    cut, small, boxless, whole = table.iter_rows(named=True)
    assert (cut["crop_x"], cut["crop_y"], cut["crop_side"]) == (5, 10, 30)
    assert (cut["width"], cut["height"], cut["keep"]) == (30, 30, True)
    with Image.open(cut["path"]) as picture, Image.open(cut["original_path"]) as original:
        assert np.array_equal(np.asarray(picture), np.asarray(original.crop((5, 10, 35, 40))))
    assert cut["content_hash"] == hash_file(cut["path"]) == Path(cut["path"]).stem != cut["original_hash"]
    assert Path(cut["path"]).is_relative_to(store.home)
    assert small["reason_detail"] == "face crop of 6 px < 25 px" and small["reason_code"] == "too_small"
    assert small["path"] == small["original_path"]
    assert boxless["reason_detail"] == "a number is missing" and boxless["reason_code"] == "no_face_box"
    assert whole["path"] == whole["original_path"] and whole["keep"] and whole["crop_side"] is None
    assert len(list(store.home.rglob("*.png"))) == 1 and "model_calls" not in metadata


def test_disfa_is_cut_around_the_face_that_the_detector_finds(store, tmp_path, detector):
    disfa = source(tmp_path, "disfa", (40, 30, 20, 10), None, (40, 30, 20, 10))
    settings = Settings(disfa="detector", margin=0.5)
    table, metadata = crop(store, settings, disfa=disfa)
    assert table["crop_side"].to_list() == [40, None, 40] and table["faces"].to_list() == [1, 0, 1]
    assert told(table) == [None, "no_face", None]
    assert table.select("model", "fingerprint").unique().rows() == [("rectangles", "white")]
    assert (metadata["model_calls"], metadata["reused"]) == (3, 0)

    again, metadata = crop(store, settings, disfa=disfa)
    assert again.equals(table) and detector.seen == 3
    assert (metadata["model_calls"], metadata["reused"]) == (0, 3)


def test_another_margin_cuts_again_but_asks_no_detector(store, tmp_path, detector):
    folder = source(tmp_path, "folder", (40, 30, 20, 10))
    small, _ = crop(store, Settings(folder="detector", margin=0), folder=folder)
    large, metadata = crop(store, Settings(folder="detector", margin=0.5), folder=folder)
    assert (small["width"][0], large["width"][0]) == (20, 40)
    assert detector.seen == 1 and (metadata["model_calls"], metadata["reused"]) == (0, 1)


def test_each_picture_is_decoded_once(store, tmp_path, detector, monkeypatch):
    from inference import images

    loaded, load = [], images.load
    monkeypatch.setattr(images, "load", lambda path, *more: loaded.append(path) or load(path, *more))
    disfa = source(tmp_path, "disfa", *[(40, 30, 20, 10)] * 3)
    monkeypatch.setattr(stage_file.pictures, "sheets", lambda table: {})
    for _ in range(2):
        crop(store, Settings(disfa="detector"), disfa=disfa)
    assert sorted(loaded) == disfa["path"].to_list()


def test_a_picture_that_does_not_decode_is_quarantined_and_one_content_twice_is_cut_once(
    store, tmp_path, detector
):
    disfa = source(tmp_path, "disfa", (40, 30, 20, 10), (40, 30, 20, 12), (40, 30, 20, 14))
    good, bad, copy = (Path(path) for path in disfa["path"])
    bad.write_bytes(bad.read_bytes()[:90])
    copy.write_bytes(good.read_bytes())
    disfa = disfa.with_columns(content_hash=pl.Series([hash_file(path) for path in (good, bad, copy)]))
    table, _ = crop(store, Settings(disfa="detector"), disfa=disfa)
    assert table["keep"].to_list() == [True, False, True] and detector.seen == 1
    assert told(table)[1].startswith(f"corrupt_image: {bad}: ")
    assert table["path"][0] == table["path"][2] and table["original_path"][2] == str(copy)


def test_a_lost_crop_is_cut_again(store, tmp_path, detector):
    disfa = source(tmp_path, "disfa", (40, 30, 20, 10), (50, 30, 20, 10))
    before, _ = crop(store, Settings(disfa="detector"), disfa=disfa)
    Path(before["path"][1]).unlink()
    after, _ = crop(store, Settings(disfa="detector"), disfa=disfa)
    assert after.equals(before) and hash_file(after["path"][1]) == after["content_hash"][1]
    assert detector.seen == 2


def test_later_stages_see_the_crop_and_manual_labels_stay_with_it(store, tmp_path, detector):
    affectnet = source(tmp_path, "affectnet", (10, 20, 20, 10), (0, 0, 4, 4))
    disfa = source(tmp_path, "disfa", (40, 30, 20, 10), None, subject=pl.lit("SN001"), label_au12=pl.lit(3.0))
    disfa = disfa.with_columns(pl.col(LABELS).fill_null(0.0))
    settings = Settings(min_side=20, affectnet="box", disfa="detector", margin=0.25)
    settings.resolution.inclusive, settings.corrections = True, SimpleNamespace(recipe="paper")
    settings.captions, settings.split, settings.chunk = SimpleNamespace(provider="sidecar"), Split(), 8
    table, _ = crop(store, settings, affectnet, disfa)
    crops = dict(table.filter("keep").select("sample_id", "path").iter_rows())
    assert set(crops) == {"affectnet/0", "disfa/0"} and not set(crops.values()) & set(disfa["path"])

    large = resolution(face_crop=table, profile=settings).value
    assert large.select("path", "width", "keep").rows() == [(crops["affectnet/0"], 30, True)]
    words = captions(
        dg.build_asset_context(),
        au_corrections=large.clear(),
        face_crop=table,
        raw_folder=NONE,
        store=store,
        profile=settings,
    ).value
    assert words["path"].to_list() == [crops["disfa/0"]]
    done = training_set(
        dg.build_asset_context(),
        au_corrections=large.clear().with_columns(pl.lit(0.0).alias(name) for name in facs.COLUMNS),
        raw_disfa=disfa,
        raw_folder=NONE,
        face_crop=table,
        captions=words.with_columns(keep=pl.lit(True), caption=pl.lit("a face")),
        store=store,
        profile=settings,
    ).value
    (row,) = done.iter_rows(named=True)
    assert (row["path"], row["au12"], row["subject"]) == (crops["disfa/0"], 3.0, "SN001")
    assert row["content_hash"] == hash_file(row["path"])


def test_many_without_a_face_warn_and_none_with_one_stops():
    some, most = stage_file.some_have_a_face, stage_file.most_have_a_face_to_crop
    table = pl.DataFrame({"keep": [True, True, False], "reason_code": [None, None, "too_small"]})
    assert some(table).passed and most(table, profile=Settings()).passed
    faceless = table.with_columns(keep=pl.lit(False), reason_code=pl.lit("no_face"))
    assert not some(faceless).passed and not most(faceless, profile=Settings()).passed
