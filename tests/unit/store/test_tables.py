import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from store import CorruptTable, MissingTable, Store, StoreError, UnstorableColumn, hash_frame


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


def frame(*values):
    return pl.DataFrame({"sample_id": [f"s{index}" for index in range(len(values))], "value": list(values)})


def test_write_then_read_gives_the_rows_in_their_order(store):
    given = frame(3, 1, 2).reverse()
    assert store.write("resolution", given, {}) == 0
    assert_frame_equal(store.read("resolution"), given)
    assert_frame_equal(store.read("resolution", columns=["value"]), given.select("value"))
    assert (store.home / "tables" / "resolution" / "_delta_log").is_dir()


def test_many_rows_keep_their_order(store):
    given = pl.DataFrame({"i": range(300_000)}).select(
        pl.col("i").shuffle(seed=1), pl.lit("x" * 50).alias("s")
    )
    store.write("big", given)
    assert_frame_equal(store.read("big"), given)


def test_columns_in_another_order_are_read_back_sound(store):
    """deltalake keeps the order that there is where nothing else differs, also from what it is handed."""
    given = frame(1, 2)
    store.write("resolution", given)
    assert store.write("resolution", given.select("value", "sample_id")) == 0, "the same content"
    store.write("resolution", frame(3, 4).select("value", "sample_id"))
    assert_frame_equal(store.read("resolution"), frame(3, 4))
    more = frame(5).select("value", pl.lit("x").alias("note"), "sample_id")
    store.write("resolution", more)
    assert_frame_equal(store.read("resolution"), more)


def test_every_version_stays_readable_with_its_metadata(store):
    versions = [
        store.write("captions", frame(*range(n)), {"run_id": f"run{n}", "upstream": {"raw_disfa": n}})
        for n in (1, 2, 3)
    ]
    assert versions == [0, 1, 2] and store.version("captions") == 2
    assert [store.read("captions", version).height for version in versions] == [1, 2, 3]
    history = store.history("captions")
    assert [entry["version"] for entry in history] == [2, 1, 0]
    assert [entry["metadata"]["run_id"] for entry in history] == ["run3", "run2", "run1"]
    assert json.loads(history[0]["metadata"]["upstream"]) == {"raw_disfa": 3}
    assert history[0]["metadata"]["rows"] == "3"
    assert all(abs((datetime.now(UTC) - entry["timestamp"]).total_seconds()) < 60 for entry in history)


def test_versions_survive_a_checkpoint_and_log_cleanup(store):
    for n in range(110):
        store.write("busy", frame(n))
    assert store.read("busy", 0)["value"].to_list() == [0]
    assert len(store.history("busy")) == 110
    table = DeltaTable(str(store.home / "tables" / "busy"))
    table.cleanup_metadata()
    assert store.read("busy", 3)["value"].to_list() == [3]


def test_unchanged_content_writes_no_version(store):
    assert store.write("a", frame(1, 2), {"run_id": "first"}) == 0
    assert store.write("a", pl.concat([frame(1), frame(1, 2)[1:]], rechunk=False), {"run_id": "second"}) == 0
    assert store.version("a") == 0 and store.history("a")[0]["metadata"]["run_id"] == "first"
    assert store.write("a", frame(2, 1)) == 1
    assert store.write("a", frame(1, 2)) == 2, "back to old content is a change"
    assert store.write("a", store.read("a")) == 2


def test_unchanged_content_of_another_lineage_is_a_version_of_the_same_file(store):
    def write(run, **lineage):
        return store.write("a", frame(1, 2), {"run_id": run}, lineage)

    assert write("first", code_version="1", upstream={"raw": 0}) == 0
    assert write("again", code_version="1", upstream={"raw": 0}) == 0
    assert write("another", code_version="1", upstream={"raw": 1}) == 1
    assert [entry["metadata"]["run_id"] for entry in store.history("a")] == ["another", "first"]
    assert json.loads(store.history("a")[0]["metadata"]["upstream"]) == {"raw": 1}
    assert store.read("a").equals(frame(1, 2)) and store.read("a", 0).equals(frame(1, 2))
    assert store.content_hash("a", 0) == store.content_hash("a", 1)
    assert len(list((store.home / "tables" / "a").glob("*.parquet"))) == 1
    assert write("another", code_version="1", upstream={"raw": 1}) == 1
    assert store.write("a", frame(3), {}, {"code_version": "1"}) == 2


def test_a_lost_data_file_is_healed_by_writing_the_same_again(store):
    store.write("a", frame(1))
    for file in (store.home / "tables" / "a").glob("*.parquet"):
        file.unlink()
    assert store.write("a", frame(1)) == 1
    assert store.read("a").equals(frame(1))


def test_content_hash_comes_from_the_commit_and_equals_hash_frame(store):
    store.write("a", frame(1))
    store.write("a", frame(2))
    assert store.content_hash("a") == hash_frame(frame(2))
    assert store.content_hash("a", 0) == hash_frame(frame(1)) == hash_frame(store.read("a", 0))


def test_schema_may_change_between_versions(store):
    store.write("a", pl.DataFrame({"x": [1], "y": ["a"]}))
    store.write("a", pl.DataFrame({"y": [1.5]}))
    assert store.read("a").to_dict(as_series=False) == {"y": [1.5]}
    assert store.read("a", 0).columns == ["x", "y"]


def test_experiments_are_stages_of_their_own(store):
    store.write("adapter/fineface", frame(1))
    store.write("adapter/res+mlp", frame(2))
    store.write("captions", frame(3))
    assert store.stages() == ["adapter/fineface", "adapter/res+mlp", "captions"]
    assert store.stages("adapter") == ["adapter/fineface", "adapter/res+mlp"]
    assert store.read("adapter/fineface")["value"].to_list() == [1]
    assert store.version("adapter") is None
    with pytest.raises(StoreError, match=r"'captions/x' would lie inside the table of stage 'captions'"):
        store.write("captions/x", frame(1))


# --- values of every kind


@pytest.mark.parametrize("height", [3, 0])
def test_every_type_round_trips_also_when_empty_or_all_null(store, height):
    given = pl.DataFrame(
        {
            "s": ["é\x00", None, ""],
            "i": [1, None, -3],
            "f": [0.5, float("inf"), None],
            "b": [True, None, False],
            "l": [["a", None], None, []],
            "d": [date(2020, 1, 1), None, date(1960, 1, 1)],
            "t": [datetime(2020, 1, 1, tzinfo=UTC), None, None],
            "x": [b"\x00\xff", None, b""],
            "st": [{"p": 1}, None, {"p": None}],
            "null_s": pl.Series([None] * 3, dtype=pl.String),
            "null_f": pl.Series([None] * 3, dtype=pl.Float32),
            "null_l": pl.Series([None] * 3, dtype=pl.List(pl.Float64)),
        }
    )[:height]
    assert store.write("all", given) == 0
    assert_frame_equal(store.read("all"), given)
    assert store.write("all", store.read("all")) == 0


def test_types_that_delta_lacks_are_stored_wider(store):
    given = pl.DataFrame(
        {
            "u": pl.Series([2**32 - 1], dtype=pl.UInt32),
            "u8": pl.Series([255], dtype=pl.UInt8),
            "c": pl.Series(["a"], dtype=pl.Categorical),
            "e": pl.Series(["a"], dtype=pl.Enum(["a"])),
            "v": pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float32, 2)),
            "ns": pl.Series([datetime(2020, 1, 1)], dtype=pl.Datetime("ns")),
        }
    )
    store.write("wide", given)
    read = store.read("wide")
    assert read.row(0) == (2**32 - 1, 255, "a", "a", [1.0, 2.0], datetime(2020, 1, 1))
    assert read.dtypes == [
        pl.Int64, pl.Int16, pl.String, pl.String, pl.List(pl.Float32), pl.Datetime("us"),
    ]  # fmt: skip
    assert store.write("wide", given) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pl.DataFrame({"a": [1], "reason": [None]}), r"stage 'bad'.*reason \(Null\)"),
        (pl.DataFrame({"deep": [[]]}), r"deep \(List\(Null\)\)"),
        (pl.DataFrame({"a": pl.Series([2**64 - 1], dtype=pl.UInt64)}), "do not fit"),
        (pl.DataFrame({"a": [1], "A": [1]}), "differ only in case"),
        (pl.DataFrame(), "no columns"),
        (pl.DataFrame({"a": [datetime(2020, 1, 1).time()]}), r"a \(Time\)"),
    ],
)
def test_what_no_table_can_hold_is_refused_by_name(store, given, message):
    with pytest.raises(UnstorableColumn, match=message):
        store.write("bad", given)
    assert store.version("bad") is None


# --- missing and broken tables


def test_missing_table_names_stage_and_home(store):
    assert store.version("latents") is None and not store.home.exists()
    for call in (store.read, store.history, store.content_hash, store.scan):
        with pytest.raises(MissingTable, match=rf"'latents'.*{store.home}"):
            call("latents")


def test_missing_version_names_the_latest(store):
    store.write("a", frame(1))
    for version in (1, 7, -1):
        with pytest.raises(MissingTable, match=rf"'a' has no version {version} .*latest is 0"):
            store.read("a", version)


def test_missing_column_is_named(store):
    store.write("a", frame(1))
    with pytest.raises(StoreError, match="no column caption; it has sample_id, value"):
        store.read("a", columns=["value", "caption"])


def test_a_first_write_that_was_killed_counts_as_never_written(store):
    (store.home / "tables" / "a" / "_delta_log").mkdir(parents=True)
    (store.home / "tables" / "a" / "_delta_log" / "_commit_1234.json.tmp").write_text("{")
    (store.home / "tables" / "a" / "part-0-half.parquet").write_bytes(b"PAR1")
    assert store.version("a") is None
    assert store.write("a", frame(1)) == 0 and store.read("a").height == 1


def _cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def _scramble(path):
    path.write_bytes(b"\x07" * path.stat().st_size)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), _cut, _scramble])
def test_damaged_data_names_stage_and_path(store, damage):
    store.write("a", frame(1, 2, 3))
    damage(next((store.home / "tables" / "a").glob("*.parquet")))
    with pytest.raises(CorruptTable, match=rf"stage 'a' cannot be read: {store.home}/tables/a"):
        store.read("a")


def test_damaged_log_names_stage_and_path(store):
    store.write("a", frame(1))
    (store.home / "tables" / "a" / "_delta_log" / f"{0:020}.json").write_text('{"add": half a li')
    for call in (store.version, store.read, lambda stage: store.write(stage, frame(2))):
        with pytest.raises(CorruptTable, match=rf"stage 'a' cannot be read: {store.home}/tables/a"):
            call("a")


@pytest.mark.parametrize(
    "name", ["", "../a", "a/../b", "/a", "a//b", "_a", ".a", "a b", "a/_delta_log", None]
)
def test_names_that_leave_the_store_are_refused(store, name):
    with pytest.raises(ValueError, match="cannot name a"):
        store.write(name, frame(1))
    with pytest.raises(ValueError, match="cannot name a"):
        store.memo(name)


@pytest.mark.parametrize("folder", ["with space", "é=ü", "a*b", "a'b"])
def test_odd_home_folders_work(tmp_path, folder):
    store = Store(tmp_path / folder)
    store.write("adapter/x", frame(1, 2))
    store.write("adapter/x", frame(3))
    assert store.read("adapter/x", 0).equals(frame(1, 2)) and store.read("adapter/x").equals(frame(3))


@pytest.mark.parametrize("folder", ["50%20", "a[b]", "a#b", "a?b"])
def test_homes_that_delta_cannot_address_are_refused(tmp_path, folder):
    with pytest.raises(ValueError, match="cannot live in"):
        Store(tmp_path / folder)


def test_processes_that_write_one_stage_at_once_leave_whole_versions(store):
    script = """
import sys, polars as pl
from store import Store
store = Store(sys.argv[1])
for n in range(8):
    store.write("shared", pl.DataFrame({"writer": [sys.argv[2]] * 100, "n": [n] * 100}))
"""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    running = [
        subprocess.Popen([sys.executable, "-c", script, store.home, name], env=environment) for name in "xy"
    ]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    seen = []
    for version in range(store.version("shared") + 1):
        rows = store.read("shared", version)
        assert rows.height == 100 and rows.unique().height == 1
        seen.append(rows.row(0))
    assert sorted(seen) == sorted((name, n) for name in "xy" for n in range(8))


def test_rows_are_appended_and_every_version_stays(tmp_path):
    store = Store(tmp_path)
    assert [store.append("words", pl.DataFrame({"x": [n]})) for n in range(3)] == [0, 1, 2]
    assert sorted(store.read("words")["x"]) == [0, 1, 2] and store.read("words", 0)["x"].to_list() == [0]
    assert store.history("words")[0]["metadata"]["rows"] == "3"
    assert store.content_hash("words") == hash_frame(store.read("words"))


def test_two_who_append_at_once_lose_nothing(tmp_path):
    def append(n):
        Store(tmp_path).append("words", pl.DataFrame({"x": [n]}))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(append, range(8)))
    assert sorted(Store(tmp_path).read("words")["x"]) == list(range(8))
