"""The training set as an asset: pictures hashed once, the same picture in one split, pairs shown."""

from datetime import UTC, datetime
from types import SimpleNamespace

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image

import stages
from assets.data_set import corrections, training_set
from curation import overrides
from curation.frames import LABELS, finished
from facs import COLUMNS
from inference.perceptual import PerceptualHash
from miniature.faces import draw_identity, draw_shot, render
from settings.profile import Rendered, Split
from store import Store
from store.hashing import hash_file

SPLIT = {"validation": 0.25, "test": 0.25, "seed": 0}
LABELLER = SimpleNamespace(provider="mediapipe")
PROFILE = SimpleNamespace(
    chunk=8, engine=None, split=Split(**SPLIT, looks_within=16), au_estimator=LABELLER, rendered=Rendered()
)


@pytest.fixture
def samples(tmp_path) -> pl.DataFrame:
    """Ten faces from the web, and each again as the frame of a video of its own: smaller, as JPEG."""
    rows = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        picture = Image.fromarray(render(draw_identity(rng), draw_shot(rng), np.zeros(12), (96, 96)))
        web, frame = tmp_path / f"{seed}.png", tmp_path / f"{seed}.jpg"
        picture.save(web)
        picture.resize((64, 64)).save(frame, quality=80)
        rows += [
            (f"affectnet/{seed}", "affectnet", None, "raw_folder", web.name, hash_file(web)),
            (f"disfa/SN00{seed}/1", "disfa", f"SN00{seed}", "raw_folder", frame.name, hash_file(frame)),
        ]
    names = ("sample_id", "source", "subject", "file_kind", "file", "content_hash")
    table = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row").sort("sample_id")
    return table.with_columns(
        caption=pl.lit("a face"),
        keep=pl.lit(True),
        reason_code=pl.lit(None, dtype=pl.String),
        reason_detail=pl.lit(None, dtype=pl.String),
    )


def materialised(samples: pl.DataFrame, store: Store, profile=PROFILE) -> dg.MaterializeResult:
    web, frames = samples.filter(source="affectnet"), samples.filter(source="disfa")
    return training_set.training_set(
        dg.build_asset_context(),
        web.drop("subject").with_columns(pl.lit(1.0).alias(column) for column in COLUMNS),
        frames.with_columns(pl.lit(2.0).alias(label) for label in LABELS),
        finished([]),
        finished([]),
        samples,
        samples,
        store=store,
        profile=profile,
    )


def test_what_a_person_says_is_the_label_of_photographs_and_frames(samples, tmp_path):
    store = Store(tmp_path / "home", {"raw_folder": tmp_path})
    for sample, said in (("affectnet/1", "AU4=4.5"), ("disfa/SN001/1", "AU6=0")):
        row = overrides.override(sample, "training_set", said, "Ada", "seen", datetime.now(UTC))
        store.append("overrides", row)
    result = materialised(samples, store)
    table = result.value
    assert table.filter(pl.col("overruled").is_not_null())["sample_id"].to_list() == [
        "affectnet/1",
        "disfa/SN001/1",
    ]
    photograph, frame = table.filter(sample_id="affectnet/1"), table.filter(sample_id="disfa/SN001/1")
    assert (photograph["au4"][0], photograph["au6"][0]) == (4.5, 1.0)
    assert (frame["au6"][0], frame["au4"][0]) == (0.0, 2.0)
    assert result.metadata["overruled"] == 2
    assert not stages.named("training_set").complaints(table)


def test_a_copy_in_another_split_is_dropped_and_each_pair_is_shown(samples, tmp_path):
    store = Store(tmp_path / "home", {"raw_folder": tmp_path})
    result = materialised(samples, store)
    table = result.value
    frames = table.filter(source="disfa")
    assert frames["duplicate_of"].to_list() == [f"affectnet/{seed}" for seed in range(10)]
    assert frames["duplicate_by"].unique().to_list() == ["perceptual"]
    assert table.filter(source="affectnet")["keep"].all()
    assert 0 < frames["keep"].sum() < 10
    assert "| disfa | affectnet | perceptual | True |" in result.metadata["duplicates"].value
    assert "data:image/png;base64" in result.metadata["sheet_duplicates"].value
    assert "AU9 has no channel" in result.metadata["blind_spots"]
    for check in dg.load_asset_checks_from_modules([training_set]):
        asked = (
            "no_lookalike_in_two_splits",
            "every_split_has_samples",
            "rendered_reach_their_share",
        )
        given = {"profile": PROFILE} if check.check_key.name in asked else {}
        assert check(table, **given).passed or check.check_key.name == "every_split_has_samples"


def test_pictures_are_hashed_once(samples, tmp_path, monkeypatch):
    store = Store(tmp_path / "home", {"raw_folder": tmp_path})
    first = materialised(samples, store).value
    monkeypatch.setattr(PerceptualHash, "prepare", lambda *_: pytest.fail("hashed again"))
    assert materialised(samples, store).value.equals(first)


def test_without_comparison_by_look_no_picture_is_read(samples, tmp_path):
    profile = SimpleNamespace(
        chunk=8,
        engine=None,
        split=Split(**SPLIT, looks_within=None),
        au_estimator=LABELLER,
        rendered=Rendered(),
    )
    gone = samples.with_columns(path=pl.lit("/nowhere/") + pl.col("sample_id"))
    result = materialised(gone, Store(tmp_path / "home", {"raw_folder": tmp_path}), profile)
    assert result.value["keep"].all() and result.metadata["duplicates"] == "none"


def test_a_picture_that_does_not_decode_is_dropped(samples, tmp_path):
    path = tmp_path / samples["file"][0]
    with open(path, "r+b") as file:
        file.truncate(300)
    here = pl.col("file") == path.name
    cut = pl.when(here).then(pl.lit(hash_file(path))).otherwise("content_hash").alias("content_hash")
    table = materialised(samples.with_columns(cut), Store(tmp_path / "home", {"raw_folder": tmp_path})).value
    (dropped,) = table.filter(sample_id=samples["sample_id"][0]).rows(named=True)
    assert not dropped["keep"] and dropped["reason_code"] == "corrupt_image"
    assert "truncated" in dropped["reason_detail"]


def test_only_samples_that_reach_the_training_set_set_a_scale(samples, tmp_path):
    """The highest AU15 is of a picture without a caption, the highest AU17 of one that looks like a frame in
    another split: both are dropped later, and would have set the scale of all others."""
    samples = samples.with_columns(pl.col("sample_id").str.replace("affectnet/", "later/")).sort("sample_id")
    store, recipe = Store(tmp_path / "home", {"raw_folder": tmp_path}), SimpleNamespace(recipe="paper")
    split = Split(validation=0.3, test=0, seed=1, looks_within=16)
    profile = SimpleNamespace(
        chunk=8, engine=None, split=split, corrections=recipe, au_estimator=LABELLER, rendered=Rendered()
    )
    kept = materialised(samples, store, profile).value
    (lookalike, *_) = kept.filter(~pl.col("keep"), source="affectnet")["sample_id"]
    (uncaptioned, second, *_) = kept.filter("keep", source="affectnet")["sample_id"]
    identity = pl.col("sample_id")
    readings = samples.filter(source="affectnet").with_columns(pl.lit(1.0).alias(name) for name in COLUMNS)
    readings = readings.with_columns(
        au15=pl.when(identity == uncaptioned).then(5.0).when(identity == second).then(3.0).otherwise(1.0),
        au17=pl.when(identity == lookalike).then(5.0).when(identity == second).then(2.5).otherwise(1.0),
    )
    words = samples.with_columns(keep=identity != uncaptioned)
    frames = samples.filter(source="disfa").with_columns(pl.lit(2.0).alias(label) for label in LABELS)
    found = corrections.au_statistics(
        dg.build_asset_context(),
        au_annotation=readings,
        captions=words,
        raw_disfa=frames,
        raw_folder=finished([]),
        raw_rendered=finished([]),
        face_crop=samples,
        disfa_readings=frames.clear(),
        store=store,
        profile=profile,
    )
    scale = {row["au"]: row for row in found.value.filter(step="power").iter_rows(named=True)}
    for au, highest in ((15, 3.0), (17, 2.5)):
        assert scale[au]["maximum_sample_id"] == second
        assert scale[au]["maximum"] == pytest.approx(highest**0.8)
    corrected = corrections.au_corrections(readings, words, found.value, profile=profile).value
    assert uncaptioned not in corrected["sample_id"].to_list()
    assert corrected.filter(sample_id=second).select("au15", "au17").row(0) == (5.0, 5.0)


def test_that_all_are_in_one_split_is_said(samples, tmp_path):
    split = Split(validation=0.3, test=0, seed=1, looks_within=16)
    two = SimpleNamespace(chunk=8, engine=None, split=split, au_estimator=LABELLER, rendered=Rendered())
    table = materialised(samples, Store(tmp_path / "home", {"raw_folder": tmp_path}), two).value
    said = training_set.every_split_has_samples(table, profile=two)
    assert said.passed and sum(said.metadata["samples"].value.values()) == table["keep"].sum()
    together = table.with_columns(pl.when("keep").then(pl.lit("train")).alias("split"))
    said = training_set.every_split_has_samples(together, profile=PROFILE)
    assert not said.passed and said.severity == dg.AssetCheckSeverity.WARN
    assert said.metadata["empty"].value == ["validation", "test"]
