"""A full disk: said before anything is written, in one error, and nothing half-written is seen."""

import errno
import os
import subprocess
from collections import namedtuple

import polars as pl
import pytest

from store import Store, StoreError, disk, file_system
from store.errors import DiskFull

Free = namedtuple("Free", "f_bavail f_frsize")


@pytest.fixture
def crowded(monkeypatch):
    """A disk with so many bytes to spare beside the reserve."""

    def leave(size):
        monkeypatch.setattr(os, "statvfs", lambda place: Free(disk.RESERVE + size, 1))

    return leave


def frame(rows):
    return pl.DataFrame({"n": pl.arange(rows, dtype=pl.Int64, eager=True)})


def test_before_anything_is_written_the_folder_and_the_need_are_named(tmp_path, crowded):
    store = Store(tmp_path / "home")
    store.write("stage", frame(3))
    crowded(70_000)
    said = r"the disk of .*/home/tables/stage is full: stage 'stage' needs 0\.8 MB, 33\.6 MB are free"
    with pytest.raises(DiskFull, match=said):
        store.write("stage", frame(100_000))
    assert store.read("stage").height == 3 and store.version("stage") == 0
    assert len(list((tmp_path / "home" / "tables" / "stage").glob("*.parquet"))) == 1
    assert store.write("stage", frame(4)) == 1, "what has room is written"


def test_files_and_answers_too(tmp_path, crowded):
    store = Store(tmp_path / "home")
    crowded(-1)
    with pytest.raises(DiskFull, match="files/pictures"):
        store.files("pictures").put(b"1234")
    with pytest.raises(DiskFull, match="memo 'm' needs"):
        store.memo("m").get_or_compute(
            pl.DataFrame({"key": ["a"]}), lambda rows: rows.with_columns(v=1), chunk=1
        )
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "quota"),
        RuntimeError("Generic LocalFileSystem error: … (os error 28)"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
    ids=str,
)
def test_a_disk_that_fills_up_meanwhile_is_the_same_error(tmp_path, error):
    said = r"a thing needs 2\.0 MB"
    with pytest.raises(DiskFull, match=said) as raised, disk.room(tmp_path, 2_000_000, "a thing"):
        raise error
    assert raised.value.__cause__ is error and isinstance(raised.value, StoreError)


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (OSError(errno.EACCES, "no"), ValueError("no"), KeyError("k")):
        with pytest.raises(type(error)) as raised, disk.room(tmp_path, 1, "a thing"):
            raise error
        assert raised.value is error


def test_a_draft_on_a_disk_that_fills_up_leaves_the_old_file(tmp_path):
    path = file_system.write(tmp_path / "a", "old")
    with pytest.raises(DiskFull), file_system.draft(path) as half:
        half.write_text("ne")
        raise OSError(errno.ENOSPC, "full")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a"]


@pytest.fixture
def small(tmp_path):
    """A file system of 3 MB of its own; tests that need one are skipped where none can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "small", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_file_system_that_is_really_full(small, monkeypatch):
    """Nothing is checked beforehand here: every write comes to the end of the disk itself."""
    monkeypatch.setattr(disk, "RESERVE", -(1 << 40))
    store = Store(small / "home")
    store.write("stage", frame(10))
    store.memo("m").get_or_compute(pl.DataFrame({"key": ["a"]}), lambda rows: rows.with_columns(v=1), chunk=1)
    noise = os.urandom(1 << 20)
    filler = small / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(noise[:4096])
            except OSError:
                break
    random = pl.DataFrame({"v": [os.urandom(8000).hex() for _ in range(20)]})
    with pytest.raises(DiskFull, match="home/tables/stage is full"):
        store.write("stage", random)
    with pytest.raises(DiskFull, match="home/memo/m is full"):
        store.memo("m").get_or_compute(
            random.with_columns(key="v"), lambda rows: rows.select("key", v=pl.lit(2)), chunk=20
        )
    with pytest.raises(DiskFull, match="files/pictures"):
        store.files("pictures").put(noise)
    assert store.read("stage").height == 10 and len(store.memo("m")) == 1
    filler.unlink()
    assert store.write("stage", random) == 1 and store.read("stage").equals(random)
    assert Store(small / "home").memo("m").read().rows() == [("a", 1)]
