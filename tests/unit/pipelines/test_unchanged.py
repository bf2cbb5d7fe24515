"""What is spared: runs that could make nothing that is not there, and no others."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

from pipelines import profiles, unchanged
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
    unchanged._code.cache_clear()
    return tmp_path / "project" / "facs.py"


def part(store, *keys, partition=None, **settings):
    names = frozenset(map(dg.AssetKey, keys))
    return unchanged.Part(f"job {partition}", graph(), store, Settings(**settings), names, partition)


@pytest.fixture
def noted(store):
    made = part(store, "labels")
    unchanged.note(made, ["check x of labels did not pass"])
    return made


def test_what_was_noted_and_has_not_changed_is_spared(noted):
    assert unchanged.since(noted) == ["check x of labels did not pass"]


def test_a_table_that_nobody_wrote_yet_counts_when_it_is_written(store):
    shutil.rmtree(store.home / "tables" / "table")
    made = part(store, "labels", "table")
    unchanged.note(made, [])
    assert unchanged.since(made) == []
    store.write("table", PICTURES)
    assert unchanged.since(made) is None


def test_what_was_never_noted_runs(store):
    assert unchanged.since(part(store, "labels")) is None


def test_tables_before_it_count_and_those_after_it_do_not(store, noted):
    store.write("scores/one", PICTURES.head(1))
    store.write("table", PICTURES.head(1))
    assert unchanged.since(noted) is not None
    store.write("raw", PICTURES.head(1))
    assert unchanged.since(noted) is None


def test_an_experiment_is_spared_by_itself(store):
    one, two = part(store, "scores", partition="one"), part(store, "scores", partition="two")
    for each in (one, two):
        unchanged.note(each, [])
    all_of_them = part(store, "table")
    unchanged.note(all_of_them, [])
    store.write("scores/two", PICTURES.head(1))
    assert unchanged.since(one) == [] and unchanged.since(two) is None
    assert unchanged.since(all_of_them) is None


def test_damage_is_not_spared(store, noted):
    (file,) = (store.home / "tables" / "labels").glob("*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    assert unchanged.since(noted) is None


def test_a_lost_file_is_not_spared(store):
    name = store.files("crops").put(b"a picture", ".png")
    named = PICTURES.with_columns(
        file_kind=pl.Series(["crops", "raw_folder"]), file=pl.Series([f"{name}#xywh=0,0,8,8", "x.jpg"])
    )
    store.write("labels", named)
    made = part(store, "labels")
    unchanged.note(made, [])
    assert unchanged.since(made) == []
    store.files("crops").remove(name)
    assert unchanged.since(made) is None


def test_other_settings_code_or_code_version_run(noted, code):
    assert unchanged.since(replace(noted, profile=Settings(threshold=1))) is None
    assert unchanged.since(replace(noted, graph=graph("2"))) is None
    code.write_text("X = 2\n")
    unchanged._code.cache_clear()
    assert unchanged.since(noted) is None


def test_a_model_of_other_weights_runs(noted, monkeypatch):
    monkeypatch.setattr(unchanged.needs, "fingerprints", lambda profile, stages: {"judge": "other weights"})
    assert unchanged.since(noted) is None
    monkeypatch.setattr(unchanged.needs, "fingerprints", lambda profile, stages: 1 / 0)
    assert unchanged.since(noted) is None, "what cannot be said is told by the run"


def test_a_broken_note_is_no_note(noted):
    unchanged._note(noted).write_text("{")
    assert unchanged.since(noted) is None
