"""The stage face_crop: what later stages see of a picture, and the way to the original."""

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
from inference import abilities, images
from inference.abilities import Face
from settings.profile import Framing, Rendered, SidecarCaptions, Split
from store import Store
from store.hashing import hash_file

SIZE = (100, 80)


class Settings:
    """The parts of a profile that the stage reads."""

    def __init__(self, min_side=8, affectnet="squash", disfa="squash", folder="squash", **more):
        self.framing = Framing(affectnet=affectnet, disfa=disfa, folder=folder, **more)
        self.resolution = SimpleNamespace(min_side=min_side)
        self.limits, self.chunk, self.engine = {"no_face": 0.25, "cut_faces": 0.1}, 8, None


class Detector:
    """Finds the white rectangle; remembers how many pictures it saw."""

    name, fingerprint, batch_size, side = "rectangles", "white", 2, None
    seen = 0

    def prepare(self, picture):
        return picture

    def find(self, pictures):
        Detector.seen += len(pictures)
        return [self._one(np.asarray(picture)[..., 0] > 250) for picture in pictures]

    def _one(self, white):
        rows, columns = (np.nonzero(white.any(axis=axis))[0] for axis in (1, 0))
        if not len(rows):
            return Face(None, None, None, None, 0)
        height, width = white.shape
        return Face(columns[0] / width, rows[0] / height, len(columns) / width, len(rows) / height, 1)


@pytest.fixture
def detector(monkeypatch):
    monkeypatch.setattr(Detector, "seen", 0)
    monkeypatch.setattr(abilities, "build", lambda ability, settings: Detector())
    return Detector


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home", {"raw_here": tmp_path})


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
        raw_affectnet=store.named(affectnet),
        raw_disfa=store.named(disfa),
        raw_folder=store.named(folder),
        raw_rendered=store.named(NONE),
        store=store,
        profile=settings,
    )
    return result.value, result.metadata


def test_squashed_every_row_is_its_original_and_nothing_is_opened(store, tmp_path):
    affectnet = source(tmp_path, "affectnet", (10, 10, 20, 20), None)
    disfa = source(tmp_path, "disfa", None, subject=pl.lit("SN001"))
    for path in tmp_path.glob("*.png"):
        path.unlink()
    dropped = affectnet.tail(1).with_columns(keep=pl.lit(False), reason_code=pl.lit("missing_file"))
    table, metadata = crop(store, Settings(), pl.concat([affectnet.head(1), dropped]), disfa)
    assert table.columns == list(COLUMNS) and table["keep"].all()
    assert table["sample_id"].to_list() == ["affectnet/0", "disfa/0"]
    assert table["file"].equals(table["original_file"]) and table["width"].to_list() == [100, 100]
    assert table["content_hash"].equals(table["original_hash"])
    assert "model_calls" not in metadata and not store.home.exists()


def test_affectnet_is_framed_around_the_box_of_its_list_and_its_size_stays_the_originals(store, tmp_path):
    affectnet = source(tmp_path, "affectnet", (10, 20, 20, 10), (0, 0, 4, 4))
    disfa = source(tmp_path, "disfa", (30, 30, 20, 20))
    table, metadata = crop(store, Settings(affectnet="face", margin=0.25), affectnet, disfa)
    cut, small, whole = table.iter_rows(named=True)
    assert (cut["crop_x"], cut["crop_y"], cut["crop_side"]) == (5, 10, 30)
    assert (cut["width"], cut["height"], cut["keep"], cut["face_inside"]) == (100, 80, True, 1.0)
    assert cut["file"] == f"{cut['original_file']}#xywh=5,10,30,30"
    with Image.open(tmp_path / cut["original_file"]) as original:
        expected = np.asarray(original.crop((5, 10, 35, 40)))
    assert np.array_equal(np.asarray(images.load(store.locate(cut["file_kind"], cut["file"]))), expected)
    assert cut["content_hash"] != cut["original_hash"] == hash_file(tmp_path / cut["original_file"])
    assert small["crop_side"] == 8, "no smaller than the smallest picture"
    assert whole["file"] == whole["original_file"] and whole["keep"] and whole["crop_side"] is None
    assert (cut["framing"], whole["framing"]) == ("face", "squash")
    assert "model_calls" not in metadata and not store.home.exists()


def test_without_a_box_the_largest_face_that_the_detector_finds_counts(store, tmp_path, detector):
    disfa = source(tmp_path, "disfa", (40, 30, 20, 10), None, (40, 30, 20, 12))
    affectnet = source(tmp_path, "affectnet", (40, 30, 20, 10), None)
    settings = Settings(disfa="face", affectnet="face", margin=0.5)
    table, metadata = crop(store, settings, affectnet, disfa)
    assert table["crop_side"].to_list() == [40, None, 40, None, 40]
    assert table["faces"].to_list() == [None, 0, 1, 0, 1], "of a listed box nobody is asked"
    assert table["reason_code"].to_list() == [None, "no_face", None, "no_face", None]
    assert table.tail(3).select("model", "fingerprint").unique().rows() == [("rectangles", "white")]
    assert (metadata["model_calls"], metadata["reused"]) == (3, 0), "two are one content"

    again, metadata = crop(store, settings, affectnet, disfa)
    assert again.equals(table) and detector.seen == 3
    assert (metadata["model_calls"], metadata["reused"]) == (0, 3)


def test_another_margin_frames_again_but_asks_no_detector(store, tmp_path, detector):
    folder = source(tmp_path, "folder", (40, 30, 20, 10))
    small, _ = crop(store, Settings(folder="face", margin=0), folder=folder)
    large, metadata = crop(store, Settings(folder="face", margin=0.5), folder=folder)
    assert (small["crop_side"][0], large["crop_side"][0]) == (20, 40)
    assert small["content_hash"][0] != large["content_hash"][0]
    assert detector.seen == 1 and (metadata["model_calls"], metadata["reused"]) == (0, 1)


def test_a_picture_that_does_not_decode_is_quarantined(store, tmp_path, detector):
    disfa = source(tmp_path, "disfa", (40, 30, 20, 10), (40, 30, 20, 12), (40, 30, 20, 14))
    bad = Path(disfa["path"][1])
    bad.write_bytes(bad.read_bytes()[:90])
    disfa = disfa.with_columns(content_hash=pl.Series([hash_file(path) for path in disfa["path"]]))
    table, _ = crop(store, Settings(disfa="face"), disfa=disfa)
    assert table["keep"].to_list() == [True, False, True] and detector.seen == 2
    assert told(table)[1].startswith("corrupt_image: ")


def test_faces_that_the_framing_cuts_are_counted(store, tmp_path):
    """The box of the second picture lies at its left edge, outside the central square from 10 to 90."""
    affectnet = source(tmp_path, "affectnet", (40, 30, 20, 20), (0, 30, 20, 20), None)
    table, metadata = crop(store, Settings(affectnet="centre"), affectnet)
    assert table["face_inside"].to_list() == [1.0, 0.5, None]
    found = stage_file.faces_are_whole(table, profile=Settings())
    assert not found.passed
    assert [found.metadata[name].value for name in ("cut", "with_a_box", "without_a_box", "share")] == [
        1, 2, 1, 0.5,
    ]  # fmt: skip
    assert "| affectnet | centre | 3 | 2 | 1 | 0.5 |" in metadata["framings"].md_str
    whole, _ = crop(store, Settings(affectnet="squash"), affectnet)
    assert stage_file.faces_are_whole(whole, profile=Settings()).passed


def test_all_later_stages_see_the_same_part_and_manual_labels_stay_with_it(store, tmp_path, detector):
    affectnet = source(tmp_path, "affectnet", (10, 20, 20, 10))
    disfa = source(tmp_path, "disfa", (40, 30, 20, 10), None, subject=pl.lit("SN001"), label_au12=pl.lit(3.0))
    disfa = disfa.with_columns(pl.col(LABELS).fill_null(0.0))
    settings = Settings(min_side=20, affectnet="face", disfa="face", margin=0.25)
    settings.resolution.inclusive, settings.corrections = True, SimpleNamespace(recipe="paper")
    settings.captions, settings.split = SidecarCaptions(provider="sidecar"), Split()
    settings.au_estimator, settings.rendered = SimpleNamespace(provider="conv"), Rendered()
    table, _ = crop(store, settings, affectnet, disfa)
    seen = dict(table.filter("keep").select("sample_id", "file").iter_rows())
    assert set(seen) == {"affectnet/0", "disfa/0"} and all("#xywh=" in path for path in seen.values())

    large = resolution(face_crop=table, store=store, profile=settings).value
    assert large.select("file", "width", "keep").rows() == [(seen["affectnet/0"], 100, True)]
    words = captions(
        dg.build_asset_context(),
        au_annotation=large.clear(),
        face_crop=table,
        raw_folder=store.named(NONE),
        raw_rendered=store.named(NONE),
        store=store,
        profile=settings,
    ).value
    assert words["file"].to_list() == [seen["disfa/0"]]
    done = training_set(
        dg.build_asset_context(),
        au_corrections=large.clear().with_columns(pl.lit(0.0).alias(name) for name in facs.COLUMNS),
        raw_disfa=store.named(disfa),
        raw_folder=store.named(NONE),
        raw_rendered=store.named(NONE),
        face_crop=table,
        captions=words.with_columns(keep=pl.lit(True), caption=pl.lit("a face")),
        store=store,
        profile=settings,
    ).value
    (row,) = done.iter_rows(named=True)
    assert (row["file"], row["au12"], row["subject"]) == (seen["disfa/0"], 3.0, "SN001")
    assert images.load(store.locate(row["file_kind"], row["file"]), 16).size == (16, 16)


def test_many_without_a_face_warn_and_none_with_one_stops():
    some, most = stage_file.some_have_a_face, stage_file.most_have_a_face_to_crop
    table = pl.DataFrame({"keep": [True, True, False], "reason_code": [None, None, "corrupt_image"]})
    assert some(table).passed and most(table, profile=Settings()).passed
    faceless = table.with_columns(keep=pl.lit(False), reason_code=pl.lit("no_face"))
    assert not some(faceless).passed and not most(faceless, profile=Settings()).passed
