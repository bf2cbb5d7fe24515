"""identity_scores, edit_identity, realism_scores as stages: what is asked and kept, and when nobody is."""

from importlib.util import find_spec

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image
from tiny_editing import training_set
from tiny_protocol import build

import facs
import stages
from assets.editing.edit_identity import edit_identity
from assets.experiment import identity_scores, realism_scores
from evaluation import edit_protocol, protocol
from inference import images
from miniature.faces import draw_identity, draw_shot, render
from pipelines import profiles
from settings.profile import Identity
from store import Store

EXPERIMENTS = dg.StaticPartitionsDefinition(["sd"])
installed = pytest.mark.skipif(
    find_spec("dlib") is None or find_spec("face_recognition_models") is None,
    reason="the extra identity is not installed",
)


@pytest.fixture
def profile(tmp_path, world):
    return profiles.load(str(world.profile), tmp_path)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


def face(person: int, aus) -> Image.Image:
    rng = np.random.default_rng(person)
    return Image.fromarray(render(draw_identity(rng), draw_shot(rng), aus))


def drawn(store: Store) -> pl.DataFrame:
    """Four samples, two of either kind, and their partners, of two people."""
    every = build().filter(pl.col("prompt_index") < 2, pl.col("sample_id").str.contains("au12/[25]|/0[67]$"))
    samples = pl.concat([every, protocol.no_au_samples(every)])
    names = [
        store.files("generated").put(
            images.png(face(row["prompt_index"], [row[c] for c in facs.COLUMNS])), ".png"
        )
        for row in samples.to_dicts()
    ]
    return samples.with_columns(
        pl.Series("file", names), file_kind=pl.lit("generated"), experiment=pl.lit("sd"), guidance=pl.lit(3.0)
    )


def made(asset, *tables, store, profile):
    context = dg.build_asset_context(partition_key="sd")
    return asset(context, *tables, store=store, profile=profile)


def test_nobody_is_asked_for_identity_unless_the_profile_names_somebody(store, profile):
    (asset,) = identity_scores.build(EXPERIMENTS, [])
    table = made(asset, drawn(store), store=store, profile=profile).value
    assert table.is_empty() and not stages.named("identity_scores").complaints(table)


@installed
def test_every_sample_is_compared_with_its_partner_and_asked_about_once(store, profile):
    (asset,) = identity_scores.build(EXPERIMENTS, [])
    known = profile.model_copy(update={"identity": Identity(provider="dlib")})
    samples = drawn(store)
    first = made(asset, samples, store=store, profile=known)
    table = first.value
    assert table["sample_id"].to_list() == samples.drop_nulls("partner_id")["sample_id"].to_list()
    assert not stages.named("identity_scores").complaints(table)
    assert table["identity_distance"].count() > 0 and table["fingerprint"].n_unique() == 1
    again = made(asset, samples, store=store, profile=known)
    assert first.metadata["model_calls"] > 0 and again.metadata["model_calls"] == 0
    assert again.value.equals(table)


def test_pictures_are_compared_with_those_of_the_training_set(store, profile):
    (asset,) = realism_scores.build(EXPERIMENTS, [])
    real = [store.files("frames").put(images.png(face(person, [0] * 12)), ".png") for person in range(5)]
    training_set = pl.DataFrame(
        {
            "keep": True,
            "source": "affectnet",
            "split": ["train"] * 4 + ["test"],
            "file_kind": "frames",
            "file": real,
            "content_hash": [name[:32] for name in real],
        }
    )
    table = made(asset, drawn(store), training_set, store=store, profile=profile).value
    assert not stages.named("realism_scores").complaints(table)
    assert table.select("kind", "metric").rows() == [
        (kind, metric) for kind in ("individual", "combination") for metric in ("kid", "fid")
    ]
    assert table["value"].is_finite().all() and set(table["real"]) == {4}, "the split train only"


@installed
def test_an_edit_keeps_the_face_of_its_source_or_does_not(store, profile):
    """An edit changes nothing, one makes the second person the first, and one makes it nobody."""
    known = profile.model_copy(update={"identity": Identity(provider="dlib")})
    pictures = [face(0, [0.0] * 12), face(1, [0.0] * 12), Image.new("RGB", (64, 64))]
    first, second, black = (store.files("edited").put(images.png(one), ".png") for one in pictures)
    asked = edit_protocol.build(edit_protocol.sources(training_set(), 2, seed=0)).head(3)
    edited = asked.drop("file", "file_kind", "content_hash").with_columns(
        pl.Series("source_index", [0, 1, 1]),
        pl.Series("source_file", [first, second, second]),
        pl.Series("file", [first, first, black]),
        pl.Series("source_hash", [name[:32] for name in (first, second, second)]),
        source_kind=pl.lit("edited"),
        file_kind=pl.lit("edited"),
        editor=pl.lit("a"),
        kept=pl.lit(None, pl.Float64),
        model=pl.lit("m"),
        fingerprint=pl.lit("f"),
    )
    made = edit_identity(dg.build_asset_context(), edited, store=store, profile=known)
    assert not stages.named("edit_identity").complaints(made.value)
    kept, another, nobody = made.value["identity_distance"]
    assert kept == 0 and another > 0.1 and nobody is None
    assert made.value["same_person"].to_list() == [1.0, float(another < 0.6), 0.0]
    assert made.metadata["model_calls"] == 3, "of six pictures three are seen again"
    unasked = edit_identity(dg.build_asset_context(), edited, store=store, profile=profile)
    assert unasked.value.is_empty() and not stages.named("edit_identity").complaints(unasked.value)
