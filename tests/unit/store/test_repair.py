"""A home that rotted: it is noticed when read, what can be made anew is set aside, the rest left alone."""

import json

import polars as pl
import pytest

from store import CorruptTable, Store, StoreError
from store.errors import CorruptFile, HomeError
from store.hashing import hash_folder
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


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def misspell(path):
    content = path.read_bytes()
    assert b"drop" in content
    path.write_bytes(content.replace(b"drop", b"drnp", 1))


@pytest.mark.parametrize("damage", [cut, misspell, lambda path: path.unlink()])
def test_of_what_people_appended_only_the_rows_of_damaged_files_are_lost(store, damage):
    """Nothing makes the verdicts of people again: a sound file stays where it is."""
    store.append("verdicts", pl.DataFrame({"sample_id": ["a"], "verdict": ["drop"]}))
    (path,) = (store.home / "tables" / "verdicts").glob("*.parquet")
    store.append("verdicts", pl.DataFrame({"sample_id": ["b", "c"], "verdict": ["keep", "drop"]}))
    damage(path)
    with pytest.raises(
        CorruptTable, match=rf"stage 'verdicts' cannot be read: .*{path.name}.*fineface repair"
    ):
        store.read("verdicts")
    left = path.read_bytes() if path.exists() else None
    (told,) = repair(store)
    assert f"table verdicts: 1 rows of {path.name} were LOST" in told
    kept = list((store.home / "damaged").rglob(path.name))
    assert [file.read_bytes() for file in kept] == ([] if left is None else [left])
    assert store.read("verdicts").rows() == [("b", "keep"), ("c", "drop")]
    store.append("verdicts", pl.DataFrame({"sample_id": ["d"], "verdict": ["keep"]}))
    assert sorted(store.read("verdicts")["sample_id"]) == ["b", "c", "d"] and repair(store) == []


def test_where_every_appended_file_is_lost_the_table_is_empty_and_goes_on(store):
    store.append("verdicts", pl.DataFrame({"x": [1]}))
    ask(store, ["a"])
    for path in store.home.rglob("*.parquet"):
        path.unlink()
    assert len(repair(store)) == 2 and store.read("verdicts").schema == {"x": pl.Int64}
    store.append("verdicts", pl.DataFrame({"x": [2]}))
    assert store.read("verdicts")["x"].to_list() == [2] and ask(store, ["a"]).computed == 1


def test_verdicts_from_before_rows_had_hashes_are_rescued_too(store):
    delta = store.delta("verdicts")
    table = delta.write(pl.DataFrame({"x": [1]}), None, overwrite=False)
    (old,) = delta.files(table)
    delta.write(pl.DataFrame({"x": [2]}), delta.open(), overwrite=False)
    store.append("verdicts", pl.DataFrame({"x": [3]}))
    assert sorted(store.read("verdicts")["x"]) == [1, 2, 3] and repair(store) == []
    cut(old)
    assert "1 rows of" in repair(store)[0] and sorted(store.read("verdicts")["x"]) == [2, 3]


def test_an_appended_table_with_a_damaged_log_goes_aside_whole(store):
    for n in range(2):
        store.append("verdicts", pl.DataFrame({"x": [n]}))
    (store.home / "tables" / "verdicts" / "_delta_log" / f"{1:020}.json").write_text("{")
    (told,) = repair(store)
    assert "tables/verdicts was set aside" in told and store.stages() == []
    assert len(list((store.home / "damaged").rglob("verdicts/*.parquet"))) == 2


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


def test_a_model_that_was_cut_short_before_it_was_first_used_is_noticed_too(store):
    """As a machine leaves one that loses its power: the training's result says what it had saved."""
    folder = store.home / "files" / "adapters" / "k"
    model = folder / "output" / "model"
    model.mkdir(parents=True)
    weights = model / "w.safetensors"
    weights.write_bytes(b"weights")
    (folder / "output" / "result.json").write_text(json.dumps({"content": hash_folder(model)}))
    weights.write_bytes(b"wei")
    with pytest.raises(CorruptFile, match="have changed since they were trained; 'fineface repair'"):
        intact(folder, model)
    (told,) = repair(store)
    assert "adapters/k was set aside" in told and not folder.exists()


def test_a_home_that_tables_cannot_address_is_one_error_that_names_it(tmp_path):
    with pytest.raises(HomeError, match="50%: its path contains %"):
        Store(tmp_path / "50%")
