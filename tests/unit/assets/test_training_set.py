"""The training set as an asset: pictures hashed once, the same picture in one split, pairs shown."""

from types import SimpleNamespace

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image

from assets.data_set import training_set
from curation.frames import LABELS, finished
from facs import COLUMNS
from inference.perceptual import PerceptualHash
from miniature.faces import draw_identity, draw_shot, render
from settings.profile import Split
from store import Store
from store.hashing import hash_file

SPLIT = {"validation": 0.25, "test": 0.25, "seed": 0}
PROFILE = SimpleNamespace(chunk=8, split=Split(**SPLIT, looks_within=16))


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
            (f"affectnet/{seed}", "affectnet", None, str(web), hash_file(web)),
            (f"disfa/SN00{seed}/1", "disfa", f"SN00{seed}", str(frame), hash_file(frame)),
        ]
    names = ("sample_id", "source", "subject", "path", "content_hash")
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
        samples,
        samples,
        store=store,
        profile=profile,
    )


def test_a_copy_in_another_split_is_dropped_and_each_pair_is_shown(samples, tmp_path):
    store = Store(tmp_path / "home")
    result = materialised(samples, store)
    table = result.value
    frames = table.filter(source="disfa")
    assert frames["duplicate_of"].to_list() == [f"affectnet/{seed}" for seed in range(10)]
    assert frames["duplicate_by"].unique().to_list() == ["perceptual"]
    assert table.filter(source="affectnet")["keep"].all()
    assert 0 < frames["keep"].sum() < 10
    assert "| disfa | affectnet | perceptual | True |" in result.metadata["duplicates"].value
    assert "data:image/png;base64" in result.metadata["sheet_duplicates"].value
    for check in dg.load_asset_checks_from_modules([training_set]):
        given = {"profile": PROFILE} if check.check_key.name == "no_lookalike_in_two_splits" else {}
        assert check(table, **given).passed


def test_pictures_are_hashed_once(samples, tmp_path, monkeypatch):
    store = Store(tmp_path / "home")
    first = materialised(samples, store).value
    monkeypatch.setattr(PerceptualHash, "prepare", lambda *_: pytest.fail("hashed again"))
    assert materialised(samples, store).value.equals(first)


def test_without_comparison_by_look_no_picture_is_read(samples, tmp_path):
    profile = SimpleNamespace(chunk=8, split=Split(**SPLIT, looks_within=None))
    gone = samples.with_columns(path=pl.lit("/nowhere/") + pl.col("sample_id"))
    result = materialised(gone, Store(tmp_path / "home"), profile)
    assert result.value["keep"].all() and result.metadata["duplicates"] == "none"


def test_a_picture_that_does_not_decode_is_dropped(samples, tmp_path):
    path = samples["path"][0]
    with open(path, "r+b") as file:
        file.truncate(300)
    here = pl.col("path") == path
    cut = pl.when(here).then(pl.lit(hash_file(path))).otherwise("content_hash").alias("content_hash")
    table = materialised(samples.with_columns(cut), Store(tmp_path / "home")).value
    (dropped,) = table.filter(sample_id=samples["sample_id"][0]).rows(named=True)
    assert not dropped["keep"] and dropped["reason_code"] == "corrupt_image"
    assert "truncated" in dropped["reason_detail"]
