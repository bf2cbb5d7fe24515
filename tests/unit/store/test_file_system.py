"""Files written whole, closed to others, never through a link; the lock that a dead process does not hold."""

import ast
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import store as store_room
from store import Store, file_system
from store.errors import Locked
from store.lock import sole

HOLD = "import sys, time\nfrom pathlib import Path\nfrom store.lock import sole\n"
HOLD += "with sole(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_for_their_owner_alone_whatever_the_mask(tmp_path):
    before = os.umask(0)
    try:
        store = Store(tmp_path / "home")
        name = store.files("faces").put(b"a face", ".png")
    finally:
        os.umask(before)
    path = store.files("faces").path(name)
    assert mode(path) == 0o600
    assert [mode(place) for place in list(path.parents)[:4]] == [0o700] * 4


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(tmp_path):
    target, link = tmp_path / "target", tmp_path / "page.html"
    target.write_text("mine")
    link.symlink_to(target)
    file_system.write(link, "page")
    assert target.read_text() == "mine" and link.read_text() == "page" and not link.is_symlink()


def test_what_fails_in_the_middle_leaves_the_old_file_and_no_other(tmp_path):
    path = file_system.write(tmp_path / "a", b"old")
    with pytest.raises(RuntimeError), file_system.draft(path) as half:
        half.write_bytes(b"ne")
        raise RuntimeError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_lock_names_who_holds_it_and_is_free_when_that_one_is_killed(tmp_path):
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Locked, match=f"process {holder.pid} holds {path}"), sole(path, patience=0.1):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    began = time.monotonic()
    with sole(path, patience=5):
        assert path.read_text() == str(os.getpid())
    assert time.monotonic() - began < 2


def test_a_file_is_removed_once(tmp_path):
    files = Store(tmp_path).files("x")
    name = files.put(b"1")
    assert files.remove(name) and not files.remove(name) and not files.has(name)


def test_the_store_reaches_its_own_files_through_this_seam_alone():
    """Hashing reads raw data too, lock and disk are the system's; all else goes through this seam."""
    touching = {
        *("exists", "is_file", "is_dir", "stat", "lstat", "unlink", "mkdir", "rmdir", "iterdir", "glob"),
        *("rglob", "read_bytes", "read_text", "write_bytes", "write_text", "rename", "replace", "touch"),
    }
    for path in Path(store_room.__file__).parent.glob("*.py"):
        if path.name in ("file_system.py", "disk.py", "lock.py", "hashing.py", "hash_cache.py"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
        methods = [call for call in called if isinstance(call, ast.Attribute)]
        direct = [
            f"{path.name}:{call.lineno} {ast.unparse(call)}"
            for call in methods
            if call.attr in touching and not ast.unparse(call).startswith(("file_system.", "pl."))
        ]
        opened = [call for call in called if isinstance(call, ast.Name) and call.id == "open"]
        assert not direct and not opened, direct
