"""Several processes write one table at once: every row is there, and there once."""

import os
import subprocess
import sys

import polars as pl
import pytest

from store import Store

WRITERS, KEYS = 4, 40

MEMO = """
import sys
import polars as pl
from store import Store, memo

memo.COMPACT_DURING, memo.COMPACT_ABOVE = 2, 2  # nearly every chunk finds others compacting
who, keys = sys.argv[2], [f"{sys.argv[2]}/{n}" for n in range(int(sys.argv[3]))]
known = Store(sys.argv[1]).memo("m")
asked = pl.DataFrame({"key": keys})
known.get_or_stream(asked, lambda rows: ({"key": key, "by": who} for key in rows["key"]), chunk=2)
"""

SAME = """
import sys
import polars as pl
from store import Store

asked = pl.DataFrame({"key": [str(n) for n in range(int(sys.argv[3]))]})
answers = lambda rows: ({"key": key, "by": sys.argv[2]} for key in rows["key"])
Store(sys.argv[1]).memo("m").get_or_stream(asked, answers, chunk=2)
"""

STAGE = """
import sys
import polars as pl
from store import Store

for n in range(int(sys.argv[3])):
    if n % 2:
        Store(sys.argv[1]).append("notes", pl.DataFrame({"by": [sys.argv[2]], "n": [n]}))
    else:
        Store(sys.argv[1]).write("whole", pl.DataFrame({"n": range(5)}))
"""


def written(home, code, each):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(home), str(n), str(each)],
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        for n in range(WRITERS)
    ]
    assert [process.wait() for process in running] == [0] * WRITERS


def rows_in_files(delta):
    return pl.concat(pl.read_parquet(path) for path in delta.files(delta.open()))


@pytest.mark.timeout(300)
def test_a_memo_that_all_of_them_compact(tmp_path):
    written(tmp_path, MEMO, KEYS)
    memo = Store(tmp_path).memo("m")
    rows = rows_in_files(memo._delta)
    assert rows.height == rows["key"].n_unique() == WRITERS * KEYS
    assert (rows["key"].str.head(1) == rows["by"]).all()
    assert len(memo._delta.files(memo._delta.open())) < WRITERS * KEYS // 2, "it was compacted"


@pytest.mark.timeout(300)
def test_what_all_of_them_ask_at_once_is_there_once(tmp_path):
    written(tmp_path, SAME, KEYS)
    rows = rows_in_files(Store(tmp_path).memo("m")._delta)
    assert rows.height == rows["key"].n_unique() == KEYS


@pytest.mark.timeout(300)
def test_a_table_that_is_appended_to_and_one_that_is_written_whole(tmp_path):
    written(tmp_path, STAGE, 8)
    store = Store(tmp_path)
    notes = rows_in_files(store.delta("notes"))
    assert notes.height == notes.select("by", "n").unique().height == WRITERS * 4
    assert store.version("whole") == 0 and rows_in_files(store.delta("whole")).height == 5
