"""AffectNet 2017's lists (training.csv, validation.csv) to rows with labels. Pictures are found elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import polars as pl

import reasons
from curation import frames
from curation.frames import RawDataError
from curation.sources import texts
from reasons import Reason

NAMES = ("training.csv", "validation.csv")
FOLDERS = ("Manually_Annotated_file_lists", "Manually_Annotated_file_list")
NUMBERS = ("face_x", "face_y", "face_width", "face_height", "expression", "valence", "arousal")
HEADER = ("subDirectory_filePath", *NUMBERS[:4], "facial_landmarks", *NUMBERS[4:])
NOT_APPLICABLE = -2.0
"""Valence and arousal of pictures without an expression."""

BLOCK_BYTES = 16 << 20
"""A list is half a gigabyte of landmarks: it is read in blocks of whole lines."""

_PLACE = ("list", "line", "origin", "listed", "keep", *reasons.COLUMNS)
_LISTED = pl.col(HEADER[0]).fill_null("").str.replace_all("\\", "/", literal=True).str.strip_prefix("./")


def read(paths: list[Path], landmarks: bool = True) -> pl.DataFrame:
    """One row a non-empty line: the cells of HEADER as numbers where they are (`facial_landmarks`, nearly all
    of a list's bytes, only if asked for), `listed` (the picture's path), `origin` ("training.csv:17"),
    `sample_id`, `keep`, `reason_code`, `reason_detail`.

    Lists may lack their header. Raises RawDataError for a list without a needed column and for lists without
    a line.
    """
    cells = [name for name in HEADER[1:] if landmarks or name != "facial_landmarks"]
    blocks = [block.select(*_PLACE, *cells) for path in paths for block in _blocks(path, cells)]
    if not blocks:
        raise RawDataError(f"no lines in {' and '.join(str(path) for path in paths)}")
    return _identified(pl.concat(blocks)).drop("list", "line")


def in_range(name: str, number: pl.Expr) -> pl.Expr:
    """Whether a number is a possible value of an AffectNet label: expression 0-10, valence and arousal
    -1 to 1 or -2."""
    if name == "expression":
        return number.is_between(0, 10) & (number == number.round())
    if name in ("valence", "arousal"):
        return number.is_between(-1, 1) | (number == NOT_APPLICABLE)
    return pl.lit(True)


def as_labels(rows: pl.DataFrame, names: tuple[str, ...] = NUMBERS) -> pl.DataFrame:
    """Cells of text as numbers; a row whose cell is none, or one out of range, is quarantined, naming
    `origin`. "Not applicable" becomes null."""
    for name in names:
        number = pl.col(name).cast(pl.Float64, strict=False)
        number = pl.when(number.is_finite()).then(number)
        complaint = pl.format("{} {} '{}'", "origin", pl.lit(name), name)
        rows = _quarantined(rows, number.is_null(), Reason.NOT_A_NUMBER, complaint)
        rows = _quarantined(rows, ~in_range(name, number), Reason.OUT_OF_RANGE, complaint)
        rows = rows.with_columns(number.alias(name))
    rows = rows.with_columns(
        pl.when(in_range("expression", pl.col("expression"))).then("expression").alias("expression")
    )
    return _applicable(rows)


def _applicable(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        pl.when(pl.col(name) != NOT_APPLICABLE).then(name).alias(name) for name in ("valence", "arousal")
    )


def _blocks(path: Path, cells: list[str]) -> Iterator[pl.DataFrame]:
    """Rows of whole lines, numbered from 1: `cells` of HEADER at least, judged."""
    with path.open("rb") as file:
        separator = _separator(file, path)
        header, line = _header(file, path, separator)
        while content := file.read(BLOCK_BYTES) + file.readline():
            lines = texts.count_lines(content)
            content = _plain(content, separator)
            rows = _whole(content, header, path.name, line, cells)
            if rows is None or rows.height != lines:
                rows = _line_by_line(content, header, path.name, line)
            if rows.height:
                yield rows
            line += lines


def _separator(file: BinaryIO, path: Path) -> bytes:
    """What stands between the cells of a list's first line, a comma or a tab; `file` is left at its start.

    Raises RawDataError for lists that cannot be read line by line: in UTF-16 or 32, or with semicolons, which
    stand between landmarks too.
    """
    start = file.read(BLOCK_BYTES)
    file.seek(0)
    if (encoding := texts.encoding(start)) != "utf-8-sig" or b"\0" in start[:4096]:
        named = encoding.upper() if encoding != "utf-8-sig" else "UTF-16"
        raise RawDataError(f"{path} is {named}, not UTF-8: iconv -f {named} -t UTF-8 mends it")
    first = start.lstrip().partition(b"\n")[0]
    cell = first.partition(b",")[0]
    if b"\t" in cell:
        return b"\t"
    if b";" in cell:
        raise RawDataError(
            f"{path} has semicolons between its cells, as between its landmarks: save it with commas"
        )
    return b","


def _plain(content: bytes, separator: bytes) -> bytes:
    """Lines with commas between cells and without quotes, which no cell of a list needs."""
    return (content if separator == b"," else content.replace(separator, b",")).replace(b'"', b"")


def _header(file: BinaryIO, path: Path, separator: bytes) -> tuple[list[str], int]:
    """The names of the columns, and the number of the line with which `file` goes on."""
    start, line = 3 * (file.read(3) == b"\xef\xbb\xbf"), 1
    file.seek(start)
    while (content := file.readline()) and not content.strip():
        start, line = file.tell(), line + 1
    header = [cell.strip() for cell in _plain(content, separator).decode(errors="replace").split(",")]
    if not set(header) & set(HEADER):
        file.seek(start)
        return list(HEADER), line
    if missing := [name for name in HEADER if name not in header]:
        raise RawDataError(f"{path} has no column {', '.join(missing)}")
    return header, line + 1


def _whole(content: bytes, header: list[str], name: str, line: int, cells: list[str]) -> pl.DataFrame | None:
    """The rows of lines that are all sound, as in nearly every block; None, or too few, for any others."""
    if content.rstrip().endswith(b","):
        return None  # polars overlooks an empty cell too many at the very end
    schema = {column: pl.Float64 if column in NUMBERS else pl.String for column in header}
    try:
        rows = pl.read_csv(content, has_header=False, schema=schema, quote_char=None)
    except pl.exceptions.PolarsError:
        return None
    rows = rows.with_columns(pl.col(HEADER[0]).str.strip_chars())
    sound = [
        pl.col("facial_landmarks").is_not_null(),
        _LISTED != "",
        ~_LISTED.str.contains("\ufffd", literal=True),
    ]
    sound += [pl.col(number).is_finite() & in_range(number, pl.col(number)) for number in NUMBERS]
    if not rows.select(pl.all_horizontal(sound).fill_null(False).all()).item():
        return None
    stripped = (pl.col(cell).str.strip_chars() if schema[cell] == pl.String else cell for cell in cells)
    rows = rows.select(HEADER[0], *stripped).with_row_index("line", offset=line)
    return _applicable(_placed(rows, name))


def _placed(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    return rows.with_columns(
        pl.format("{}:{}", pl.lit(name), "line").alias("origin"),
        pl.lit(name).alias("list"),
        _LISTED.alias("listed"),
        *frames.KEPT,
    )


def _line_by_line(content: bytes, header: list[str], name: str, line: int) -> pl.DataFrame:
    text, cells = pl.col("text").str.strip_chars(" \r\t"), pl.col("cell")
    lines = (
        _lines(content).with_row_index("line", offset=line).with_columns(text).filter(pl.col("text") != "")
    )
    rows = lines.select("line", text.str.split(",").alias("cell")).select(
        "line",
        cells.list.len().alias("cells"),
        *(
            cells.list.get(header.index(column), null_on_oob=True).str.strip_chars().alias(column)
            for column in HEADER
        ),
    )
    return _judged(_placed(rows, name), len(header))


def _lines(content: bytes) -> pl.DataFrame:
    try:
        return pl.read_lines(content, name="text")
    except pl.exceptions.ComputeError:  # bytes that are no UTF-8
        return pl.read_lines(content.decode(errors="replace").encode(), name="text")


def _judged(rows: pl.DataFrame, columns: int) -> pl.DataFrame:
    count = pl.format("{} has {} cells, not {}", "origin", "cells", pl.lit(columns))
    path = pl.col("listed")
    for where, code, detail in (
        (pl.col("cells") < columns, Reason.SHORT_LINE, count),
        (pl.col("cells") > columns, Reason.LONG_LINE, count),
        (path == "", Reason.NO_PATH, pl.format("{} names no picture", "origin")),
        (
            path.str.contains("\ufffd", literal=True),
            Reason.UNREADABLE_NAME,
            pl.format("{} names {}, which is not valid UTF-8", "origin", path),
        ),
    ):
        rows = _quarantined(rows, where, code, detail)
    return as_labels(rows)


def _quarantined(rows: pl.DataFrame, where: pl.Expr, code: Reason, detail: pl.Expr) -> pl.DataFrame:
    # Most blocks have no bad line: the reasons of 400,000 good ones need not be written.
    return frames.quarantine(rows, where, code, detail) if rows.select(where.any()).item() else rows


def _identified(rows: pl.DataFrame) -> pl.DataFrame:
    """`sample_id`; the first sound line of a path has it plain, every other line has its own place added."""
    rows = rows.sort(~pl.col("keep"), "list", "line")
    first = pl.col("listed").is_first_distinct() & (pl.col("listed") != "")
    rows = rows.with_columns(first.alias("first"))
    original = pl.col("origin").first().over("listed")
    repeats = pl.format("{} repeats {} of {}", "origin", "listed", original)
    rows = _quarantined(rows, ~pl.col("first"), Reason.DUPLICATE_LINE, repeats)
    plain = pl.concat_str(pl.lit("affectnet/"), "listed")
    placed = pl.concat_str(plain, pl.lit("#"), "origin")
    sample = pl.when("first").then(plain).otherwise(placed).alias("sample_id")
    return rows.with_columns(sample).sort("list", "line").drop("first")
