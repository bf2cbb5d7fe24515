import os
from pathlib import Path

import pytest

from store import HashCache, Store, hash_bytes, hash_cache


@pytest.fixture
def read_files(monkeypatch):
    read = []
    original = hash_cache.hash_file

    def counted(path):
        read.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(hash_cache, "hash_file", counted)
    return read


def test_unchanged_files_are_not_read_again(tmp_path, read_files):
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    os.utime(paths[2], ns=(-5, -5))  # archives hold such times
    store = Store(tmp_path / "home")
    first = HashCache(store).hash_files(paths)
    assert first == [hash_bytes(name.encode()) for name in "abc"] and sorted(read_files) == ["a", "b", "c"]
    read_files.clear()
    assert HashCache(store).hash_files([*reversed(paths), paths[0]]) == [*reversed(first), first[0]]
    assert read_files == []


def test_changed_file_alone_is_read_again_even_at_equal_size(tmp_path, read_files):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("old")
    cache = HashCache(Store(tmp_path / "home"))
    before = cache.hash_files(paths)
    paths[1].write_text("new")  # within the same clock tick as far as the test can make it
    read_files.clear()
    after = cache.hash_files(paths)
    assert read_files == ["b"]
    assert after[0] == before[0] and after[1] == hash_bytes(b"new")


def test_cache_names_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        HashCache(Store(tmp_path / "home")).hash_files([tmp_path / "gone"])


def test_one_unreadable_file_does_not_cost_the_others(tmp_path, read_files):
    paths = [tmp_path / "a", tmp_path / "gone", tmp_path / "b", tmp_path / "folder"]
    for name in "ab":
        (tmp_path / name).write_text(name)
    (tmp_path / "folder").mkdir()
    cache = HashCache(Store(tmp_path / "home"))
    wanted = [hash_bytes(b"a"), None, hash_bytes(b"b"), None]
    assert cache.hash_readable_files(paths) == wanted
    read_files.clear()
    assert cache.hash_readable_files(paths) == wanted
    assert read_files == ["folder"], "what cannot be read is tried again"
    with pytest.raises(OSError, match="gone"):
        cache.hash_files(paths)
    (tmp_path / "gone").write_text("back")
    assert cache.hash_readable_files(paths)[1] == hash_bytes(b"back")


def test_file_that_changes_while_it_is_read_is_not_cached(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_text("first")
    original = hash_cache.hash_file

    def grow(file):
        digest = original(file)
        path.write_text("second!")
        return digest

    cache = HashCache(Store(tmp_path / "home"))
    monkeypatch.setattr(hash_cache, "hash_file", grow)
    with pytest.raises(OSError, match=f"changed while being hashed: {path}"):
        cache.hash_files([path])
    monkeypatch.setattr(hash_cache, "hash_file", original)
    assert cache.hash_files([path]) == [hash_bytes(b"second!")]


def test_a_name_that_is_no_text_costs_neither_itself_nor_the_others(tmp_path, read_files):
    odd, sound, gone = (os.fsencode(tmp_path) + name for name in (b"/\xff.png", b"/a.png", b"/\xfe.png"))
    for path in (odd, sound):
        with open(path, "wb") as file:
            file.write(path[-5:])
    cache, paths = HashCache(Store(tmp_path / "home")), [*map(os.fsdecode, (odd, gone, sound))]
    wanted = [hash_bytes(odd[-5:]), None, hash_bytes(sound[-5:])]
    assert cache.hash_readable_files(paths) == wanted
    read_files.clear()
    assert cache.hash_readable_files(paths) == wanted and read_files == []
