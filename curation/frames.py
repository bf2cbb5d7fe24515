"""The frames table that every raw reader returns: schema, quarantine, probing of pictures, counts by reason.

No raw format lives here (see `curation.sources`).
"""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import polars as pl
from PIL import Image, UnidentifiedImageError

import reasons
from facs import COLUMNS
from reasons import Reason

LABELS: tuple[str, ...] = tuple(f"label_{column}" for column in COLUMNS)

SCHEMA = pl.Schema(
    {
        "sample_id": pl.String,
        "source": pl.String,
        "path": pl.String,  # absolute; null when there is no picture
        "origin": pl.String,  # raw file and its line or frame
        "content_hash": pl.String,
        "width": pl.Int64,  # pixels, as the picture is meant to be seen (EXIF orientation applied)
        "height": pl.Int64,
        "subject": pl.String,
        "frame": pl.Int64,  # 1-based label frame in DISFA, the number in the name in a folder of frames
        "expression": pl.Int64,  # AffectNet 0-10
        "valence": pl.Float64,  # -1 to 1; null where AffectNet says "not applicable" (-2)
        "arousal": pl.Float64,
        "face_x": pl.Float64,
        "face_y": pl.Float64,
        "face_width": pl.Float64,
        "face_height": pl.Float64,
        "landmarks": pl.String,
        **dict.fromkeys(LABELS, pl.Float64),  # manual intensities 0-5
        "raw_caption": pl.String,
        "keep": pl.Boolean,
        "reason_code": pl.String,  # a member of `reasons.Reason`, null while the row is kept
        "reason_detail": pl.String,
    }
)

KEPT = (
    pl.lit(True).alias("keep"),
    pl.lit(None, dtype=pl.String).alias("reason_code"),
    pl.lit(None, dtype=pl.String).alias("reason_detail"),
)
"""The columns that a filter judges by, of rows that no filter has seen."""

MAX_PIXELS = 100_000_000
"""A picture with more pixels is refused undecoded: a decompression bomb, not a photograph."""

SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jfif",
        ".png",
        ".bmp",
        ".tif",
        ".tiff",
        ".webp",
        ".gif",
        ".ppm",
        ".pgm",
        ".avif",
        ".jp2",
    }
)
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "AVIF", "JPEG2000")
"""What Pillow may decode here; formats that call other programs (EPS) stay out."""

PROBE_SCHEMA = pl.Schema(
    {"width": pl.Int64, "height": pl.Int64, "reason_code": pl.String, "reason_detail": pl.String}
)
"""Result columns of a memo of probes: `store.memo("probes", PROBE_SCHEMA)`."""

PROBE_VERSION = 3
"""Part of the memo key: raise it when `probe` judges differently."""

_AT_ONCE, _CHUNK = 64, 16384

HashFiles = Callable[[Sequence[Path | str]], list[str | None]]
"""Content hashes of files, in order; None for a file that cannot be read (`hash_readable_files`)."""


class RawDataError(Exception):
    """A raw folder that cannot be read as a whole: it names the folder, file or column at fault."""


class Memo(Protocol):
    """The part of `store.Memo` that probing needs."""

    def get_or_compute(
        self, requests: pl.DataFrame, compute: Callable, *, chunk: int, progress: Any = None
    ) -> Any: ...


@dataclass(frozen=True)
class Probe:
    """Size in pixels, as seen, and what is wrong with the picture, None if nothing is."""

    width: int | None
    height: int | None
    reason_code: Reason | None = None
    reason_detail: str | None = None


def probe(path: Path | str, max_pixels: int = MAX_PIXELS) -> Probe:
    """Read the header of a picture, and its end: its pixels only if it does not end as its format must.

    Reasons: MISSING_FILE, UNREADABLE_FILE (both about the path), and, about the content, EMPTY_FILE,
    NOT_A_PICTURE, TOO_MANY_PIXELS, TRUNCATED_IMAGE, CORRUPT_IMAGE. What is wrong between a sound header and a
    sound end is found by whoever decodes the picture first. Never raises for what is in a file.
    """
    try:
        with open(path, "rb") as file:
            return _probe(file, os.fstat(file.fileno()).st_size, max_pixels)
    except FileNotFoundError:
        return Probe(None, None, Reason.MISSING_FILE, str(path))
    except OSError as error:
        return Probe(None, None, Reason.UNREADABLE_FILE, f"{path}: {error.strerror}")


def probe_content(content: bytes, max_pixels: int = MAX_PIXELS) -> Probe:
    """`probe` of a picture that is no file, such as a member of an archive."""
    return _probe(BytesIO(content), len(content), max_pixels)


def _probe(file: BinaryIO, size: int, max_pixels: int) -> Probe:
    if not size:
        return Probe(None, None, Reason.EMPTY_FILE, "0 bytes")
    width = height = None
    try:
        with Image.open(file, formats=_formats()) as image:
            width, height = image.size
            if width * height > max_pixels:
                return Probe(width, height, Reason.TOO_MANY_PIXELS, f"{width}x{height}")
            if _turned(image):
                width, height = height, width
            if not _ends_well(file, size, image.format):
                image.load()
    except UnidentifiedImageError:
        return Probe(None, None, Reason.NOT_A_PICTURE, "no known image format")
    except Image.DecompressionBombError:
        return Probe(width, height, Reason.TOO_MANY_PIXELS, f"more than {max_pixels}")
    except MemoryError:  # says something about this machine, not about the picture
        raise
    except Exception as error:  # OSError, SyntaxError, ValueError, struct.error, ...
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the picture
            raise
        code = Reason.TRUNCATED_IMAGE if _speaks_of_truncation(error) else Reason.CORRUPT_IMAGE
        return Probe(width, height, code, str(error) or type(error).__name__)
    return Probe(width, height)


def probe_files(paths: Sequence[Path | str], workers: int | None = None) -> list[Probe]:
    """`probe` each path, in order, on threads: in parts, since a header is read faster than handed out."""
    parts = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # judged by MAX_PIXELS instead
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            return list(chain.from_iterable(pool.map(lambda part: list(map(probe, part)), parts)))


def with_pictures(rows: pl.DataFrame, hash_files: HashFiles, memo: Memo | None = None) -> pl.DataFrame:
    """Add `content_hash`, `width`, `height` from the files in `path`; what is no picture is quarantined.

    Rows whose `path` is null or that are not kept are left alone. With a `memo`, a picture whose content was
    probed before, under any name, is not opened again.
    """
    rows = rows.with_columns(pl.int_range(pl.len()).alias("_row"))
    files = rows.filter(pl.col("keep") & pl.col("path").is_not_null()).select("_row", "path")
    paths = files["path"].to_list()
    hashes = hash_files(paths) if paths else []
    files = files.with_columns(pl.Series("content_hash", hashes, dtype=pl.String))
    readable = files.drop_nulls("content_hash").with_columns(
        pl.format("{}-{}-{}", "content_hash", pl.lit(PROBE_VERSION), pl.lit(MAX_PIXELS)).alias("key")
    )
    probed = _probed(readable, memo).select("key", *PROBE_SCHEMA)
    readable = readable.join(probed, on="key", how="left", maintain_order="left")
    files = files.join(readable.drop("path", "content_hash", "key"), on="_row", how="left")
    unread, told = pl.col("content_hash").is_null(), pl.col("reason_code").is_not_null()
    files = files.with_columns(
        pl.when(unread).then(pl.lit(Reason.UNREADABLE_FILE)).otherwise("reason_code").alias("problem"),
        pl.when(unread)
        .then("path")
        .when(told)  # content is remembered without its name
        .then(pl.format("{}: {}", "path", "reason_detail"))
        .alias("complaint"),
    ).drop("path", "reason_code", "reason_detail")
    rows = rows.drop("content_hash", "width", "height", strict=False)
    rows = rows.join(files, on="_row", how="left", maintain_order="left")
    rows = quarantine(rows, pl.col("problem").is_not_null(), pl.col("problem"), pl.col("complaint"))
    return rows.drop("_row", "problem", "complaint")


def quarantine(
    rows: pl.DataFrame, where: pl.Expr, code: pl.Expr | Reason, detail: pl.Expr | str | None = None
) -> pl.DataFrame:
    """Rows still kept for which `where` holds get `keep = false` and the reason; a first reason stays."""
    code = pl.lit(code) if isinstance(code, Reason) else code
    detail = detail if isinstance(detail, pl.Expr) else pl.lit(detail, dtype=pl.String)
    now = pl.col("keep") & where.fill_null(False)
    if not rows.select(now.any()).item():  # then the reasons of all the good rows need not be written
        return rows
    return rows.with_columns(
        pl.when(now).then(code).otherwise("reason_code").alias("reason_code"),
        pl.when(now).then(detail).otherwise("reason_detail").alias("reason_detail"),
        (pl.col("keep") & ~now).alias("keep"),
    )


def judgeable(table: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The table with `keep` and its reason, added if it has none yet (all kept); a null `keep` is false.

    Raises ValueError, naming them, if it lacks one of `columns`.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f"a table without column {', '.join(missing)}")
    table = table.with_columns(new for new in KEPT if new.meta.output_name() not in table.columns)
    return table.with_columns(pl.col("keep").fill_null(False), pl.col(reasons.COLUMNS).cast(pl.String))


def finished(rows: pl.DataFrame | Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The frames table: all columns of SCHEMA (absent ones null), their types, sorted by sample_id.

    Raises ValueError if a sample id is missing or not unique, or a dropped row has no reason: an error of the
    reader, not of the data.
    """
    parts = [rows] if isinstance(rows, pl.DataFrame) else list(rows)
    if parts:
        table = pl.concat([part.lazy() for part in parts], how="diagonal_relaxed").collect()
    else:
        table = pl.DataFrame(schema=SCHEMA)
    lacking = [
        pl.lit(None, dtype=kind).alias(name) for name, kind in SCHEMA.items() if name not in table.columns
    ]
    table = table.with_columns(lacking).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
    table, sample_id = table.sort("sample_id"), pl.col("sample_id")
    repeated = table.filter(sample_id.is_null() | (sample_id == sample_id.shift()))
    if repeated.height:
        raise ValueError(f"sample ids are not unique: {repeated['sample_id'].unique().sort().to_list()[:5]}")
    mute = table.filter(~pl.col("keep") & pl.col("reason_code").is_null() | pl.col("keep").is_null())
    if mute.height:
        raise ValueError(f"rows dropped without a reason: {mute['sample_id'].to_list()[:5]}")
    return table


def counts_by_reason(table: pl.DataFrame) -> pl.DataFrame:
    """Of the rows not kept: `reason_code`, `samples`, `example` (a sample id); most frequent first."""
    return (
        table.filter(~pl.col("keep"))
        .group_by("reason_code")
        .agg(pl.len().alias("samples"), pl.col("sample_id").min().alias("example"))
        .sort("samples", "reason_code", descending=[True, False])
    )


@cache
def _formats() -> list[str]:
    Image.init()  # a format whose plugin is not loaded yet is an error in Image.open
    return [form for form in FORMATS if form in Image.OPEN]


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


def _turned(image: Image.Image) -> bool:
    try:
        # a PNG's own getexif decodes the picture first, for what may stand behind the pixels
        return Image.Image.getexif(image).get(0x0112, 1) in (5, 6, 7, 8)
    except Exception:  # broken EXIF in a picture that decodes
        return False


def _speaks_of_truncation(error: Exception) -> bool:
    text = str(error).lower()
    return any(word in text for word in ("truncated", "unexpected end", "not enough data"))


def _probed(requests: pl.DataFrame, memo: Memo | None) -> pl.DataFrame:
    def compute(chunk: pl.DataFrame) -> pl.DataFrame:
        probes = probe_files(chunk["path"].to_list())
        about_paths = (Reason.MISSING_FILE, Reason.UNREADABLE_FILE)
        gone = [probe for probe in probes if probe.reason_code in about_paths]
        if gone:  # says nothing about the content, so it must not be remembered for it
            raise RawDataError(f"{len(gone)} files changed while they were read: {gone[0].reason_detail}")
        found = {name: [getattr(probe, name) for probe in probes] for name in PROBE_SCHEMA}
        return pl.DataFrame(found, schema=PROBE_SCHEMA).insert_column(0, chunk["key"])

    requests = requests.select("key", "path")
    if memo is None or requests.is_empty():
        return compute(requests.unique("key", keep="first", maintain_order=True))
    return memo.get_or_compute(requests, compute, chunk=_CHUNK).frame
