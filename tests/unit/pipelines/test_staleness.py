"""What is spared: runs that could make nothing that is not there, and no others."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

from pipelines import profiles, staleness
from store import Store

PICTURES = pl.DataFrame({"sample_id": ["a", "b"]})


def graph(code_version="1"):
    drawn = dg.StaticPartitionsDefinition(["one", "two"])

    @dg.asset
    def raw(): ...

    @dg.asset(deps=[raw], code_version=code_version)
    def labels(): ...

    @dg.asset(deps=[labels], partitions_def=drawn)
    def scores(): ...

    @dg.asset(deps=[scores])
    def table(): ...

    return dg.Definitions([raw, labels, scores, table]).resolve_asset_graph()


class Settings(SimpleNamespace):
    experiments = ("one", "two")

    def model_dump(self, mode):
        return vars(self)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "home")
    for name in ("raw", "labels", "scores/one", "scores/two", "table"):
        store.write(name, PICTURES)
    return store


@pytest.fixture(autouse=True)
def code(tmp_path, monkeypatch):
    """A project of one file."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "facs.py").write_text("X = 1\n")
    monkeypatch.setattr(profiles, "PROJECT", tmp_path / "project")
    staleness._code.cache_clear()
    return tmp_path / "project" / "facs.py"


def part(store, *keys, partition=None, **settings):
    names = frozenset(map(dg.AssetKey, keys))
    return staleness.Part("job", partition, names, graph(), store, Settings(**settings))


@pytest.fixture
def noted(store):
    made = part(store, "labels")
    made.note(["check x of labels did not pass"])
    return made


def test_what_was_noted_and_has_not_changed_is_spared(noted):
    assert noted.unchanged() == ["check x of labels did not pass"]


def test_a_table_that_nobody_wrote_yet_counts_when_it_is_written(store):
    shutil.rmtree(store.home / "tables" / "table")
    made = part(store, "labels", "table")
    made.note([])
    assert made.unchanged() == []
    store.write("table", PICTURES)
    assert made.unchanged() is None


def test_what_was_never_noted_runs(store):
    assert part(store, "labels").unchanged() is None


def test_tables_before_it_count_and_those_after_it_do_not(store, noted):
    store.write("scores/one", PICTURES.head(1))
    store.write("table", PICTURES.head(1))
    assert noted.unchanged() is not None
    store.write("raw", PICTURES.head(1))
    assert noted.unchanged() is None


def test_an_experiment_is_spared_by_itself(store):
    one, two = part(store, "scores", partition="one"), part(store, "scores", partition="two")
    for each in (one, two):
        each.note([])
    all_of_them = part(store, "table")
    all_of_them.note([])
    store.write("scores/two", PICTURES.head(1))
    assert one.unchanged() == [] and two.unchanged() is None
    assert all_of_them.unchanged() is None


def test_damage_is_not_spared(store, noted):
    (file,) = (store.home / "tables" / "labels").glob("*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    assert noted.unchanged() is None


def test_a_lost_file_is_not_spared(store):
    name = store.files("crops").put(b"a picture", ".png")
    named = PICTURES.with_columns(
        file_kind=pl.Series(["crops", "raw_folder"]), file=pl.Series([f"{name}#xywh=0,0,8,8", "x.jpg"])
    )
    store.write("labels", named)
    made = part(store, "labels")
    made.note([])
    assert made.unchanged() == []
    store.files("crops").remove(name)
    assert made.unchanged() is None


def test_other_settings_code_or_code_version_run(noted, code):
    assert replace(noted, profile=Settings(threshold=1)).unchanged() is None
    assert replace(noted, graph=graph("2")).unchanged() is None
    code.write_text("X = 2\n")
    staleness._code.cache_clear()
    assert noted.unchanged() is None


def test_a_model_of_other_weights_runs(noted, monkeypatch):
    monkeypatch.setattr(staleness.needs, "fingerprints", lambda profile, stages: {"judge": "other weights"})
    assert noted.unchanged() is None
    monkeypatch.setattr(staleness.needs, "fingerprints", lambda profile, stages: 1 / 0)
    assert noted.unchanged() is None, "what cannot be said is told by the run"


def test_a_broken_note_is_no_note(noted):
    noted._note.write_text("{")
    assert noted.unchanged() is None
