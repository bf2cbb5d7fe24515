"""AffectNet, 2017 release: list files and pictures to frames. Filters by size or content live elsewhere."""

import os
from pathlib import Path

import polars as pl

from curation import frames
from curation.frames import HashFiles, Memo, RawDataError
from curation.sources.listing import files, sound

HEADER = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
NUMBERS = ("face_x", "face_y", "face_width", "face_height", "expression", "valence", "arousal")
LISTS = ("training.csv", "validation.csv")
LIST_FOLDERS = ("Manually_Annotated_file_lists", "Manually_Annotated_file_list")
PICTURES = "Manually_Annotated_Images"
NOT_APPLICABLE = -2.0
"""Valence and arousal of pictures without an expression."""


def read(folder: Path | str, hash_files: HashFiles, memo: Memo | None = None) -> pl.DataFrame:
    """One frame a line of training.csv and validation.csv (columns: `curation.frames.SCHEMA`).

    `folder` holds `Manually_Annotated_Images/` and `Manually_Annotated_file_lists/` (or `..._file_list/`), at
    its top or one folder down. Lists may lack their header. `memo` remembers probed pictures.

    Quarantined, naming file and line: short or long lines, cells that are no number or out of range, a path
    listed before, a missing, truncated or corrupt picture. Raises RawDataError for a folder without lists or
    pictures, a list without a needed column or without lines, and for the AffectNet-7/8 and AffectNet+
    layouts.
    """
    folder = Path(folder).absolute()
    lists, pictures = _locate(folder)
    rows = pl.concat([_listed(path) for path in lists])
    if rows.is_empty():
        raise RawDataError(f"no lines in {' and '.join(str(path) for path in lists)}")
    rows = _identified(_checked(rows))
    present = pl.DataFrame({"listed": list(filter(sound, files(pictures)))}, schema={"listed": pl.String})
    if present.is_empty():
        raise RawDataError(f"no pictures in {pictures}")
    present = present.with_columns(pl.lit(True).alias("present"))
    rows = rows.join(present, on="listed", how="left", maintain_order="left")
    rows = frames.quarantine(
        rows, pl.col("present").is_null(), pl.format("missing file: {} lists {}", "origin", "listed")
    )
    path = pl.concat_str(pl.lit(f"{pictures}/"), "listed")
    rows = rows.with_columns(pl.when("present").then(path).alias("path"))
    rows = frames.with_pictures(rows, hash_files, memo)
    return frames.finished(rows.rename({"facial_landmarks": "landmarks"}))


def _locate(folder: Path) -> tuple[list[Path], Path]:
    if not folder.is_dir():
        raise RawDataError(f"no folder {folder}")
    tops = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    where = [top / name for top in tops for name in LIST_FOLDERS] + tops
    lists = next(
        (found for top in where if (found := [top / name for name in LISTS if (top / name).is_file()])), []
    )
    if not lists:
        _refuse_crops(folder)
        raise RawDataError(
            f"no {LISTS[0]} or {LISTS[1]} in {folder / LIST_FOLDERS[0]} (or {LIST_FOLDERS[1]})"
        )
    pictures = next((top / PICTURES for top in tops if (top / PICTURES).is_dir()), None)
    if pictures is None:
        packed = sorted(folder.rglob("Manually_Annotated*.rar"))
        hint = f"; unpack {packed[0].name} there first (unrar x)" if packed else ""
        raise RawDataError(f"no folder {folder / PICTURES}{hint}")
    return lists, pictures


def _refuse_crops(folder: Path) -> None:
    """Raises RawDataError, saying why, where the layout is AffectNet-7/8 or AffectNet+."""
    for place, folders, names in os.walk(folder):
        inside = Path(place).relative_to(folder)
        release = _crop_release(Path(place), folders, names)
        if release:
            raise RawDataError(
                f"{folder} has the layout of {release} (seen in {inside}/): its pictures are 224x224 crops, "
                "so none can reach the minimum side of 512 px and the data set would be empty; "
                f"use the 2017 release ({PICTURES} with {LISTS[0]}), "
                "or read the crops as a plain folder of pictures"
            )
        folders[:] = sorted(folders) if len(inside.parts) < 4 else []


def _crop_release(place: Path, folders: list[str], names: list[str]) -> str | None:
    if any(name.endswith(("_exp.npy", "_val.npy", "_aro.npy", "_lnd.npy")) for name in names):
        return "AffectNet-7/8"
    stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    if any(_has_picture(beside, stem) for stem in stems[:20] for beside in (place, place.parent / "images")):
        return "AffectNet+"
    if place.name in ("train_set", "val_set") and "images" in folders and "annotations" not in folders:
        return "AffectNet-7/8"
    return None


def _has_picture(folder: Path, stem: str) -> bool:
    return any((folder / f"{stem}{suffix}").is_file() for suffix in (".jpg", ".png", ".jpeg"))


def _listed(path: Path) -> pl.DataFrame:
    """One row a non-empty line: `origin` ("training.csv:17"), the cells of HEADER, their number."""
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    lines = pl.DataFrame({"text": pl.Series(text.split("\n"), dtype=pl.String)}).with_row_index(
        "line", offset=1
    )
    lines = lines.with_columns(pl.col("text").str.strip_chars(" \r\t")).filter(pl.col("text") != "")
    header = list(HEADER)
    if lines.height:
        first = [cell.strip() for cell in lines["text"][0].split(",")]
        if set(first) & set(HEADER):
            header, lines = first, lines[1:]
    missing = [name for name in HEADER if name not in header]
    if missing:
        raise RawDataError(f"{path} has no column {', '.join(missing)}")
    cells = pl.col("text").str.split(",")
    return lines.select(
        pl.format("{}:{}", pl.lit(path.name), "line").alias("origin"),
        pl.lit(path.name).alias("list"),
        "line",
        cells.list.len().alias("cells"),
        pl.lit(len(header), dtype=pl.UInt32).alias("columns"),
        *(
            cells.list.get(header.index(name), null_on_oob=True).str.strip_chars().alias(name)
            for name in HEADER
        ),
    )


def _checked(rows: pl.DataFrame) -> pl.DataFrame:
    """Cells as numbers; `keep` and `reason` for lines that are not what a line must be."""
    rows = rows.with_columns(
        pl.lit("affectnet").alias("source"),
        pl.lit(True).alias("keep"),
        pl.lit(None, dtype=pl.String).alias("reason"),
    )
    count = pl.format("{} has {} cells, not {}", "origin", "cells", "columns")
    rows = frames.quarantine(
        rows, pl.col("cells") < pl.col("columns"), pl.concat_str(pl.lit("short line: "), count)
    )
    rows = frames.quarantine(
        rows, pl.col("cells") > pl.col("columns"), pl.concat_str(pl.lit("long line: "), count)
    )
    rows = frames.quarantine(
        rows, pl.col(HEADER[0]) == "", pl.format("no path: {} names no picture", "origin")
    )
    for name in NUMBERS:
        number = pl.col(name).cast(pl.Float64, strict=False)
        number = pl.when(number.is_finite()).then(number)
        complaint = pl.format("{} {} '{}'", "origin", pl.lit(name), name)
        rows = frames.quarantine(rows, number.is_null(), pl.concat_str(pl.lit("not a number: "), complaint))
        rows = frames.quarantine(
            rows, ~_in_range(name, number), pl.concat_str(pl.lit("out of range: "), complaint)
        )
        rows = rows.with_columns(number.alias(name))
    applicable = [
        pl.when(pl.col(name) != NOT_APPLICABLE).then(pl.col(name)).alias(name)
        for name in ("valence", "arousal")
    ]
    return rows.with_columns(applicable).with_columns(
        pl.when(_in_range("expression", pl.col("expression"))).then(pl.col("expression")).alias("expression")
    )


def _in_range(name: str, number: pl.Expr) -> pl.Expr:
    if name == "expression":
        return number.is_between(0, 10) & (number == number.round())
    if name in ("valence", "arousal"):
        return number.is_between(-1, 1) | (number == NOT_APPLICABLE)
    return pl.lit(True)


def _identified(rows: pl.DataFrame) -> pl.DataFrame:
    """`sample_id`; the first sound line of a path has it plain, every other line has its own place added."""
    rows = rows.with_columns(
        pl.col(HEADER[0])
        .fill_null("")
        .str.replace_all("\\", "/", literal=True)
        .str.strip_prefix("./")
        .alias("listed")
    ).sort(~pl.col("keep"), "list", "line")
    first = pl.int_range(pl.len()).over("listed") == 0
    original = pl.col("origin").first().over("listed")
    rows = rows.with_columns(
        (first & (pl.col("listed") != "")).alias("first"), original.alias("original"), pl.col("listed")
    )
    rows = frames.quarantine(
        rows,
        ~pl.col("first"),
        pl.format("duplicate line: {} repeats {} of {}", "origin", "listed", "original"),
    )
    plain = pl.concat_str(pl.lit("affectnet/"), "listed")
    placed = pl.concat_str(plain, pl.lit("#"), "origin")
    return rows.with_columns(pl.when("first").then(plain).otherwise(placed).alias("sample_id")).sort(
        "list", "line"
    )
