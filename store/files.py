"""Content-named files: frames, latents, pictures, adapters. A name is the hash of the bytes and a suffix."""

import os
import re
import tempfile
from pathlib import Path

from store.errors import CorruptFile, MissingFile
from store.hashing import hash_bytes

_SUFFIX = re.compile(r"(\.[A-Za-z0-9]+)*")
_NAME = re.compile(r"[0-9a-f]{32}(\.[A-Za-z0-9]+)*")


class Files:
    """The files of one kind, under `folder`: `ab/ab34….png`. Files appear whole or not at all."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind = folder, kind

    def put(self, data: bytes, suffix: str = "") -> str:
        """Stores `data`; its name, `<hash><suffix>`. The same bytes are stored once. Raises ValueError for
        a suffix that is not like `.png` or `.tar.gz`."""
        path = self._target(hash_bytes(data), suffix)
        if not _has_size(path, len(data)):
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

    def _target(self, digest: str, suffix: str) -> Path:
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"{self.kind}: {suffix!r} is not a suffix like '.png'")
        path = self.path(digest + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _has_size(path: Path, size: int) -> bool:
    # A crash of the machine may leave a short file; writing it again heals it.
    return path.is_file() and path.stat().st_size == size


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
