"""A home in a bucket, on a real S3 server: files, leases, tables. The whole graph on one: `tests/graph`."""

import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from curation.sources import listing
from store import CorruptTable, Store, StoreError, file_system, lock, objects
from store.errors import Locked, Unreachable
from store.lock import this_process
from store.repair import repair

WRITERS = 24
PROJECT = Path(__file__).parents[3]


@pytest.fixture
def home(machine):
    return machine("one")


def at_once(function, count=WRITERS):
    """What `function` of 0 … says when all are called together; a FileExistsError is None."""
    barrier = threading.Barrier(count)

    def one(number):
        barrier.wait()
        try:
            return function(number)
        except FileExistsError:
            return None

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_of_all_that_put_what_is_absent_or_replace_one_version_exactly_one_wins(home):
    path = home / "contested"
    tags = at_once(lambda number: objects.put_if(path, b"%d" % number, None))
    (first,) = [tag for tag in tags if tag is not None]
    assert objects.read(path) == b"%d" % tags.index(first)
    tags = at_once(lambda number: objects.put_if(path, b"again %d" % number, first))
    (second,) = [tag for tag in tags if tag is not None]
    assert objects.read(path) == b"again %d" % tags.index(second)


def test_an_address_and_the_path_that_stands_for_it_are_one(home):
    place = file_system.place("s3://bucket/a/b/")
    assert file_system.address(place) == "s3://bucket/a/b" == file_system.uri(place)
    assert file_system.place(Path("s3://bucket/a/b")) == file_system.place(str(place)) == place
    assert file_system.is_elsewhere(place) and not file_system.is_elsewhere(file_system.own(place))
    for wrong in ("s3://", "s3://bucket/../other", "s3:///key"):
        with pytest.raises(StoreError, match="is no address like s3://bucket/prefix"):
            file_system.place(wrong)
    here = file_system.place("some/folder")
    assert here == Path.cwd() / "some" / "folder" == file_system.own(here)


def test_files_are_read_found_moved_and_removed_like_any_other(home):
    names = ("ab/one.png", "ab/two words & ü.png", "c#d.json", "deep/er/x")
    for name in names:
        file_system.write(home / "files" / name, name)
    assert [file_system.read(home / "files" / name).decode() for name in names] == list(names)
    found = file_system.find(home / "files", "*")
    assert [path.name for path in found] == ["ab", "c#d.json", "deep"]
    assert file_system.find(home, "files/??/*.png") == [home / "files" / name for name in names[:2]]
    assert file_system.find(home, "**/x") == [home / "files/deep/er/x"]
    assert file_system.find(home, "**/er") == [home / "files/deep/er"]
    assert file_system.find(home / "nothing", "*") == [] and file_system.size(home / "nothing") is None
    with pytest.raises(FileNotFoundError):
        file_system.read(home / "nothing")
    file_system.move(home / "files", home / "aside")
    assert file_system.find(home / "files", "**/*") == [] and file_system.read(home / "aside/deep/er/x")
    assert file_system.remove(home / "aside/deep/er/x") and not file_system.remove(home / "aside/deep/er/x")


def test_a_failed_write_leaves_what_was_there(home):
    file_system.write(home / "report.html", "old")
    with pytest.raises(RuntimeError), file_system.draft(home / "report.html") as half:
        half.write_text("half of the ne")
        raise RuntimeError
    assert file_system.read(home / "report.html") == b"old"


def test_what_one_machine_wrote_another_fetches_once_and_again_when_it_changed(machine, monkeypatch):
    home = machine("one")
    fetched = []
    download = objects.download
    monkeypatch.setattr(objects, "download", lambda *where: fetched.append(where[0].name) or download(*where))
    file_system.write(home / "folder/a", "1")
    file_system.write(home / "folder/b", "2")
    assert file_system.local(home / "folder/a").read_text() == "1" and fetched == []
    home = machine("two")
    assert file_system.local(home / "folder/a").read_text() == "1" and fetched == ["a"]
    folder = file_system.local(home / "folder")
    assert sorted(path.read_text() for path in folder.iterdir()) == ["1", "2"] and fetched == ["a", "b"]
    home = machine("one")
    file_system.write(home / "folder/a", "other")
    file_system.remove(home / "folder/b")
    home = machine("two")
    folder = file_system.local(home / "folder")
    assert [path.read_text() for path in folder.iterdir()] == ["other"] and fetched == ["a", "b", "a"]


def test_a_published_folder_is_what_it_is_here(machine, tmp_path):
    home, source = machine("one"), tmp_path / "output"
    for name in ("step-1/weights", "step-2/weights", "result.json", ".lock"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    file_system.publish(source, home / "output")
    (source / "step-1" / "weights").unlink()
    (source / "result.json").write_text("another result")
    file_system.publish(source, home / "output")
    folder = file_system.local(machine("two") / "output")
    found = {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }
    assert found == {"step-2/weights": "step-2/weights", "result.json": "another result"}


def test_a_bucket_that_cannot_be_used_is_said_in_one_line(home, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    objects._bucket.cache_clear()
    with pytest.raises(Unreachable, match=r"^s3://bucket/.* cannot be reached: .* \(InvalidAccessKeyId\)$"):
        file_system.find(home, "*")


def test_raw_data_in_a_bucket_looks_other_when_a_file_comes_or_changes_but_not_by_looking(home):
    seen = []
    for name, content in (("a/1.jpg", "1"), ("a/2.jpg", "22"), ("a/2.jpg", "333"), (".hidden/x", "x")):
        file_system.write(home / name, content)
        seen.append(listing.state(home))
    assert [state.files for state in seen] == [1, 2, 2, 2] and seen[2] == seen[3]
    assert len({state.digest for state in seen}) == 3 and abs(seen[0].changed - time.time()) < 60


def test_one_process_at_a_time_holds_a_lease(home, monkeypatch):
    held = f"process {this_process()} holds s3://bucket/.*/lock"
    with lock.sole(home / "lock"), pytest.raises(Locked, match=held), lock.sole(home / "lock", patience=0):
        pass
    assert file_system.size(home / "lock") is None
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.5)
    with lock.sole(home / "lock"):
        time.sleep(2)
        with pytest.raises(Locked), lock.sole(home / "lock", patience=2):
            pass  # it was renewed all the while


def test_the_lease_of_a_dead_process_is_free_at_once_and_one_elsewhere_when_it_is_not_renewed(
    home, monkeypatch
):
    script = (
        "import sys; from store import file_system, lock\nwith lock.sole(file_system.place(sys.argv[1])): "
    )
    script += "print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, file_system.address(home / "lock")]
    holder = subprocess.Popen(command, cwd=PROJECT, stdin=-1, stdout=-1, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Locked, match=f":{holder.pid}:"), lock.sole(home / "lock", patience=0):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    began = time.monotonic()
    with lock.sole(home / "lock", patience=5):
        assert time.monotonic() - began < lock.LEASE_SECONDS / 2
    objects.put_if(home / "lock", b'{"holder": "another-host:1:1.00"}', None)
    with pytest.raises(Locked, match="another-host"), lock.sole(home / "lock", patience=0.5):
        pass
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.0)
    with lock.sole(home / "lock", patience=20):
        assert file_system.read(home / "lock") != b'{"holder": "another-host:1:1.00"}'


def test_tables_keep_their_versions_and_damage_is_found_and_mended(machine):
    store = Store(machine("one"))
    first, second = pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [1, 2, 3]})
    assert [store.write("captions", frame) for frame in (first, first, second)] == [0, 0, 1]
    store.append("overrides", pl.DataFrame({"who": ["me"]}))
    store = Store(machine("two"))
    assert store.read("captions", version=0).equals(first) and store.read("captions").equals(second)
    assert store.stages() == ["captions", "overrides"]
    (data,) = file_system.find(store.home / "tables/overrides", "*.parquet")
    file_system.write(data, b"rubbish")
    with pytest.raises(CorruptTable):
        store.read("overrides")
    (said,) = repair(store)
    assert "rows of" in said and "LOST" in said
    assert store.read("overrides").is_empty() and file_system.find(store.home / "damaged", f"**/{data.name}")


def test_stored_files_that_were_lost_in_the_bucket_are_lost_although_a_copy_is_here(home):
    files = Store(home).files("frames")
    kept, removed = files.put(b"kept", ".png"), files.put(b"removed", ".png")
    objects.remove(files.path(removed))
    assert files.lost([kept, removed]) == [removed]
    assert files.put(b"removed", ".png") == removed and files.lost([kept, removed]) == []


def _append(cache, address, first, barrier):
    objects.CACHE = Path(cache)
    memo = Store(address).memo("answers", {"answer": pl.Int64()})
    barrier.wait()
    requests = pl.DataFrame({"key": [f"k{number}" for number in range(first, first + 60)]})
    memo.get_or_compute(requests, lambda asked: asked.select("key", answer=pl.lit(first)), chunk=2)


def test_two_machines_that_append_and_compact_at_once_lose_and_double_no_row(machine, tmp_path):
    home = machine("one")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    writers = [
        context.Process(target=_append, args=(tmp_path / name, file_system.address(home), first, barrier))
        for name, first in (("one", 0), ("two", 60))
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = Store(home)
    rows = store.memo("answers")._rows(None)
    assert rows.height == 120 == rows["key"].n_unique()
    assert rows.filter(pl.col("answer") == 60).height == 60
