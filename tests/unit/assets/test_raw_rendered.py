"""The rendered source as an asset: each picture once, also after a kill, and nothing where it is not used."""

from types import SimpleNamespace

import dagster as dg
import numpy as np
import polars as pl
import pytest

import stages
from assets.data_set import raw
from curation.frames import LABELS
from inference import asking
from miniature import balanced_set
from settings.profile import Rendered
from store import Store
from store.hashing import hash_file

SIDE = 16


def settings(pictures: int, **more) -> SimpleNamespace:
    rendered = Rendered(pictures=pictures, **more)
    sources = ("rendered",) if pictures else ()
    base = SimpleNamespace(size=SIDE)
    return SimpleNamespace(rendered=rendered, base=base, sources=sources, chunk=8, engine=None)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    return Store(tmp_path / "home")


def made(store, profile) -> dg.MaterializeResult:
    return raw.raw_rendered(dg.build_asset_context(), store=store, profile=profile)


def test_a_row_a_picture_with_exact_labels_a_caption_and_a_person(store):
    result = made(store, settings(30))
    table = result.value
    assert not stages.named("raw_rendered").complaints(table)
    assert table.height == 30 and table["keep"].all() and result.metadata["model_calls"] == 30
    plan = balanced_set.plan(30)
    assert table["sample_id"].to_list() == [f"rendered/{name}" for name in plan["picture_id"]]
    assert table.select(LABELS).equals(plan.select(LABELS))
    assert table["raw_caption"].to_list() == plan["caption"].to_list()
    assert table["subject"].to_list() == ["0"] * 27 + ["1"] * 3
    assert table.select("width", "height").unique().row(0) == (SIDE, SIDE)
    located = store.located(table)
    for path, content in located.select("path", "content_hash").iter_rows():
        assert hash_file(path) == content
    assert table["content_hash"].n_unique() == 30, "two neutral pictures of a person are two photographs"
    assert "| AU6 Cheek Raiser | " in result.metadata["action_units"].value
    counts = raw.shown_intensities(table)
    assert counts["alone"].sum() == 12 + 3, "one person's twelve, and the first three of the next"
    assert counts.select("1", "2", "3", "4", "5").to_numpy().sum() == 12 * 4 + 3


def test_each_is_rendered_once_and_a_larger_set_renders_only_what_is_new(store, monkeypatch):
    first = made(store, settings(20)).value
    result = made(store, settings(29))
    assert (result.metadata["model_calls"], result.metadata["reused"]) == (9, 20)
    assert result.value[:20].equals(first)
    monkeypatch.setattr(balanced_set, "picture", lambda *_, **__: pytest.fail("rendered again"))
    assert made(store, settings(29, share=0.5)).value.equals(result.value), "a share renders nothing"


def test_what_was_rendered_before_an_interruption_is_kept(store, monkeypatch):
    picture, drawn = balanced_set.picture, []

    def killed(row, **given) -> np.ndarray:
        if len(drawn) == 20:
            raise KeyboardInterrupt
        drawn.append(row["picture_id"])
        return picture(row, **given)

    monkeypatch.setattr(balanced_set, "picture", killed)
    with pytest.raises(KeyboardInterrupt):
        made(store, settings(29))
    monkeypatch.setattr(balanced_set, "picture", picture)
    result = made(store, settings(29))
    assert (result.metadata["model_calls"], result.metadata["reused"]) == (9, 20)
    assert result.value["sample_id"].str.strip_prefix("rendered/").head(20).to_list() == drawn


def test_nothing_is_rendered_where_the_profile_does_not_use_it(store, monkeypatch):
    monkeypatch.setattr(asking, "ask", lambda *_, **__: pytest.fail("asked"))
    table = made(store, settings(0)).value
    assert table.is_empty() and not stages.named("raw_rendered").complaints(table)


def test_a_source_that_is_used_must_not_be_empty():
    (check,) = [
        one
        for one in dg.load_asset_checks_from_modules([raw])
        if one.check_key.name == "raw_rendered_not_empty"
    ]
    empty = pl.DataFrame({"keep": []}, schema={"keep": pl.Boolean})
    assert check(empty, profile=settings(0)).passed and not check(empty, profile=settings(9)).passed
