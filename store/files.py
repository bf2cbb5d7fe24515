"""Content-named files: frames, latents, pictures, adapters. A name is the hash of the bytes and a suffix."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from store import file_system
from store.errors import CorruptFile, MissingFile
from store.hashing import hash_bytes, hash_readable_files

HashFiles = Callable[[Sequence[Path]], list[str | None]]

_SUFFIX = re.compile(r"(\.[A-Za-z0-9]+)*")
_NAME = re.compile(r"[0-9a-f]{32}(\.[A-Za-z0-9]+)*")


class Files:
    """The files of one kind, under `folder`: `ab/ab34….png`. Files appear whole or not at all.

    `hash_files` gives the content hashes of paths, None for one that cannot be read; what it remembers of
    unchanged files need not be read again.
    """

    def __init__(self, folder: Path, kind: str, hash_files: HashFiles = hash_readable_files) -> None:
        self.folder, self.kind, self._hash_files = folder, kind, hash_files

    def put(self, data: bytes, suffix: str = "") -> str:
        """Stores `data`; its name, `<hash><suffix>`. The same bytes are stored once. Raises ValueError for
        a suffix that is not like `.png` or `.tar.gz`."""
        path = self._target(hash_bytes(data), suffix)
        if not _holds(path, data):
            file_system.write(path, data)
        return path.name

    def remove(self, name: str) -> bool:
        """Removes the file `name`; whether it was there."""
        path = self.path(name)
        there = path.is_file()
        path.unlink(missing_ok=True)
        return there

    def path(self, name: str) -> Path:
        """Where the file `name` lies, whether or not it exists. Raises ValueError for what is not a name."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{self.kind}: {name!r} is not the name of a stored file")
        return self.folder / name[:2] / name

    def has(self, name: str) -> bool:
        """Whether the file `name` is stored."""
        return self.path(name).is_file()

    def read(self, name: str) -> bytes:
        """The bytes of the file `name`, checked against the name. Raises MissingFile, CorruptFile."""
        path = self.path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise MissingFile(f"{self.kind}: no file {name} at {path}") from None
        if hash_bytes(data) != name[:32]:
            raise CorruptFile(
                f"{self.kind}: the bytes of {path} do not match its name; 'fineface repair' removes it"
            )
        return data

    def lost(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that are not stored, or whose bytes no longer match the name."""
        named = list(names)
        hashes = self._hash_files([self.path(name) for name in named])
        return [name for name, found in zip(named, hashes, strict=True) if found != name[:32]]

    def _target(self, digest: str, suffix: str) -> Path:
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"{self.kind}: {suffix!r} is not a suffix like '.png'")
        return self.path(digest + suffix)


def is_name(name: str) -> bool:
    """Whether a file so called is one of ours."""
    return _NAME.fullmatch(name) is not None


def _holds(path: Path, data: bytes) -> bool:
    # A crash of the machine may leave a short file, a disk a damaged one; writing it again heals it.
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False
