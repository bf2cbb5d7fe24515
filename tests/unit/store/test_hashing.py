import hashlib
import os
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import store.hashing as hashing
from store import (
    UnstorableColumn,
    fingerprint,
    hash_bytes,
    hash_files,
    hash_folder,
    hash_frame,
)

FRAME = {
    "s": ["é", None, ""],
    "i": [1, None, 3],
    "f": [0.5, float("nan"), None],
    "b": [True, None, False],
    "l": [["a", None], None, []],
    "d": [date(2020, 1, 1), None, date(1960, 1, 1)],
    "t": [datetime(2020, 1, 1), None, None],
    "x": [b"\x00\xff", None, b""],
    "st": [{"p": 1, "q": "z"}, None, {"p": None, "q": ""}],
}


def test_hash_of_bytes_is_blake2b_128():
    assert (
        hash_bytes(b"")
        == hashlib.blake2b(b"", digest_size=16).hexdigest()
        == "cae66941d9efbd404e4d88758ea67670"
    )


def test_files_hash_like_their_bytes_in_order(tmp_path):
    paths = []
    for index in range(50):
        paths.append(tmp_path / f"{index}")
        paths[-1].write_bytes(bytes([index]) * index * 1000)
    assert hash_files(paths, workers=4) == [hash_bytes(path.read_bytes()) for path in paths]
    assert hash_files([]) == []


def test_large_files_hash_like_their_bytes(tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "a").write_bytes(content)
    assert hashing.hash_readable_files([tmp_path / "a", tmp_path / "gone"]) == [hash_bytes(content), None]


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        hash_files([tmp_path / "nothing.png"])


# --- fingerprints


def test_fingerprint_counts_values_not_order_nor_number_type():
    assert fingerprint(a=1, b={"x": [1, 2], "y": None}) == fingerprint(b={"y": None, "x": (1.0, 2)}, a=1.0)
    assert fingerprint(a=0.0) == fingerprint(a=-0.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": "1"}),
        ({"a": True}, {"a": 1}),
        ({"a": None}, {}),
        ({"a": "b", "c": ""}, {"a": "", "c": "b"}),
        ({"a": [1, [2]]}, {"a": [[1], 2]}),
        ({"a": 0.1}, {"a": 0.1000000001}),
    ],
)
def test_fingerprint_tells_apart(one, other):
    assert fingerprint(**one) != fingerprint(**other)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (Path("a"), TypeError),
        ({1: 2}, TypeError),
        ({"deep": [object()]}, TypeError),
    ],
)
def test_fingerprint_refuses_what_has_no_canonical_form(value, error):
    with pytest.raises(error, match="setting"):
        fingerprint(setting=value)


def test_fingerprint_is_golden():
    # Keys of memo tables on disk: a change here makes every stored result unreachable.
    assert fingerprint(model="m", threshold=0.5, size=64, tags=["a", None]) == hash_bytes(
        b'{"model":"m","size":64,"tags":["a",null],"threshold":0.5}'
    )


# --- folders


def test_folder_hash_sees_names_and_contents_only(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, order in ((one, "ab"), (two, "ba")):
        (folder / "deep").mkdir(parents=True)
        for name in order:
            (folder / "deep" / f"{name}.json").write_text(name)
    first = hash_folder(one)
    assert hash_folder(two) == first
    (two / ".cache").mkdir()
    (two / ".cache" / "junk").write_text("junk")
    (two / "notes.txt").write_text("notes")
    assert hash_folder(two, ["**/*.json"]) == first
    assert hash_folder(two) != first
    (two / "deep" / "a.json").rename(two / "deep" / "c.json")
    assert hash_folder(two, ["**/*.json"]) != first


def test_folder_without_a_match_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"\*\.safetensors"):
        hash_folder(tmp_path, ["*.safetensors"])


# --- frames


def test_frame_hash_survives_processes():
    script = f"""
from datetime import date, datetime
import polars as pl
from store import hash_frame
nan = float('nan')
print(hash_frame(pl.DataFrame({FRAME!r})))
""".replace("datetime.date(", "date(").replace("datetime.datetime(", "datetime(")
    hashes = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "POLARS_MAX_THREADS": seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert hashes == {hash_frame(pl.DataFrame(FRAME))}


def test_frame_hash_is_the_same_however_many_rows_are_joined_at_once(monkeypatch):
    frame = pl.concat([pl.DataFrame(FRAME)] * 3)
    whole = hash_frame(frame)
    monkeypatch.setattr(hashing, "_ROWS_AT_ONCE", 2)
    assert hash_frame(frame) == whole


def test_frame_hash_does_not_see_chunks_or_slices():
    frame = pl.DataFrame(FRAME)
    whole = hash_frame(frame)
    assert hash_frame(pl.concat([frame[:1], frame[1:]], rechunk=False)) == whole
    assert hash_frame(pl.concat([frame, frame])[3:]) == whole
    assert hash_frame(pl.concat([frame[2:], frame])[1:]) == whole


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.reverse(),
        lambda f: f[:2],
        lambda f: f.rename({"s": "z"}),
        lambda f: f.select(reversed(f.columns)),
        lambda f: f.with_columns(pl.col("i").cast(pl.Int32)),
        lambda f: f.with_columns(pl.col("s").fill_null("")),
        lambda f: f.with_columns(pl.col("f").fill_null(0.0)),
        lambda f: f.with_columns(pl.col("f").fill_nan(None)),
        lambda f: f.with_columns(pl.col("b").fill_null(False)),
        lambda f: f.with_columns(pl.col("l").fill_null([])),
        lambda f: f.with_columns(l=pl.Series([["a"], [None], []], dtype=pl.List(pl.String))),
        lambda f: f.with_columns(x=pl.Series([b"\x00", None, b"\xff"])),
        lambda f: f.with_columns(s=pl.Series(["", None, "é"])),
    ],
)
def test_frame_hash_sees_every_change(change):
    frame = pl.DataFrame(FRAME)
    assert hash_frame(change(frame)) != hash_frame(frame)


def test_frame_hash_joins_what_the_store_cannot_tell_apart():
    assert hash_frame(pl.DataFrame({"a": [0.0]})) == hash_frame(pl.DataFrame({"a": [-0.0]}))
    category = pl.DataFrame({"a": ["x", "y", "x"]}, schema={"a": pl.Categorical})
    assert hash_frame(category) == hash_frame(pl.DataFrame({"a": ["x", "y", "x"]}))
    unsigned = pl.DataFrame({"a": [1, 2]}, schema={"a": pl.UInt32})
    assert hash_frame(unsigned) == hash_frame(pl.DataFrame({"a": [1, 2]}))


def test_frame_hash_refuses_untyped_columns():
    with pytest.raises(UnstorableColumn, match=r"a \(Null\)"):
        hash_frame(pl.DataFrame({"a": [None]}))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.text(max_size=3), st.none() | st.floats(allow_nan=False)), max_size=8),
    st.integers(0, 8),
)
def test_frame_hash_equals_exactly_when_frames_do(rows, cut):
    schema = {"s": pl.String, "f": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    cut = min(cut, frame.height)
    again = pl.concat([frame[:cut], frame[cut:]], rechunk=False)
    assert hash_frame(frame) == hash_frame(again)
    reverse = frame.reverse()
    assert (hash_frame(frame) == hash_frame(reverse)) == frame.equals(reverse)


# --- the cache of file hashes
