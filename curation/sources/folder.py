"""Any folder of pictures to frames: portraits, captions beside them, folders of video frames."""

from pathlib import Path, PurePosixPath

import polars as pl

from curation import frames, probing
from curation.frames import HashFiles, Memo, RawDataError
from curation.sources import listing, texts
from reasons import Reason

_NUMBERED = r"^(.*?)(\d+)$"


def read(folder: Path | str, hash_files: HashFiles, memo: Memo | None = None) -> pl.DataFrame:
    """One frame a picture in `folder` and below it, columns `curation.frames.SCHEMA`.

    `alice.txt` beside `alice.jpg` is its caption. A folder below the top whose pictures all
    have one name and a number ("0001.png", "frame_12.jpg") is one subject, so that no split cuts through it.
    Folders side by side whose numbers go on from one to the next (FFHQ's 00000/, 01000/) are not.

    Pictures that do not decode are quarantined. Raises RawDataError for a folder that is not there or holds
    no picture.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        raise RawDataError(f"no folder {folder}")
    names = list(listing.files(folder))
    pictures = [name for name in names if PurePosixPath(name).suffix.lower() in probing.SUFFIXES]
    if not pictures:
        raise RawDataError(f"no pictures in {folder} ({', '.join(sorted(probing.SUFFIXES))})")
    sound = [name for name in pictures if listing.sound(name)]
    captions = {name for name in names if name.lower().endswith(".txt") and listing.sound(name)}
    told = [_caption(folder, name, captions) for name in sound]
    rows = pl.DataFrame(
        [(name, *said) for name, said in zip(sound, told, strict=True)],
        schema=dict.fromkeys(("name", "raw_caption", "caption_fault"), pl.String),
        orient="row",
    ).with_columns(
        pl.concat_str(pl.lit(f"{folder}/"), "name").alias("path"),
        *frames.KEPT,
    )
    rows = rows.join(_subjects(rows["name"]), on="name", how="left", maintain_order="left")
    rows = probing.with_pictures(rows, hash_files, memo)
    broken = [listing.shown(name) for name in pictures if not listing.sound(name)]
    unnamed = pl.DataFrame({"name": broken}, schema={"name": pl.String}).with_columns(
        pl.lit(False).alias("keep"),
        pl.lit(Reason.UNREADABLE_NAME).alias("reason_code"),
        pl.format("{} is not valid text", "name").alias("reason_detail"),
    )
    rows = pl.concat([rows, unnamed], how="diagonal").with_columns(
        pl.lit("folder").alias("source"),
        pl.concat_str(pl.lit("folder/"), "name").alias("sample_id"),
        pl.col("name").alias("origin"),
    )
    return frames.finished(rows)


def _caption(folder: Path, picture: str, captions: set[str]) -> tuple[str | None, str | None]:
    """The text beside a picture, in one line, None if there is none or it is empty; and what is wrong with
    it."""
    beside = str(PurePosixPath(picture).with_suffix(".txt"))
    if beside not in captions:
        return None, None
    try:
        return texts.caption(folder / beside) or None, None
    except texts.NotText as error:
        return None, f"{beside}: {error}"
    except OSError as error:
        return None, f"{beside}: {error.strerror}"


def _subjects(names: pl.Series) -> pl.DataFrame:
    """`name`, `subject` (the folder, relative), `frame` for pictures in folders of numbered frames."""
    stem = pl.col("name").str.extract(r"([^/]*)\.[^./]*$")
    place = pl.col("name").str.extract(r"^(.*)/[^/]*$")
    table = pl.DataFrame({"name": names}).with_columns(
        place.alias("subject"),
        place.str.extract(r"^(.*)/[^/]*$").fill_null("").alias("above"),
        stem.str.extract(_NUMBERED, 1).alias("prefix"),
        stem.str.extract(_NUMBERED, 2).cast(pl.Int64, strict=False).alias("frame"),
    )
    folders = (
        table.drop_nulls("subject")
        .group_by("subject", "above")
        .agg(
            pl.col("frame").is_not_null().all().alias("numbered"),
            pl.col("prefix").n_unique().alias("prefixes"),
            pl.len().alias("pictures"),
            pl.col("frame").min().alias("low"),
            pl.col("frame").max().alias("high"),
        )
        .filter("numbered", pl.col("prefixes") == 1, pl.col("pictures") > 1)
        .sort("above", "low", "high")
    )
    goes_on = (pl.col("low") > pl.col("high").shift().over("above")).fill_null(True).all().over("above")
    one_sequence = goes_on & (pl.len().over("above") > 1)
    kept = folders.filter(~one_sequence).select("subject")
    return table.join(kept, on="subject", how="semi").select("name", "subject", "frame")
