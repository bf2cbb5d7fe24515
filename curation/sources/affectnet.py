"""AffectNet to frames: the 2017 release (lists, and pictures unpacked or in RAR parts); the releases of crops
are `affectnet_crops`'s. Filters by size or content live elsewhere.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from curation import frames, probing
from curation.frames import HashFiles, Memo, RawDataError
from curation.sources import affectnet_archive, affectnet_crops, affectnet_lists, rar
from curation.sources.listing import files, sound
from reasons import Reason
from store import Store

PICTURES = "Manually_Annotated_Images"


def read(
    folder: Path | str,
    hash_files: HashFiles,
    memo: Memo | None = None,
    *,
    min_side: int = 1,
    landmarks: bool = True,
    store: Store | None = None,
    progress: Callable[[Any], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> pl.DataFrame:
    """One frame a line of training.csv and validation.csv, or a crop (columns: `curation.frames.SCHEMA`).

    `folder` holds `Manually_Annotated_file_lists/` (or `..._file_list/`) and `Manually_Annotated_Images/` or
    `Manually_Annotated.part01.rar` …, at its top or one folder down; or the layout of AffectNet-7/8 or
    AffectNet+. `memo` remembers probed pictures. Of the RAR parts, pictures with both sides ≥ `min_side`
    become files in `store`; the others have a size and a hash, but no path; without a store (an inventory)
    none has. `progress` and `say` tell how that goes.

    Quarantined, naming file and line: short or long lines, cells that are no number or out of range, a path
    listed before, a missing, truncated or corrupt picture, a damaged member, a member that is a link or
    points outside. Raises RawDataError for a folder without lists or pictures, a list without a needed column
    or without lines, a missing or encrypted RAR part, a missing unpacking tool, and for crops that can never
    reach `min_side`.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise RawDataError(f"no folder {folder}")
    tops = _tops(folder)
    lists = _lists(tops)
    if not lists:
        if release := crops(folder):
            return affectnet_crops.read(folder, release, hash_files, memo, min_side)
        raise RawDataError(
            f"no {' or '.join(affectnet_lists.NAMES)} in {folder / affectnet_lists.FOLDERS[0]} "
            f"(or {affectnet_lists.FOLDERS[1]})"
        )
    pictures = next((top / PICTURES for top in tops if (top / PICTURES).is_dir()), None)
    parts = rar.parts(tops, affectnet_archive.STEM) if pictures is None else []
    if pictures is None and not parts:
        raise RawDataError(f"no folder {folder / PICTURES} and no {affectnet_archive.STEM}.part01.rar")
    with ThreadPoolExecutor(1) as pool:  # half a million pictures are listed while the lists are read
        names = pool.submit(lambda: list(files(pictures)) if pictures else [])
        rows = affectnet_lists.read(lists, landmarks).with_columns(pl.lit("affectnet").alias("source"))
    if pictures is not None:
        tables = [_from_tree(rows, pictures, names.result(), hash_files, memo, say)]
    else:
        tables = _from_archive(rows, parts, store, min_side, progress, say)
    return frames.finished(table.rename({"facial_landmarks": "landmarks"}, strict=False) for table in tables)


def crops(folder: Path) -> str | None:
    """The release of crops, which bring no boxes of faces, that `read` takes `folder` for; None for the 2017
    release and for what is neither."""
    if not folder.is_dir() or _lists(_tops(folder)):
        return None
    return affectnet_crops.recognised(folder)


def _tops(folder: Path) -> list[Path]:
    return [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]


def _lists(tops: list[Path]) -> list[Path]:
    where = [top / name for top in tops for name in affectnet_lists.FOLDERS] + tops
    found = ([top / name for name in affectnet_lists.NAMES if (top / name).is_file()] for top in where)
    return next(filter(None, found), [])


def _from_tree(
    rows: pl.DataFrame,
    pictures: Path,
    names: list[str],
    hash_files: HashFiles,
    memo: Memo | None,
    say: Callable[[str], None],
) -> pl.DataFrame:
    present = pl.DataFrame({"listed": list(filter(sound, names))}, schema={"listed": pl.String})
    if present.is_empty():
        raise RawDataError(f"no pictures in {pictures}")
    if unlisted := present.join(rows, on="listed", how="anti").height:
        say(f"{unlisted:,} files in {pictures} are in no list")
    rows = rows.join(
        present.with_columns(pl.lit(True).alias("present")), on="listed", how="left", maintain_order="left"
    )
    rows = _without_missing(rows, pl.col("present").is_null())
    path = pl.concat_str(pl.lit(f"{pictures}/"), "listed")
    rows = rows.with_columns(pl.when("present").then(path).alias("path"))
    return probing.with_pictures(rows, hash_files, memo)


def _from_archive(
    rows: pl.DataFrame,
    parts: list[Path],
    store: Store | None,
    min_side: int,
    progress: Callable[[Any], None] | None,
    say: Callable[[str], None],
) -> list[pl.DataFrame]:
    listed = rows.filter("keep")["listed"]
    members, refused, broken = affectnet_archive.pictures(parts, listed, store, min_side, progress, say)
    rows = rows.join(
        members.with_columns(pl.lit(True).alias("present")), on="listed", how="left", maintain_order="left"
    )
    hint = f"; {' and '.join(broken)} cannot be read to its end" if broken else ""
    rows = _without_missing(rows, pl.col("present").is_null(), hint)
    return [
        frames.quarantine(rows, pl.col("fault").is_not_null(), pl.col("fault"), pl.col("damage")),
        refused,
    ]


def _without_missing(rows: pl.DataFrame, missing: pl.Expr, hint: str = "") -> pl.DataFrame:
    return frames.quarantine(
        rows, missing, Reason.MISSING_FILE, pl.format("{} lists {}{}", "origin", "listed", pl.lit(hint))
    )
