"""The one way to files: written whole or not at all, for their owner's eyes alone. It lies here or
elsewhere (`store.objects`): a path that stands for what is elsewhere is used through these functions like any
other; `local` is for what must open a path itself.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from store import disk, objects

FILE_MODE, FOLDER_MODE = 0o600, 0o700
DRAFT = ".half-"
AT_ONCE = 32
"""Requests to a bucket under way together: they wait, they do not work."""


is_address = objects.is_address


def place(named: str | os.PathLike[str]) -> Path:
    """The path that code uses for what a user names: absolute, or standing for an address like
    s3://bucket/prefix. Raises HomeError for what is no address."""
    if objects.is_address(named):
        return objects.place(named)
    return Path(os.path.abspath(os.path.expanduser(named)))


def is_elsewhere(path: Path) -> bool:
    """Whether `path` stands for what is in a bucket."""
    return objects.elsewhere(path)


def address(path: Path) -> str:
    """`path` as its user named it: s3://bucket/prefix for what is elsewhere."""
    return objects.address(path) if objects.elsewhere(path) else str(path)


def uri(path: Path) -> str:
    """`path` as a URI, for those who reach it in their own way."""
    return objects.address(path) if objects.elsewhere(path) else path.as_uri()


def own(path: Path) -> Path:
    """Where that lies which goes with `path` but is this machine's alone: scratch, hashes of files by their
    paths, Dagster's runs. For a home on this machine, that is the home."""
    return objects.own(path) if objects.elsewhere(path) else path


def local(path: Path) -> Path:
    """`path`, once what is there lies on this machine: a file or folder from elsewhere is fetched unless an
    unchanged copy is here, and copies of what is gone there are removed. A path where nothing is stays so."""
    if objects.elsewhere(path):
        found = objects.state(path)
        if found is not None:
            _fetch(path, found)
        elif path.is_file():
            path.unlink()
        else:
            _fetch_folder(path)
    return path


def fetch(paths: Iterable[str | os.PathLike[str]]) -> None:
    """`local` of many files at once."""
    if there := [Path(path) for path in paths if objects.elsewhere(path)]:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
            list(pool.map(local, there))


def publish(source: Path, target: Path) -> None:
    """Makes the folder `target` elsewhere equal to `source` on this machine; does nothing where they are one.
    What lies on top, and tells that the rest is there, comes last. Hidden files, and those that vanish
    meanwhile, are left out."""
    if source == target:
        return
    known = objects.listed(target)
    files = [path for path in find(source, "**/*") if path.is_file() and not path.name.startswith(".")]
    for path in sorted(files, key=lambda path: (-len(path.parts), path)):
        name = path.relative_to(source).as_posix()
        found = known.pop(name, None)
        if found is None or state(path) != found:
            try:
                with draft(target / name) as half:
                    shutil.copyfile(path, half)
                if state(path) is not None:
                    _dated(path, state(target / name))
            except FileNotFoundError:
                continue
    for name in known:
        remove(target / name)


def _fetch_folder(folder: Path) -> None:
    known = objects.listed(folder)
    if folder.is_dir():
        here = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(DRAFT)]
        for path in here:
            if path.relative_to(folder).as_posix() not in known:
                path.unlink(missing_ok=True)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch") as pool:
        list(pool.map(lambda name: _fetch(folder / name, known[name]), known))


def _fetch(path: Path, found: objects.State) -> None:
    if _here(path) != found:
        with _drafted(path) as half:
            found = objects.download(path, half)
        _dated(path, found)


def _dated(path: Path, found: tuple[int, int] | None) -> None:
    """Notes in its time which version of what is elsewhere a copy is."""
    if found is not None:
        os.utime(path, ns=(found[1], found[1]))


def make_folder(folder: Path) -> Path:
    """`folder`, made with all that is missing above it, each closed to others."""
    for missing in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
        missing.mkdir(FOLDER_MODE, exist_ok=True)
    folder.mkdir(FOLDER_MODE, exist_ok=True)  # what is a file raises
    return folder


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A name on this machine to write a file to; it becomes `path` when the block ends without an error, else
    it is gone. A kill leaves the old file, or none. Raises DiskFull."""
    with _drafted(path) as half:
        yield half
        if objects.elsewhere(path):
            objects.upload(path, half)
    if objects.elsewhere(path):
        _dated(path, objects.state(path))


@contextmanager
def _drafted(path: Path) -> Iterator[Path]:
    make_folder(path.parent)
    half = path.with_name(f"{DRAFT}{path.name}.{secrets.token_hex(6)}")
    try:
        with disk.full_disk_named(path.parent, 0, path.name):
            os.close(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, FILE_MODE))
            yield half
            os.chmod(half, FILE_MODE)
            os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def write(path: Path, content: bytes | str) -> Path:
    """Write `content` to `path`, whole or not at all; `path` itself. A link at `path` is replaced, not
    followed."""
    data = content.encode() if isinstance(content, str) else content
    with disk.room(path.parent, len(data), path.name), draft(path) as half:
        half.write_bytes(data)
    return path


def read(path: Path) -> bytes:
    """The bytes of a file. Raises OSError (FileNotFoundError) where that cannot be."""
    return objects.read(path) if objects.elsewhere(path) else path.read_bytes()


def state(path: Path) -> tuple[int, int] | None:
    """Bytes and time of change (nanoseconds) of a regular file; None where there is none."""
    return objects.state(path) if objects.elsewhere(path) else _here(path)


def _here(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def size(path: Path) -> int | None:
    """Bytes of a regular file; None where there is none."""
    found = state(path)
    return None if found is None else found[0]


def find(folder: Path, pattern: str) -> list[Path]:
    """What in `folder` matches a glob pattern, sorted, links left out; nothing where there is no folder."""
    if objects.elsewhere(folder):
        return objects.find(folder, pattern)
    return sorted(path for path in folder.glob(pattern) if not path.is_symlink())


def listed(folder: Path) -> dict[str, tuple[int, int]]:
    """`state` of all files below a folder in a bucket, by their names from there, in one go."""
    return dict(objects.listed(folder))


def remove(path: Path) -> bool:
    """Remove a file; whether it was there."""
    there = size(path) is not None
    if objects.elsewhere(path):
        objects.remove(path)
    path.unlink(missing_ok=True)
    return there


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    for path in find(folder, "**/*"):
        if size(path) is not None:
            remove(path)
    if not is_elsewhere(folder):
        shutil.rmtree(folder, ignore_errors=True)


def move(folder: Path, target: Path) -> None:
    """Move a file or folder to where nothing is yet."""
    if objects.elsewhere(folder):
        return objects.move(folder, target)
    make_folder(target.parent)
    folder.rename(target)
