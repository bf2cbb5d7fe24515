import os
import signal
import subprocess
import sys
import time

import pytest

from store import CorruptFile, MissingFile, Store, hash_bytes


@pytest.fixture
def files(tmp_path):
    return Store(tmp_path / "home").files("generated")


def test_the_name_is_the_hash_and_the_place_follows_from_it(files, tmp_path):
    name = files.put(b"picture", ".png")
    assert name == hash_bytes(b"picture") + ".png"
    assert files.path(name) == tmp_path / "home" / "files" / "generated" / name[:2] / name
    assert files.has(name) and files.read(name) == b"picture"
    assert files.put(b"picture", ".png") == name
    assert files.put(b"", "") == hash_bytes(b"")


def test_storing_twice_writes_once(files):
    name = files.put(b"x" * 100, ".bin")
    before = files.path(name).stat()
    files.put(b"x" * 100, ".bin")
    after = files.path(name).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_absent_and_altered_files_are_told_apart(files):
    name = files.put(b"picture", ".png")
    other = hash_bytes(b"other") + ".png"
    assert not files.has(other)
    with pytest.raises(MissingFile, match=f"generated: no file {other} at "):
        files.read(other)
    files.path(name).write_bytes(b"pictur3")
    with pytest.raises(CorruptFile, match=str(files.path(name))):
        files.read(name)


def test_a_shortened_file_is_healed_by_storing_it_again(files):
    name = files.put(b"picture", ".png")
    files.path(name).write_bytes(b"pic")
    assert files.put(b"picture", ".png") == name and files.read(name) == b"picture"


@pytest.mark.parametrize("suffix", ["png", "/x", ".", ".p/ng", ".tmp-", "..", ".png "])
def test_odd_suffixes_are_refused(files, suffix):
    with pytest.raises(ValueError, match="suffix"):
        files.put(b"x", suffix)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a" * 31, "A" * 32, "a" * 32 + "/b", None])
def test_what_is_no_name_is_refused(files, name):
    with pytest.raises(ValueError, match="not the name of a stored file"):
        files.path(name)


def test_an_interrupted_write_leaves_nothing(files, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.put(b"picture", ".png")
    assert not files.has(hash_bytes(b"picture") + ".png")
    assert [path for path in files.folder.rglob("*") if path.is_file()] == []


def test_sigkill_never_leaves_a_half_file_under_a_name(tmp_path):
    script = """
import sys
from store import Store
files = Store(sys.argv[1]).files("big")
for n in range(10_000):
    files.put(bytes([n % 256]) * 4_000_000 + str(n).encode(), ".bin")
"""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path], env=environment)
    files = Store(tmp_path).files("big")
    while not list(files.folder.glob("*/*.bin")):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    names = [path.name for path in files.folder.glob("*/[0-9a-f]*")]
    assert names and all(len(files.read(name)) > 4_000_000 for name in names)
