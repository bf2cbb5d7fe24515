"""AffectNet 2017's lists (training.csv, validation.csv) to rows with labels. Pictures are found elsewhere."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from curation import frames
from curation.frames import RawDataError

NAMES = ("training.csv", "validation.csv")
FOLDERS = ("Manually_Annotated_file_lists", "Manually_Annotated_file_list")
NUMBERS = ("face_x", "face_y", "face_width", "face_height", "expression", "valence", "arousal")
HEADER = ("subDirectory_filePath", *NUMBERS[:4], "facial_landmarks", *NUMBERS[4:])
NOT_APPLICABLE = -2.0
"""Valence and arousal of pictures without an expression."""

BLOCK_BYTES = 16 << 20
"""A list is half a gigabyte of landmarks: it is read in blocks of whole lines."""


def read(paths: list[Path]) -> pl.DataFrame:
    """One row a non-empty line: the cells of HEADER as numbers where they are, `listed` (the picture's path),
    `origin` ("training.csv:17"), `sample_id`, `keep`, `reason`.

    Lists may lack their header. Raises RawDataError for a list without a needed column and for lists without
    a line.
    """
    blocks = [_checked(block) for path in paths for block in _blocks(path)]
    if not blocks:
        raise RawDataError(f"no lines in {' and '.join(str(path) for path in paths)}")
    return _identified(pl.concat(blocks)).drop("list", "line", HEADER[0])


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
        rows = _quarantined(rows, number.is_null(), pl.concat_str(pl.lit("not a number: "), complaint))
        rows = _quarantined(rows, ~in_range(name, number), pl.concat_str(pl.lit("out of range: "), complaint))
        rows = rows.with_columns(number.alias(name))
    return rows.with_columns(
        *(pl.when(pl.col(name) != NOT_APPLICABLE).then(name).alias(name) for name in ("valence", "arousal")),
        pl.when(in_range("expression", pl.col("expression"))).then("expression").alias("expression"),
    )


def _blocks(path: Path) -> Iterator[pl.DataFrame]:
    """Whole lines, numbered from 1, split into the cells of HEADER."""
    header, line = None, 1
    with path.open("rb") as file:
        while content := file.read(BLOCK_BYTES) + file.readline():
            lines = _lines(content.removeprefix(b"\xef\xbb\xbf") if line == 1 else content, line)
            line += lines.height
            lines = lines.with_columns(pl.col("text").str.strip_chars(" \r\t")).filter(pl.col("text") != "")
            if header is None and lines.height:
                header = list(HEADER)
                first = [cell.strip() for cell in lines["text"][0].split(",")]
                if set(first) & set(HEADER):
                    header, lines = first, lines[1:]
                if missing := [name for name in HEADER if name not in header]:
                    raise RawDataError(f"{path} has no column {', '.join(missing)}")
            if lines.height:
                yield _cells(lines, header, path.name)


def _lines(content: bytes, first: int) -> pl.DataFrame:
    try:
        lines = pl.read_lines(content, name="text")
    except pl.exceptions.ComputeError:  # bytes that are no UTF-8
        lines = pl.read_lines(content.decode(errors="replace").encode(), name="text")
    return lines.with_row_index("line", offset=first)


def _cells(lines: pl.DataFrame, header: list[str], name: str) -> pl.DataFrame:
    cells = pl.col("cell")
    return lines.with_columns(pl.col("text").str.split(",").alias("cell")).select(
        pl.format("{}:{}", pl.lit(name), "line").alias("origin"),
        pl.lit(name).alias("list"),
        "line",
        cells.list.len().alias("cells"),
        pl.lit(len(header), dtype=pl.UInt32).alias("columns"),
        *(
            cells.list.get(header.index(name), null_on_oob=True).str.strip_chars().alias(name)
            for name in HEADER
        ),
    )


def _checked(rows: pl.DataFrame) -> pl.DataFrame:
    rows = rows.with_columns(
        pl.lit(True).alias("keep"),
        pl.lit(None, dtype=pl.String).alias("reason"),
        pl.col(HEADER[0])
        .fill_null("")
        .str.replace_all("\\", "/", literal=True)
        .str.strip_prefix("./")
        .alias("listed"),
    )
    count = pl.format("{} has {} cells, not {}", "origin", "cells", "columns")
    path = pl.col("listed")
    for where, reason in (
        (pl.col("cells") < pl.col("columns"), pl.concat_str(pl.lit("short line: "), count)),
        (pl.col("cells") > pl.col("columns"), pl.concat_str(pl.lit("long line: "), count)),
        (path == "", pl.format("no path: {} names no picture", "origin")),
        (
            path.str.contains("\ufffd", literal=True),
            pl.format("unreadable name: {} names {}, which is not valid UTF-8", "origin", path),
        ),
    ):
        rows = _quarantined(rows, where, reason)
    return as_labels(rows).drop("cells", "columns")


def _quarantined(rows: pl.DataFrame, where: pl.Expr, reason: pl.Expr) -> pl.DataFrame:
    # Most blocks have no bad line: the reasons of 400,000 good ones need not be written.
    return frames.quarantine(rows, where, reason) if rows.select(where.any()).item() else rows


def _identified(rows: pl.DataFrame) -> pl.DataFrame:
    """`sample_id`; the first sound line of a path has it plain, every other line has its own place added."""
    rows = rows.sort(~pl.col("keep"), "list", "line")
    first = pl.col("listed").is_first_distinct() & (pl.col("listed") != "")
    rows = rows.with_columns(first.alias("first"))
    original = pl.col("origin").first().over("listed")
    repeats = pl.format("duplicate line: {} repeats {} of {}", "origin", "listed", original)
    rows = _quarantined(rows, ~pl.col("first"), repeats)
    plain = pl.concat_str(pl.lit("affectnet/"), "listed")
    placed = pl.concat_str(plain, pl.lit("#"), "origin")
    sample = pl.when("first").then(plain).otherwise(placed).alias("sample_id")
    return rows.with_columns(sample).sort("list", "line").drop("first")
