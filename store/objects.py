"""Objects in a bucket (S3). A path below `CACHE/s3` stands for the object of the same name, and is where its
copy on this machine lies.

The name says it all: nothing is registered, so that another process that is handed the path finds the object
too. Credentials and endpoint come from the usual AWS_* variables alone. Who wants files asks
`store.file_system`.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from store.errors import HomeError, Unreachable

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Store

CACHE = Path(
    os.environ.get("FINEFACE_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "fineface")
).absolute()
"""Copies of what lies elsewhere (`s3`: fetched again when it was emptied), and what is this machine's of
a home that does (`own`)."""

_ADDRESS = re.compile(r"s3:/{1,2}([^/]+)/*(.*?)/*")
"""A Path makes one slash of two."""


class State(NamedTuple):
    """Bytes, and time of change in nanoseconds (S3 tells whole seconds)."""

    size: int
    time: int


def is_address(text: str | os.PathLike[str]) -> bool:
    """Whether `text` names something in a bucket rather than a path of this machine."""
    return os.fspath(text).startswith("s3:/")


def place(address: str | os.PathLike[str]) -> Path:
    """The path that stands for `s3://bucket/key`. Raises HomeError for what names no bucket."""
    found = _ADDRESS.fullmatch(os.fspath(address))
    if found is None or {".", ".."} & {found[1], *found[2].split("/")}:
        raise HomeError(f"{os.fspath(address)} is no address like s3://bucket/prefix")
    return CACHE / "s3" / found[1] / found[2]


def elsewhere(path: str | os.PathLike[str]) -> bool:
    """Whether `path` stands for what is in a bucket."""
    return os.fspath(path).startswith(f"{CACHE}/s3/")


def address(path: Path) -> str:
    """The `s3://bucket/key` that `path` stands for."""
    return f"s3://{path.relative_to(CACHE / 's3').as_posix()}"


def own(path: Path) -> Path:
    """The place, on this machine alone, that goes with a path that stands for what is elsewhere."""
    return CACHE / "own" / path.relative_to(CACHE / "s3")


def state(path: Path) -> State | None:
    """What is known of the object; None if there is none. Raises Unreachable, as all here do."""
    import obstore

    bucket, key = _object(path)
    try:
        with _reaching(path):
            found = obstore.head(bucket, key)
    except FileNotFoundError:
        return None
    return _state(found)


def listed(folder: Path) -> dict[str, State]:
    """The objects whose names begin with that of `folder`, at any depth, by the rest of their names."""
    import obstore

    bucket, key = _object(folder)
    with _reaching(folder):
        found = [one for part in obstore.list(bucket, key or None) for one in part]
    start = len(key) + 1 if key else 0
    return {one["path"][start:]: _state(one) for one in found}


def _state(found: ObjectMeta) -> State:
    return State(found["size"], int(found["last_modified"].timestamp()) * 10**9)


def find(folder: Path, pattern: str) -> list[Path]:
    """What in `folder` matches a glob pattern, what would be a folder among it, sorted."""
    import obstore

    wanted = pattern.split("/")
    if wanted != ["**"] and len(wanted) == 1:
        bucket, key = _object(folder)
        with _reaching(folder):
            level = obstore.list_with_delimiter(bucket, key or None)
        paths = [*level["common_prefixes"], *(one["path"] for one in level["objects"])]
        names = {PurePosixPath(path).name for path in paths}
    else:
        names = set(listed(folder))
        names |= {above.as_posix() for name in names for above in PurePosixPath(name).parents[:-1]}
    return sorted(folder / name for name in names if _matches(name.split("/"), wanted))


def _matches(name: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "**":
        return any(_matches(name[start:], pattern[1:]) for start in range(len(name) + 1))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and _matches(name[1:], pattern[1:])


def read(path: Path) -> bytes:
    """The bytes of the object. Raises FileNotFoundError."""
    return read_tagged(path)[0]


def read_tagged(path: Path) -> tuple[bytes, str]:
    """The bytes of the object and the tag of this version of it. Raises FileNotFoundError."""
    import obstore

    bucket, key = _object(path)
    with _reaching(path):
        found = obstore.get(bucket, key)
        return bytes(found.bytes()), found.meta["e_tag"] or ""


def download(path: Path, target: Path) -> State:
    """The object's bytes into the file `target`, a piece at a time; its state. Raises FileNotFoundError."""
    import obstore

    bucket, key = _object(path)
    with _reaching(path), target.open("wb") as file:
        found = obstore.get(bucket, key)
        for piece in found.stream():
            file.write(piece)
    return _state(found.meta)


def upload(path: Path, source: Path) -> None:
    """The file `source` as the object, whole or not at all."""
    import obstore

    bucket, key = _object(path)
    with _reaching(path):
        obstore.put(bucket, key, source)


def put_if(path: Path, content: bytes, replacing: str | None) -> str:
    """`content` as the object, if there is none, or with `replacing` if its version still has that tag; the
    new tag. Raises FileExistsError where somebody else was faster."""
    import obstore

    bucket, key = _object(path)
    try:
        with _reaching(path):
            made = obstore.put(
                bucket, key, content, mode="create" if replacing is None else {"e_tag": replacing}
            )
    except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
        raise FileExistsError(f"{address(path)} was written by another process") from None
    return made["e_tag"] or ""


def remove(path: Path) -> None:
    """Remove the object, if it is there."""
    import obstore

    bucket, key = _object(path)
    with _reaching(path):
        obstore.delete(bucket, key)


def move(path: Path, target: Path) -> None:
    """Move the object, or all objects below what would be the folder `path`."""
    import obstore

    bucket, _ = _object(path)
    names = [name for name in listed(path) if name] if state(path) is None else [""]
    with _reaching(path):
        for name in names:
            source, goal = (_object(one / name)[1] for one in (path, target))
            obstore.copy(bucket, source, goal)
            obstore.delete(bucket, source)


def _object(path: Path) -> tuple[S3Store, str]:
    bucket, _, key = path.relative_to(CACHE / "s3").as_posix().partition("/")
    return _bucket(bucket), key


@functools.cache
def _bucket(name: str) -> S3Store:
    from obstore.store import S3Store

    return S3Store(name)


@contextmanager
def _reaching(path: Path) -> Iterator[None]:
    """Turns what obstore raises where a bucket cannot be used into Unreachable."""
    import obstore.exceptions as said

    try:
        yield
    except (said.AlreadyExistsError, said.PreconditionError):
        raise
    except (said.BaseError, ValueError) as error:
        raise Unreachable(f"{address(path)} cannot be reached: {_reason(str(error))}") from error


def _reason(said: str) -> str:
    """What the server says in its XML, or else the first line."""
    found = re.search(r"<Code>(.*?)</Code>\s*<Message>(.*?)</Message>", said, re.DOTALL)
    return f"{found[2].strip()} ({found[1]})" if found else said.strip().splitlines()[0]
