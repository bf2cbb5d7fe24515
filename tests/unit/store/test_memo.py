import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from store import ComputeError, CorruptTable, Progress, Store, UnstorableColumn
from store.delta import DataFile
from store.memo import COMPACT_ABOVE, COMPUTED_AT, FULL, _ranges, _small


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


def requests(*keys):
    return pl.DataFrame(
        {"key": list(keys), "n": list(range(len(keys)))}, schema={"key": pl.String, "n": pl.Int64}
    )


class Doubler:
    """Answers `n * 2`, and remembers which keys it was asked for."""

    def __init__(self):
        self.chunks = []

    def __call__(self, chunk):
        self.chunks.append(chunk["key"].to_list())
        return chunk.select("key", double=pl.col("n") * 2).reverse()


def never(chunk):
    raise AssertionError(f"called for {chunk['key'].to_list()}")


def test_each_distinct_key_is_computed_once_in_request_order(store):
    doubler = Doubler()
    result = store.memo("m").get_or_compute(requests("c", "a", "c", "b"), doubler, chunk=2)
    assert doubler.chunks == [["c", "a"], ["b"]]
    assert result.frame.rows() == [("c", 0), ("a", 2), ("b", 6)]
    assert result.frame.columns == ["key", "double"]
    assert (result.computed, result.reused) == (3, 0)


def test_known_keys_are_reused_and_the_model_is_not_even_loaded(store):
    store.memo("m").get_or_compute(requests("a", "b"), Doubler(), chunk=10)
    again = store.memo("m").get_or_compute(requests("b", "a"), never, chunk=10, progress=never)
    assert again.frame.rows() == [("b", 2), ("a", 0)]
    assert (again.computed, again.reused) == (0, 2)
    doubler = Doubler()
    more = store.memo("m").get_or_compute(requests("b", "x", "a"), doubler, chunk=10)
    assert doubler.chunks == [["x"]]
    assert (more.computed, more.reused) == (1, 2) and more.frame["key"].to_list() == ["b", "x", "a"]


def test_memos_do_not_share_keys(store):
    store.memo("one").get_or_compute(requests("a"), Doubler(), chunk=1)
    doubler = Doubler()
    store.memo("two").get_or_compute(requests("a"), doubler, chunk=1)
    assert doubler.chunks == [["a"]]


def test_no_requests_call_nothing_and_give_an_empty_frame(store):
    memo = store.memo("m")
    assert memo.get_or_compute(requests(), never, chunk=1).frame.schema == {"key": pl.String}
    memo.get_or_compute(requests("a"), Doubler(), chunk=1)
    assert memo.get_or_compute(requests(), never, chunk=1).frame.schema == {
        "key": pl.String,
        "double": pl.Int64,
    }
    typed = store.memo("typed", schema={"score": pl.Float64})
    assert typed.get_or_compute(requests(), never, chunk=1).frame.schema == {
        "key": pl.String,
        "score": pl.Float64,
    }


def test_a_failing_chunk_keeps_the_chunks_before_it(store):
    def fail_at_c(chunk):
        if "c" in chunk["key"]:
            raise RuntimeError("out of memory")
        return Doubler()(chunk)

    memo = store.memo("m")
    with pytest.raises(RuntimeError, match="out of memory"):
        memo.get_or_compute(requests(*"abcd"), fail_at_c, chunk=2)
    assert len(memo) == 2
    doubler = Doubler()
    assert memo.get_or_compute(requests(*"abcd"), doubler, chunk=2).reused == 2
    assert doubler.chunks == [["c", "d"]]


# --- what compute may return


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda c: c.head(1), r"'m': compute returned no row for 'b', 'c'"),
        (lambda c: pl.concat([c, c.head(1)]), "several rows for 'a'"),
        (lambda c: c.with_columns(key=pl.col("key") + "!"), "no row for 'a', 'b', 'c'"),
        (lambda c: pl.concat([c, c.head(1).with_columns(key=pl.lit("z"))]), "nobody asked for: 'z'"),
        (lambda c: c.drop("key"), "a column 'key'"),
        (lambda c: c.with_columns(key=pl.lit(1)), "a column 'key'"),
        (lambda c: None, "not NoneType"),
        (lambda c: c.with_columns(computed_at=pl.lit(1)), "'computed_at' is taken"),
        (lambda c: c.with_columns(faces=pl.lit(None)), r"faces \(Null\)"),
    ],
)
def test_broken_answers_are_refused_and_nothing_is_stored(store, answer, message):
    memo = store.memo("m")
    with pytest.raises((ComputeError, UnstorableColumn), match=message):
        memo.get_or_compute(requests("a", "b", "c"), answer, chunk=5)
    assert len(memo) == 0 and memo, "an empty memo is no missing memo"


def test_many_faulty_keys_are_cut_short(store):
    with pytest.raises(ComputeError, match="and 15 more"):
        store.memo("m").get_or_compute(requests(*map(str, range(20))), lambda c: c.clear(), chunk=50)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (pl.DataFrame({"id": ["a"]}), "column 'key' of strings; it is absent"),
        (pl.DataFrame({"key": [1]}), "it is Int64"),
        (pl.DataFrame({"key": ["a", None]}), "1 requests have no key"),
    ],
)
def test_bad_requests_are_refused(store, bad, message):
    with pytest.raises(ValueError, match=message):
        store.memo("m").get_or_compute(bad, never, chunk=1)


def test_chunk_must_be_positive(store):
    with pytest.raises(ValueError, match="chunk"):
        store.memo("m").get_or_compute(requests("a"), never, chunk=0)


def test_later_chunks_may_be_all_null_or_narrower(store):
    answers = iter([[0.5, 1.5], [None, None], [2, 3]])
    memo = store.memo("m")
    result = memo.get_or_compute(
        requests(*"abcdef"), lambda c: c.select("key").with_columns(score=pl.Series(next(answers))), chunk=2
    )
    assert result.frame["score"].to_list() == [0.5, 1.5, None, None, 2.0, 3.0]


def test_a_schema_types_an_all_null_first_chunk(store):
    memo = store.memo("m", schema={"faces": pl.Int64, "reason": pl.String})
    result = memo.get_or_compute(
        requests("a"), lambda c: c.select("key").with_columns(faces=None, reason=pl.lit("no face")), chunk=1
    )
    assert result.frame.schema == {"key": pl.String, "faces": pl.Int64, "reason": pl.String}
    with pytest.raises(ComputeError, match="outside the schema: n"):
        memo.get_or_compute(requests("b"), lambda c: c, chunk=1)


def test_a_column_cannot_change_its_type_with_loss(store):
    memo = store.memo("m")
    memo.get_or_compute(requests("a"), lambda c: c.select("key", v=pl.lit(1, pl.Int64)), chunk=1)
    with pytest.raises(UnstorableColumn, match="'v' was Int64 so far and is Float64 now"):
        memo.get_or_compute(requests("b"), lambda c: c.select("key", v=pl.lit(1.5)), chunk=1)


def test_a_new_version_of_the_code_may_add_a_column(store):
    memo = store.memo("m")
    memo.get_or_compute(requests("v1"), lambda c: c.select("key", v=pl.lit(1)), chunk=1)
    vectors = pl.Series([[0.5, 1.0]], dtype=pl.Array(pl.Float32, 2))
    result = memo.get_or_compute(requests("v1", "v2"), lambda c: c.select("key", vector=vectors), chunk=1)
    assert result.frame.rows() == [("v1", 1, None), ("v2", None, [0.5, 1.0])]
    assert store.memo("m", schema={"v": pl.Int64}).read().columns == ["key", "v"]


def test_a_partial_answer_is_asked_for_again(store):
    memo = store.memo("m")
    even = memo.get_or_compute(
        requests(*"abcd"), lambda c: c.filter(pl.col("n") % 2 == 0), chunk=1, partial=True
    )
    assert even.frame["key"].to_list() == ["a", "c"] and (even.computed, even.reused) == (2, 0)
    doubler = Doubler()
    result = memo.get_or_compute(requests(*"abcd"), lambda c: doubler(c).select("key"), chunk=5, partial=True)
    assert doubler.chunks == [["b", "d"]] and (result.computed, result.reused) == (2, 2)
    nothing = store.memo("empty").get_or_compute(requests("a"), lambda c: c.clear(), chunk=1, partial=True)
    assert nothing.frame.height == nothing.computed == 0


# --- progress


def test_a_stream_is_stored_chunk_by_chunk_in_any_order(store):
    seen = []

    def answer(missing):
        for key, n in reversed(missing.rows()):
            seen.append(len(store.memo("m")))
            yield {"key": key, "double": n * 2}

    result = store.memo("m").get_or_stream(requests("a", "b", "c", "d", "e"), answer, chunk=2)
    assert seen == [0, 0, 2, 2, 4]
    assert result.frame.rows() == [("a", 0), ("b", 2), ("c", 4), ("d", 6), ("e", 8)]
    assert (result.computed, result.reused) == (5, 0)
    again = store.memo("m").get_or_stream(requests("b", "a"), never, chunk=2)
    assert again.frame.rows() == [("b", 2), ("a", 0)] and (again.computed, again.reused) == (0, 2)


def test_what_a_broken_stream_had_given_is_kept(store):
    def answer(missing):
        for key, n in missing.rows()[:3]:
            yield {"key": key, "double": n}
        raise RuntimeError("died")

    with pytest.raises(RuntimeError, match="died"):
        store.memo("m").get_or_stream(requests(*"abcde"), answer, chunk=2)
    assert sorted(store.memo("m").read()["key"]) == ["a", "b", "c"]
    rest = store.memo("m").get_or_stream(
        requests(*"abcde"), lambda missing: ({"key": key, "double": 0} for key in missing["key"]), chunk=9
    )
    assert (rest.computed, rest.reused) == (2, 3)


@pytest.mark.parametrize(
    "keys, message",
    [
        (["a"], "no row for 'b'"),
        (["a", "x"], "nobody asked for: 'x'"),
        (["a", "a"], "several rows for 'a'|nobody asked for: 'a'"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 5])
def test_a_stream_that_breaks_its_promise_is_refused(store, keys, message, chunk):
    with pytest.raises(ComputeError, match=message):
        store.memo("m").get_or_stream(
            requests("a", "b"), lambda missing: ({"key": key, "double": 0} for key in keys), chunk=chunk
        )


def test_progress_counts_missing_keys_only(store):
    memo, seen = store.memo("m"), []
    memo.get_or_compute(requests("a"), Doubler(), chunk=1)
    memo.get_or_compute(requests(*"abcdef"), Doubler(), chunk=2, progress=seen.append)
    assert [(step.done, step.total) for step in seen] == [(2, 5), (4, 5), (5, 5)]
    assert seen[-1].eta == 0 and seen[0].rate > 0


def test_progress_reads_well():
    assert str(Progress(1200, 4800, 60.0)) == "1,200 of 4,800 (25 %), 20 a second, 3 min 00 s left"
    assert str(Progress(10, 10, 5.0)) == "10 of 10 (100 %), 2 a second"
    assert str(Progress(1, 7201, 1.0)).endswith("2 h 00 min left")
    assert "inf" not in str(Progress(0, 10, 0.0))


# --- files


def test_many_chunks_end_in_few_files(store):
    memo = store.memo("m")
    keys = [f"k{n}" for n in range(150)]
    first = memo.get_or_compute(requests(*keys), Doubler(), chunk=2)
    assert len(memo._delta.files(memo._delta.open())) <= 8
    assert first.frame["double"].to_list() == [2 * n for n in range(150)]
    assert_frame_equal(memo.get_or_compute(requests(*keys), never, chunk=2).frame, first.frame)


def test_lost_file_is_named_and_repair_forgets_only_its_rows(store):
    memo = store.memo("m")
    memo.get_or_compute(requests(*"abcd"), Doubler(), chunk=2)
    lost = memo._delta.files(memo._delta.open())[0]
    lost.write_bytes(lost.read_bytes()[:10])
    with pytest.raises(CorruptTable, match=rf"memo 'm' cannot be read: {lost}"):
        memo.get_or_compute(requests("a"), never, chunk=1)
    aside = store.home / "damaged"
    assert [(file.path, file.rows) for file in memo.repair(aside)] == [(lost, 2)]
    assert (aside / lost.name).read_bytes()[:4] == b"PAR1", "what is left of it is kept"
    assert memo.get_or_compute(requests(*"abcd"), Doubler(), chunk=2).computed == 2


def test_every_flipped_bit_of_a_memo_is_noticed_or_changes_nothing_and_repair_forgets_that_file(store):
    memo = store.memo("m", schema={"text": pl.String, "score": pl.Float64, "vector": pl.List(pl.Float32)})
    rows = requests(*(f"key {n}" for n in range(40))).select(
        "key",
        text=pl.format("text {}", "n"),
        score=pl.col("n") / 7,
        vector=pl.concat_list("n", "n").cast(pl.List(pl.Float32)),
    )
    memo.get_or_compute(rows, lambda chunk: chunk, chunk=20)
    right = memo.read().sort("key")
    path = memo._delta.files(memo._delta.open())[0]
    sound, noticed = path.read_bytes(), 0
    for at in range(0, len(sound), max(1, len(sound) // 150)):
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << at % 8]) + sound[at + 1 :])
        try:
            assert_frame_equal(memo.read().sort("key"), right)
        except CorruptTable as error:
            assert "memo 'm'" in str(error) and "fineface repair" in str(error)
            noticed += 1
    assert noticed > 50
    path.write_bytes(sound.replace(b"key 0", b"kex 0", 1))
    with pytest.raises(CorruptTable, match="have changed since they were written; 'fineface repair'"):
        memo.get_or_compute(rows, never, chunk=20)
    assert [file.rows for file in memo.repair(store.home / "damaged")] == [20]
    again = memo.get_or_compute(rows, lambda chunk: chunk, chunk=20)
    assert again.computed == 20 and again.frame.sort("key").equals(right)


def test_rows_that_were_moved_into_fewer_files_are_checked_like_the_others(store):
    memo = store.memo("m")
    memo.get_or_compute(requests(*(f"key {n}" for n in range(16))), Doubler(), chunk=2)
    assert memo._compact(memo._delta.open())
    (path,) = memo._delta.files(memo._delta.open())
    content = path.read_bytes()
    assert b"key 0" in content
    path.write_bytes(content.replace(b"key 0", b"kex 0", 1))
    with pytest.raises(CorruptTable, match=f"bytes of {path} have changed"):
        len(memo)


def test_a_small_change_leaves_large_files_as_they_are(store):
    memo = store.memo("m")
    many = requests(*(f"key {n:03}" for n in range(300)))
    memo.get_or_compute(many, Doubler(), chunk=300)
    (large,) = memo._delta.files(memo._delta.open())
    more = requests(*(f"new {n:03}" for n in range(2 * COMPACT_ABOVE)))
    memo.get_or_compute(more, Doubler(), chunk=2)
    files = memo._delta.listed(memo._delta.open())
    assert files[0].path == large and [file.rows for file in files] == [300, 2 * COMPACT_ABOVE]
    assert memo.get_or_compute(pl.concat([more, many]), Doubler(), chunk=2).computed == 0


def test_files_join_when_what_lies_beside_them_has_doubled():
    def joined(*rows):
        files = [DataFile(Path(f"{n}"), 0, count, f"{n}") for n, count in enumerate(rows)]
        return [rows[int(found)] for found in _small(files)]

    assert joined(5, 5, 5, 5) == [5, 5, 5, 5]
    assert joined(1000, 2, 2, 2) == [2, 2, 2]
    assert joined(1000, 6, 2, 2, 2) == [2, 2, 2, 6] and joined(1000, 7, 2, 2, 2) == [2, 2, 2]
    assert len(joined(1, 2, 4, 8)) < 2, "each larger than all below it"
    assert len(joined(1, 100, 90)) < 2
    assert joined(FULL, FULL, 3, 3) == [3, 3]
    assert len(joined(FULL, FULL)) < 2, "full ones are left alone"


def test_a_large_memo_is_looked_up_by_ranges_of_keys(store, monkeypatch):
    memo = store.memo("m")
    wanted = requests(*(f"key {n % 50:02} {n}" for n in range(200)))
    first = memo.get_or_compute(wanted, Doubler(), chunk=10)
    monkeypatch.setattr("store.memo.FULL", 16)
    again = memo.get_or_compute(wanted.reverse(), Doubler(), chunk=10)
    assert again.computed == 0 and again.frame.equals(first.frame.reverse())
    some = memo.read(pl.Series(["key 07 7", "key 49 199", "unknown"]))
    assert sorted(some["key"]) == ["key 07 7", "key 49 199"]
    assert memo.read(pl.Series([], dtype=pl.String)).is_empty()


@given(st.lists(st.text("abc", max_size=3), max_size=30), st.integers(1, 9))
def test_ranges_hold_every_key_once_and_do_not_overlap(keys, count):
    ranges = _ranges(pl.Series(keys, dtype=pl.String), count)
    assert len(ranges) <= count and [key for part in ranges for key in part] == sorted(set(keys))


def test_answers_without_a_hash_from_before_stay_readable_and_get_one(store):
    memo = store.memo("m")
    old = pl.DataFrame({"key": ["old"], "double": [1], "computed_at": [datetime(2020, 1, 1, tzinfo=UTC)]})
    memo._delta.write(old, None, overwrite=False)
    result = memo.get_or_compute(requests("old", "new"), Doubler(), chunk=1)
    assert result.frame.rows() == [("old", 1), ("new", 2)] and memo.repair(store.home / "damaged") == []
    memo._compact(memo._delta.open())
    table = pl.read_delta(str(memo.folder))
    assert table["rows_hash"].null_count() == 0 and sorted(memo.read().rows()) == [("new", 2), ("old", 1)]


def test_the_name_of_the_hash_is_taken(store):
    with pytest.raises(UnstorableColumn, match="'rows_hash' is taken"):
        store.memo("m").get_or_compute(requests("a"), lambda c: c.select("key", rows_hash="key"), chunk=1)


def test_half_written_files_are_never_read(store):
    memo = store.memo("m")
    memo.get_or_compute(requests("a"), Doubler(), chunk=1)
    folder = store.home / "memo" / "m"
    (folder / "part-00000-half.snappy.parquet").write_bytes(b"PAR1 half")
    (folder / "_delta_log" / "_commit_77.json.tmp").write_text('{"add": ')
    assert memo.get_or_compute(requests("a", "b"), Doubler(), chunk=1).computed == 1


# --- processes

WORKER = """
import os, sys, time
import polars as pl
from pathlib import Path
from store import Store

home, tag, keys, pause = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])

def compute(chunk):
    with open(home / f"asked-{tag}", "a") as log:
        log.writelines(key + "\\n" for key in chunk["key"])
    time.sleep(pause)
    return chunk.select("key", square=pl.col("n") ** 2, by=pl.lit(tag))

frame = pl.DataFrame({"key": [f"k{n:03}" for n in range(keys)], "n": range(keys)})
Store(home).memo("m").get_or_compute(frame, compute, chunk=4)
"""


def _start(home, tag, keys, pause):
    Path(home).mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(home), tag, str(keys), str(pause)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )


def _asked(home, tag):
    log = Path(home) / f"asked-{tag}"
    return log.read_text().split() if log.exists() else []


def _result(home):
    rows = Store(home).memo("m").read().sort("key")
    assert rows["key"].is_unique().all()
    return rows.drop("by")


@pytest.mark.parametrize("after_chunks", [1, 5])
def test_sigkill_loses_at_most_the_chunk_in_work(tmp_path, after_chunks):
    killed, whole, keys = tmp_path / "killed", tmp_path / "whole", 40
    process = _start(killed, "first", keys, 0.03)
    deadline = time.monotonic() + 30
    while len(_asked(killed, "first")) <= 4 * after_chunks:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    begun = len(_asked(killed, "first"))
    assert 0 < begun < keys
    kept = len(Store(killed).memo("m"))
    assert begun - 4 <= kept <= begun

    assert _start(killed, "second", keys, 0).wait() == 0
    assert len(_asked(killed, "second")) == keys - kept
    assert _start(whole, "first", keys, 0).wait() == 0
    assert_frame_equal(_result(killed), _result(whole))


def test_two_processes_append_at_once(tmp_path):
    running = [_start(tmp_path, tag, 60, 0.005) for tag in ("one", "two")]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    memo = Store(tmp_path).memo("m")
    frame = pl.DataFrame({"key": [f"k{n:03}" for n in range(60)]})
    result = memo.get_or_compute(frame, never, chunk=4).frame
    assert result["key"].to_list() == frame["key"].to_list()
    assert result["square"].to_list() == [n**2 for n in range(60)]
    assert _result(tmp_path).height == len(memo) == 60


COMPACTING = """
import sys
from store import Store

memo = Store(sys.argv[1]).memo("m")
for _ in range(6):
    memo._compact(memo._delta.open())
"""


def append(memo, rows):
    """As a process does that looked up nothing."""
    rows = rows.with_columns(pl.lit(datetime.now(UTC), pl.Datetime("us", "UTC")).alias(COMPUTED_AT))
    memo._delta.retry(lambda: memo._delta.append(rows, memo._delta.open()))


def test_compacting_at_once_in_several_processes_and_appending_doubles_and_loses_no_row(tmp_path):
    """`optimize.compact` of one version by two processes left both results in the table."""
    memo = Store(tmp_path).memo("m")
    for n in range(12):
        append(memo, pl.DataFrame({"key": [f"first{n}"], "v": [n]}))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", COMPACTING, str(tmp_path)], env={**os.environ, "PYTHONPATH": os.getcwd()}
        )
        for _ in range(4)
    ]
    count = 0
    while any(process.poll() is None for process in running):
        append(memo, pl.DataFrame({"key": [f"later{count}"], "v": [count]}))
        count += 1
        time.sleep(0.01)
    assert [process.wait() for process in running] == [0] * 4
    rows = pl.read_delta(str(tmp_path / "memo" / "m"))
    assert rows.height == rows["key"].n_unique() == 12 + count


def test_of_two_answers_to_one_key_the_older_wins_before_and_after_compaction(store):
    memo = store.memo("m")
    for answer in ("old", "new"):
        append(memo, pl.DataFrame({"key": ["a"], "answer": [answer]}))
    assert memo.read().rows() == [("a", "old")] and len(memo) == 1
    memo._compact(memo._delta.open())
    assert memo.read().rows() == [("a", "old")]
    assert memo.get_or_compute(requests("a"), never, chunk=1).frame.rows() == [("a", "old")]


def test_looking_up_450_000_keys_is_fast(store):
    keys = pl.DataFrame({"key": pl.Series(range(450_000)).cast(pl.String).str.zfill(32)})
    memo = store.memo("m")
    memo.get_or_compute(keys, lambda c: c.with_columns(v=pl.lit(1.0)), chunk=150_000)
    started = time.perf_counter()
    result = memo.get_or_compute(keys, never, chunk=1000)
    seconds = time.perf_counter() - started
    assert result.reused == 450_000 and result.frame["key"].equals(keys["key"])
    assert seconds < 5, f"{seconds:.1f} s"
