"""A home that rotted: it is noticed when read, what can be made anew is set aside, the rest left alone."""

import json

import polars as pl
import pytest

from store import CorruptTable, Store, StoreError
from store.errors import CorruptFile, HomeError
from store.repair import repair
from store.trained import intact


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def numbers(store):
    store.write("numbers", pl.DataFrame({"x": list(range(5000)), "y": [f"{n} {n * n}" for n in range(5000)]}))
    return next((store.home / "tables" / "numbers").glob("*.parquet"))


def ask(store, keys):
    frame = pl.DataFrame({"key": keys})
    return store.memo("m").get_or_compute(frame, lambda c: c.with_columns(v=pl.lit(1)), chunk=1)


def test_a_flipped_bit_in_a_stages_file_is_noticed_and_writing_it_again_heals_it(store):
    flip(numbers(store))
    with pytest.raises(CorruptTable, match=r"stage 'numbers' cannot be read.*'fineface repair'"):
        store.read("numbers", columns=["x"])
    numbers(store)
    assert store.read("numbers")["x"].sum() == sum(range(5000)) and store.version("numbers") == 1


def test_repair_of_a_sound_home_does_nothing(store):
    numbers(store)
    ask(store, ["a", "b"])
    store.files("faces").put(b"x", ".png")
    assert repair(store) == [] and not (store.home / "damaged").exists()


def test_repair_sets_aside_what_cannot_be_read_and_the_rest_stays(store):
    flip(numbers(store))
    store.write("sound", pl.DataFrame({"x": [1]}))
    ask(store, ["a", "b"])
    lost = store.memo("m")._delta.files(store.memo("m")._delta.open())[0]
    lost.write_bytes(b"short")
    name = store.files("faces").put(b"a face", ".png")
    store.files("faces").path(name).write_bytes(b"b face")
    done = repair(store)
    assert len(done) == 3, done
    assert store.stages() == ["sound"] and len(store.memo("m")) == 1 and not store.files("faces").has(name)
    assert any((store.home / "damaged").rglob("numbers/*.parquet")), "nothing of a table is deleted"
    assert repair(store) == []


@pytest.mark.parametrize("name", ["../../../victim", "%2E%2E/%2E%2E/%2E%2E/victim", "file:///victim"])
def test_a_damaged_log_that_names_files_elsewhere_makes_repair_touch_nothing_outside(store, tmp_path, name):
    ask(store, ["a"])
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    log = store.home / "memo" / "m" / "_delta_log" / f"{0:020}.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            line["add"]["path"] = name.replace("/victim", str(victim)) if ":" in name else name
    log.write_text("\n".join(map(json.dumps, lines)) + "\n")
    with pytest.raises(StoreError, match="memo 'm' cannot be read"):
        ask(store, ["a"])
    (told,) = repair(store)
    assert "memo/m was set aside" in told and victim.read_bytes() == b"precious"
    assert ask(store, ["a"]).computed == 1


def test_a_flipped_model_is_noticed_where_it_is_used_and_set_aside(store):
    folder = store.home / "files" / "adapters" / "k"
    model = folder / "output" / "model"
    model.mkdir(parents=True)
    weights = model / "w.safetensors"
    weights.write_bytes(b"weights")
    assert intact(folder, model) is None, "still in training"
    (folder / "output" / "result.json").write_text("{}")
    first = intact(folder, model)
    assert first and intact(folder) == first and repair(store) == []
    flip(weights)
    with pytest.raises(CorruptFile, match="have changed since they were trained; 'fineface repair'"):
        intact(folder, model)
    (told,) = repair(store)
    assert "adapters/k was set aside" in told and not folder.exists()


def test_a_home_that_cannot_be_used_is_one_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=r"the home .*/file/home cannot be written to: Not a directory"):
        Store(tmp_path / "file" / "home").check_writable()
    with pytest.raises(StoreError, match="its path contains %"):
        Store(tmp_path / "50%")
    Store(tmp_path / "new").check_writable()
    assert list((tmp_path / "new").iterdir()) == []
