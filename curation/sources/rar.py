"""RAR archives in parts: what lies in them, and the bytes of their members, read in place and in order.

What is wanted of an archive, and where it goes, lives elsewhere.
"""

import re
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

import polars as pl
import rarfile

from curation.frames import Memo, RawDataError
from reasons import Reason
from store.hashing import fingerprint

TOOLS = "unrar, unar or 7z with RAR support"
MAX_BYTES = 256 << 20
"""A member that unpacks to more is skipped: a decompression bomb, not a photograph."""

_BLOCK = pl.Struct(
    {
        "name": pl.String,
        "size": pl.Int64,  # unpacked bytes
        "check": pl.String,  # CRC-32 or BLAKE2sp of the unpacked bytes, hex; of the last block of a member
        "stored": pl.Boolean,
        "link": pl.Boolean,
        "offset": pl.Int64,  # of the packed bytes in this part
        "packed": pl.Int64,
        "before": pl.Boolean,  # begins in the part before
        "after": pl.Boolean,  # goes on in the next part
    }
)
PART_SCHEMA = pl.Schema(
    {
        "blocks": pl.List(_BLOCK),
        "bytes": pl.Int64(),
        "more": pl.Boolean(),  # says that a part follows
        "locked": pl.Boolean(),  # encrypted
        "cut": pl.String(),  # why its headers end early
    }
)
"""Result columns of a memo of headers: `store.memo("archive_parts", PART_SCHEMA)`."""

_VERSION = 1


class Fault(NamedTuple):
    """Why a member cannot be read."""

    code: Reason
    detail: str


Content = bytes | Fault
"""What a member holds, or why it cannot be read."""


def parts(folders: list[Path], stem: str) -> list[Path]:
    """The parts of an archive in order: `<stem>.part01.rar` …, or `<stem>.rar`; none if there are none.

    Raises RawDataError if a part between the first and the last is missing.
    """
    for folder in folders:
        found: dict[int, Path] = {}
        for path in sorted(folder.glob(f"{stem}.part*.rar")):
            if number := re.fullmatch(r"\.part(\d+)\.rar", path.name.removeprefix(stem)):
                found.setdefault(int(number[1]), path)
        if found:
            if missing := sorted(set(range(1, max(found) + 1)) - set(found)):
                named = ", ".join(_part_name(found, number) for number in missing)
                raise RawDataError(f"{folder}: {named} is missing; found {_ranges(found)} of the parts")
            return [found[number] for number in sorted(found)]
        if (single := folder / f"{stem}.rar").is_file():
            return [single]
    return []


def read_headers(paths: list[Path], memo: Memo | None = None) -> pl.DataFrame:
    """What the headers of each part say, one row a part, in order (columns of PART_SCHEMA); no data is read.
    `memo` remembers unchanged parts (by path, size and time)."""
    keys = []
    for path in paths:
        status = path.stat()
        keys.append(
            fingerprint(path=str(path), bytes=status.st_size, time=status.st_mtime_ns, version=_VERSION)
        )
    requests = pl.DataFrame({"key": keys, "path": [str(path) for path in paths]})

    def compute(chunk: pl.DataFrame) -> pl.DataFrame:
        rows = [{"key": key, **_part(Path(path))} for key, path in chunk.select("key", "path").iter_rows()]
        return pl.DataFrame(rows, schema={"key": pl.String, **PART_SCHEMA})

    if memo is None:
        return compute(requests)
    return memo.get_or_compute(requests, compute, chunk=4).frame


def members(paths: list[Path], headers: pl.DataFrame) -> pl.DataFrame:
    """One row a file or link in the archive, in the order in which `contents` reads them.

    `position` (in the archive), `name` (with "/"), `size`, `check`, `stored` (not compressed), `link`,
    `part` (name of the file where it begins), `pieces` (part, offset, bytes), and `fault` and `damage`, a
    reason's code and detail, null if all pieces are there and it is not too large. `headers` as
    `read_headers` gives them.

    Raises RawDataError for an encrypted archive and for one whose last part is missing.
    """
    if locked := headers.filter("locked").height:
        raise RawDataError(f"{paths[0]} is encrypted ({locked} parts): decrypt it first")
    if headers["more"][-1]:
        raise RawDataError(f"the part after {paths[-1]} is missing: {paths[-1].name} says that one follows")
    names = {index: path.name for index, path in enumerate(paths)}
    beyond = {-1: f"the part before {paths[0].name}", len(paths): f"the part after {paths[-1].name}"}
    blocks = (
        headers.with_columns(pl.int_range(pl.len()).alias("part"))
        .explode("blocks")
        .drop_nulls("blocks")
        .unnest("blocks")
    )
    cut = pl.col("offset") + pl.col("packed") > pl.col("bytes")
    starts = ~pl.col("before") | (pl.col("name") != pl.col("name").shift()).fill_null(True)
    files = (
        blocks.with_columns(cut.alias("short"), starts.cum_sum().alias("position"))
        .group_by("position", maintain_order=True)
        .agg(
            pl.col("name", "size", "stored", "link").first(),
            pl.col("check").last(),
            pl.struct("part", "offset", "packed").alias("pieces"),
            pl.max_horizontal(pl.col("size").first(), pl.col("packed").sum()).alias("most"),
            pl.col("part").first().alias("first"),
            pl.coalesce(
                pl.when("short").then("part").min(),
                pl.when(pl.col("before").first()).then(pl.col("part").first() - 1),
                pl.when(pl.col("after").last()).then(pl.col("part").last() + 1),
                pl.col("part").filter(pl.col("part").diff().shift(-1) > 1).first() + 1,
            ).alias("broken"),
        )
    )
    broken = pl.col("broken").replace_strict(names | beyond, return_dtype=pl.String)
    return (
        files.with_columns(pl.col("first").replace_strict(names, return_dtype=pl.String).alias("part"))
        .with_columns(
            pl.when(broken.is_not_null())
            .then(pl.lit(Reason.DAMAGED_ARCHIVE))
            .when(pl.col("most") > MAX_BYTES)
            .then(pl.lit(Reason.TOO_MANY_BYTES))
            .alias("fault"),
            pl.when(broken.is_not_null())
            .then(pl.format("{}: {}: {} is cut off or broken", "part", "name", broken))
            .when(pl.col("most") > MAX_BYTES)
            .then(pl.format("{}: {} unpacks to {}", "part", "name", "most"))
            .alias("damage"),
        )
        .drop("first", "broken", "most")
        .sort(pl.col("fault").is_null(), ~pl.col("stored"), "position")
    )


def contents(paths: list[Path], files: pl.DataFrame, wanted: set[int]) -> Iterator[tuple[int, Content]]:
    """The bytes of the members of `files` (as `members` gave them) at the positions `wanted`, each once, in
    that order; instead of bytes, the fault of one that cannot be read.

    Stored members are read directly. If a compressed one is wanted, one process of the system's tool unpacks
    the archive to a pipe, once. Raises RawDataError if there is no such tool.
    """
    chosen = files.filter(pl.col("position").is_in(list(wanted)))
    for position, code, detail in (
        chosen.drop_nulls("fault").select("position", "fault", "damage").iter_rows()
    ):
        yield position, Fault(Reason.of(code), detail)
    sound = chosen.filter(pl.col("fault").is_null())
    yield from _stored(paths, sound.filter("stored"))
    packed = set(sound.filter(~pl.col("stored"))["position"])
    if packed:
        yield from _unpacked(paths, files.sort("position"), packed)


def _stored(paths: list[Path], files: pl.DataFrame) -> Iterator[tuple[int, Content]]:
    opened: tuple[int, BinaryIO] | None = None
    try:
        for row in files.iter_rows(named=True):
            content = b""
            for piece in row["pieces"]:
                if opened is None or opened[0] != piece["part"]:
                    if opened:
                        opened[1].close()
                    opened = piece["part"], paths[piece["part"]].open("rb")
                opened[1].seek(piece["offset"])
                content += opened[1].read(piece["packed"])
            yield row["position"], content if _intact(content, row) else _corrupt(row)
    finally:
        if opened:
            opened[1].close()


def _unpacked(paths: list[Path], files: pl.DataFrame, wanted: set[int]) -> Iterator[tuple[int, Content]]:
    try:  # bsdtar reads no archive in parts, nor what rarfile tells it
        tool = rarfile.tool_setup(bsdtar=False, force=True)
    except rarfile.RarCannotExec:
        raise RawDataError(f"{paths[0]} is compressed: reading it needs {TOOLS}; none is installed") from None
    command = [*tool.open_cmdline(None, str(paths[0]))]
    left, read, whole = set(wanted), 0, files["fault"].null_count() == files.height
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=1 << 20
    ) as process:
        stream = process.stdout
        assert stream is not None
        try:
            ahead = b""
            for row in files.iter_rows(named=True):
                if not left:
                    return
                if row["size"] > MAX_BYTES:
                    content, ahead = b"", _skip(stream, row["size"] - len(ahead))
                else:
                    content, ahead = ahead + stream.read(max(0, row["size"] - len(ahead))), b""
                    content, ahead = content[: row["size"]], content[row["size"] :]
                read += len(content)
                if row["size"] and not read and whole:
                    raise RawDataError(f"{command[0]} could not read {paths[0]}: that needs {TOOLS}")
                if row["link"] and not _intact(content, row):
                    ahead = content + ahead  # some tools print where a link points, some nothing
                if row["position"] in left:
                    left.remove(row["position"])
                    yield row["position"], content if _intact(content, row) else _corrupt(row)
        finally:
            process.kill()


def _skip(stream: IO[bytes], size: int) -> bytes:
    while size > 0 and (found := stream.read(min(size, 1 << 20))):
        size -= len(found)
    return b""


def _corrupt(row: dict) -> Fault:
    detail = f"{row['part']}: {row['name']} is not what its checksum says"
    return Fault(Reason.DAMAGED_ARCHIVE, detail)


def _intact(content: bytes, row: dict) -> bool:
    check = row["check"] or ""
    if len(content) != row["size"]:
        return False
    if len(check) == 8:
        return f"{zlib.crc32(content):08x}" == check
    return not check or rarfile.Blake2SP(content).hexdigest() == check


def _part(path: Path) -> dict:
    """What the headers of one part say; its data is not read."""
    headers: list[rarfile.RarInfo] = []
    fault, locked = None, False
    try:
        archive = rarfile.RarFile(path, part_only=True, info_callback=headers.append)
        fault, locked = archive.strerror(), archive.needs_password()
    except rarfile.Error as error:
        fault = str(error)
    ends = [header for header in headers if header.type == rarfile.RAR_BLOCK_ENDARC]
    files = [header for header in headers if header.type == rarfile.RAR_BLOCK_FILE and not header.is_dir()]
    return {
        "blocks": [_block(header) for header in files if not header.flags & rarfile.RAR_FILE_VERSION],
        "bytes": path.stat().st_size,
        "more": bool(ends and ends[-1].flags & rarfile.RAR_ENDARC_NEXT_VOLUME),
        "locked": locked,
        "cut": fault if fault else None if ends else "no end of archive",
    }


def _block(header: rarfile.RarInfo) -> dict:
    blake = header.blake2sp_hash
    crc = None if header.CRC is None else f"{header.CRC:08x}"
    return {
        "name": header.filename.replace("\\", "/"),
        "size": header.file_size,
        "check": blake.hex() if blake else crc,
        "stored": header.compress_type == rarfile.RAR_M0,
        "link": header.is_symlink() or header.file_redir is not None,
        "offset": header.data_offset,
        "packed": header.add_size,
        "before": bool(header.flags & rarfile.RAR_FILE_SPLIT_BEFORE),
        "after": bool(header.flags & rarfile.RAR_FILE_SPLIT_AFTER),
    }


def _part_name(found: dict[int, Path], number: int) -> str:
    """The missing part's name, with as many digits as its neighbours have."""
    return re.sub(
        r"(?<=\.part)\d+(?=\.rar$)", lambda old: f"{number:0{len(old[0])}d}", found[min(found)].name
    )


def _ranges(found: dict[int, Path]) -> str:
    return f"{len(found)} ({min(found)} to {max(found)})"
