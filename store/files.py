"""Content-named files: frames, latents, pictures, adapters. A name is the hash of the bytes and a suffix."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

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
            with _temporary(path) as file:
                file.write(data)
                _publish(file, path)
        return path.name

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
                f"{self.kind}: the bytes of {path} do not match its name; remove it to rebuild it"
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
        path = self.path(digest + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _holds(path: Path, data: bytes) -> bool:
    # A crash of the machine may leave a short file, a disk a damaged one; writing it again heals it.
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


class _temporary:
    """A file beside `path` that is gone at the end unless published. Its name is never that of a stored
    file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "tempfile._TemporaryFileWrapper":
        self._file = tempfile.NamedTemporaryFile(dir=self._path.parent, prefix=".half-", delete=False)
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()
        Path(self._file.name).unlink(missing_ok=True)


def _publish(file: "tempfile._TemporaryFileWrapper", path: Path) -> None:
    file.close()
    os.chmod(file.name, 0o666 & ~_UMASK)
    os.replace(file.name, path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()
