"""Probing: how large pictures are and what is wrong with them, by their headers and ends, each content once.

Decoding is `picture_files`'s; the table that is filled is `curation.frames`'s.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import polars as pl
from PIL import Image, UnidentifiedImageError

import picture_files
from curation.frames import HashFiles, Memo, quarantine
from reasons import Reason
from store.hashing import on_threads

SUFFIXES = picture_files.SUFFIXES | picture_files.UNSUPPORTED
"""What raw readers take for a picture by its name: every such file gets a row."""

SCHEMA = pl.Schema(
    {"width": pl.Int64, "height": pl.Int64, "reason_code": pl.String, "reason_detail": pl.String}
)
"""Result columns of a memo of probes: `store.memo("probes", SCHEMA)`."""

JUDGE = f"4-{picture_files.MAX_PIXELS}-{picture_files.MAX_SIDE}"
"""Part of the memo key: raise the number when `probe` judges differently."""

_CHUNK = 16384


@dataclass(frozen=True)
class Probe:
    """Size in pixels, as seen, and what is wrong with the picture, None if nothing is."""

    width: int | None
    height: int | None
    reason_code: Reason | None = None
    reason_detail: str | None = None


def probe(path: Path | str) -> Probe:
    """Read the header of a picture, and its end: its pixels only if it does not end as its format must.

    Reasons: MISSING_FILE, UNREADABLE_FILE (both about the path), and, about the content, EMPTY_FILE,
    TOO_MANY_BYTES, NOT_A_PICTURE, TOO_MANY_PIXELS, TRUNCATED_IMAGE, CORRUPT_IMAGE. What is wrong between a
    sound header and a sound end is found by whoever decodes the picture first. Never raises for what is in a
    file.
    """
    try:
        with picture_files.opened(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _probe(file, size)
    except FileNotFoundError:
        return Probe(None, None, Reason.MISSING_FILE, str(path))
    except OSError as error:
        return Probe(None, None, Reason.UNREADABLE_FILE, f"{path}: {error.strerror}")


def probe_content(content: bytes) -> Probe:
    """`probe` of a picture that is no file, such as a member of an archive."""
    return _probe(BytesIO(content), len(content))


def _probe(file: BinaryIO, size: int) -> Probe:
    if not size:
        return Probe(None, None, Reason.EMPTY_FILE, "0 bytes")
    if size > picture_files.MAX_BYTES:
        return Probe(None, None, Reason.TOO_MANY_BYTES, f"{size:,} bytes")
    width = height = None
    try:
        with Image.open(file, formats=picture_files.formats()) as image:
            width, height = image.size
            if picture_files.too_large(width, height):
                return Probe(width, height, Reason.TOO_MANY_PIXELS, f"{width}x{height}")
            width, height = picture_files.seen_size(image)
            if not _ends_well(file, size, image.format):
                image.load()
    except UnidentifiedImageError:
        return Probe(None, None, Reason.NOT_A_PICTURE, "no known image format")
    except Image.DecompressionBombError:
        detail = f"more than {picture_files.MAX_PIXELS}"
        return Probe(width, height, Reason.TOO_MANY_PIXELS, detail)
    except MemoryError:  # says something about this machine, not about the picture
        raise
    except Exception as error:  # OSError, SyntaxError, ValueError, struct.error, ...
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the picture
            raise
        code = Reason.TRUNCATED_IMAGE if _speaks_of_truncation(error) else Reason.CORRUPT_IMAGE
        return Probe(width, height, code, str(error) or type(error).__name__)
    return Probe(width, height)


def probe_files(paths: Sequence[Path | str], workers: int | None = None) -> list[Probe]:
    """`probe` each path, in order, on threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # judged by MAX_PIXELS instead
        return on_threads(probe, paths, workers)


def with_pictures(rows: pl.DataFrame, hash_files: HashFiles, memo: Memo | None = None) -> pl.DataFrame:
    """Add `content_hash`, `width`, `height` from the files in `path`; what is no picture is quarantined.

    Rows whose `path` is null or that are not kept are left alone. With a `memo`, a picture whose content was
    probed before, under any name, is not opened again. Of a file that no longer has its hash once it is
    probed nothing is remembered: its row, and those of the same content, are `changed_file`. Files of a
    format that is never read are not opened.
    """
    suffix = pl.col("path").cast(pl.String).str.extract(r"(\.[^./]*)$").str.to_lowercase()
    foreign = suffix.is_in(list(picture_files.UNSUPPORTED))
    rows = quarantine(rows, foreign, Reason.UNSUPPORTED_FORMAT, "path").with_columns(
        pl.int_range(pl.len()).alias("_row")
    )
    files = rows.filter(pl.col("keep") & pl.col("path").is_not_null()).select("_row", "path")
    paths = files["path"].to_list()
    hashes = hash_files(paths) if paths else []
    files = files.with_columns(pl.Series("content_hash", hashes, dtype=pl.String))
    readable = files.drop_nulls("content_hash").with_columns(
        pl.format("{}-{}", "content_hash", pl.lit(JUDGE)).alias("key")
    )
    probed = _probed(readable, hash_files, memo).select("key", *SCHEMA, pl.lit(True).alias("probed"))
    readable = readable.join(probed, on="key", how="left", maintain_order="left")
    files = files.join(readable.drop("path", "content_hash", "key"), on="_row", how="left")
    unread, told = pl.col("content_hash").is_null(), pl.col("reason_code").is_not_null()
    changed = pl.col("probed").is_null()
    files = files.with_columns(
        pl.when(unread)
        .then(pl.lit(Reason.UNREADABLE_FILE))
        .when(changed)
        .then(pl.lit(Reason.CHANGED_FILE))
        .otherwise("reason_code")
        .alias("problem"),
        pl.when(unread)
        .then(
            pl.Series(
                [None if found else _why_unread(path) for path, found in zip(paths, hashes, strict=True)],
                dtype=pl.String,
            )
        )
        .when(changed)
        .then("path")
        .when(told)  # content is remembered without its name
        .then(pl.format("{}: {}", "path", "reason_detail"))
        .alias("complaint"),
    ).drop("path", "probed", "reason_code", "reason_detail")
    rows = rows.drop("content_hash", "width", "height", strict=False)
    rows = rows.join(files, on="_row", how="left", maintain_order="left")
    rows = quarantine(rows, pl.col("problem").is_not_null(), pl.col("problem"), pl.col("complaint"))
    return rows.drop("_row", "problem", "complaint")


def _why_unread(path: str) -> str:
    """The path of a file that has no hash, and why."""
    try:
        with picture_files.opened(path):
            return path
    except OSError as error:
        return f"{path}: {error.strerror}"


_LAST_BYTES = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}
_LENGTH_AT = {"BMP": (2, 0), "WEBP": (4, 8)}
"""Where a header says how long the file is (four bytes, little-endian), and what that leaves out."""


def _ends_well(file: BinaryIO, size: int, form: str | None) -> bool:
    """Whether a file ends as its format says; true for formats that do not say. Sound files may not end well
    either (bytes after the end), so only decoding tells."""
    place = file.tell()
    try:
        if form in _LAST_BYTES:
            last = _LAST_BYTES[form]
            file.seek(max(0, size - len(last)))
            return file.read() == last
        if form in _LENGTH_AT:
            offset, less = _LENGTH_AT[form]
            file.seek(offset)
            return int.from_bytes(file.read(4), "little") + less == size
        return True
    finally:
        file.seek(place)


def _speaks_of_truncation(error: Exception) -> bool:
    text = str(error).lower()
    return any(word in text for word in ("truncated", "unexpected end", "not enough data"))


def _probed(requests: pl.DataFrame, hash_files: HashFiles, memo: Memo | None) -> pl.DataFrame:
    """SCHEMA by `key`; without those whose file did not stay what it was."""

    def compute(chunk: pl.DataFrame) -> pl.DataFrame:
        probes = probe_files(chunk["path"].to_list())
        found = {name: [getattr(probe, name) for probe in probes] for name in SCHEMA}
        # what is said of another content, or of the path alone, must not be remembered for this content
        now = pl.Series(hash_files(chunk["path"].to_list()), dtype=pl.String)
        same = (now == chunk["content_hash"]).fill_null(False)
        rows = pl.DataFrame(found, schema=SCHEMA).insert_column(0, chunk["key"]).filter(same)
        about_paths = [Reason.MISSING_FILE.value, Reason.UNREADABLE_FILE.value]
        return rows.filter(~pl.col("reason_code").is_in(about_paths).fill_null(False))

    requests = requests.select("key", "path", "content_hash")
    if requests.is_empty():
        return pl.DataFrame(schema={"key": pl.String, **SCHEMA})
    if memo is None:
        return compute(requests.unique("key", keep="first", maintain_order=True))
    return memo.get_or_compute(requests, compute, chunk=_CHUNK, partial=True).frame
