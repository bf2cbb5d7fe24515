"""DISFA's pictures, from videos or from extracted frames, as one table. Labels live in `disfa_labels`."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import polars as pl

import reasons
from curation import frames, probing
from curation.frames import HashFiles, Memo, RawDataError
from curation.sources import video
from reasons import Reason

Key = tuple[str, str]
"""(subject, camera)"""

SCHEMA = pl.Schema(
    {
        "subject": pl.String,
        "camera": pl.String,
        "frame": pl.Int64,  # 1-based, as in the label files; null if the name has no number
        "path": pl.String,
        "origin": pl.String,
        "content_hash": pl.String,
        "width": pl.Int64,
        "height": pl.Int64,
        "keep": pl.Boolean,
        **dict.fromkeys(reasons.COLUMNS, pl.String),
    }
)

_LAST_NUMBER = r"(\d+)\D*$"


def from_video(
    folder: Path,
    name: str,
    key: Key,
    files: video.Files,
    hash_files: HashFiles,
    index: Path,
    say: Callable[[str], None],
) -> tuple[pl.DataFrame, str]:
    """The frames of one video, and one sentence part that accounts for frames it does not have."""
    path = folder / name
    try:
        content_hash = hash_files([path])[0]
        with path.open("rb"):  # a file that may not be read is no corrupt video
            pass
        if content_hash is None:
            raise OSError(None, "it has no content hash")
    except OSError as error:
        decoded = video.Video(problem=f"cannot be read: {error.strerror}")
    else:
        decoded = video.decode(path, content_hash, hash_files, files, index, say)
    numbers = sorted(decoded.names)
    names = [decoded.names[number] for number in numbers]
    table = pl.DataFrame(
        {
            "frame": pl.Series(numbers, dtype=pl.Int64) + 1,
            "path": pl.Series([str(Path(files.path(file)).absolute()) for file in names], dtype=pl.String),
            "content_hash": pl.Series([Path(file).stem for file in names], dtype=pl.String),
        }
    ).with_columns(
        pl.lit(key[0]).alias("subject"),
        pl.lit(key[1]).alias("camera"),
        pl.format("{}#{}", pl.lit(path.name), "frame").alias("origin"),
        pl.lit(decoded.width, dtype=pl.Int64).alias("width"),
        pl.lit(decoded.height, dtype=pl.Int64).alias("height"),
        *frames.KEPT,
    )
    table = frames.quarantine(table, pl.lit(decoded.replaced), Reason.CHANGED_FILE, path.name)
    account = f"{path.name} {decoded.problem or f'gives {len(names)} frames'}"
    return table.select(SCHEMA.names()), account


def from_stills(
    folder: Path,
    stills: Mapping[Key, Sequence[str]],
    last_labelled: Mapping[str, int],
    first_frame: int | None,
    hash_files: HashFiles,
    memo: Memo | None,
    note: Callable[[str], None],
) -> pl.DataFrame:
    """Frames extracted before: the last number in a file's name is the frame's number.

    Files without a number, and a second file for the same frame, are quarantined (`frame` null).
    """
    table = pl.DataFrame(
        [(*key, name) for key, names in sorted(stills.items()) for name in sorted(names)],
        schema={"subject": pl.String, "camera": pl.String, "name": pl.String},
        orient="row",
    )
    stem = pl.col("name").str.extract(r"([^/]*)\.[^./]*$")
    table = table.with_columns(
        stem.str.extract(_LAST_NUMBER).cast(pl.Int64, strict=False).alias("number"),
        *frames.KEPT,
    )
    numbers = {
        (subject, camera): set(found)
        for subject, camera, found in table.drop_nulls("number")
        .group_by("subject", "camera", maintain_order=True)
        .agg("number")
        .iter_rows()
    }
    firsts = decide(numbers, last_labelled, first_frame, note)
    offsets = pl.DataFrame(
        [(*key, 1 - first) for key, first in firsts.items()],
        schema={"subject": pl.String, "camera": pl.String, "offset": pl.Int64},
        orient="row",
    )
    table = table.join(offsets, on=["subject", "camera"], how="left", maintain_order="left").with_columns(
        (pl.col("number") + pl.col("offset")).alias("frame"),
        pl.concat_str(pl.lit(f"{folder}/"), "name").alias("path"),
        pl.format("{} (files counted from {})", "name", 1 - pl.col("offset").fill_null(1)).alias("origin"),
    )
    table = frames.quarantine(table, pl.col("frame").is_null(), Reason.NO_FRAME_NUMBER, pl.col("name"))
    frame = ["subject", "camera", "frame"]
    again = pl.col("frame").is_not_null() & ~pl.struct(frame).is_first_distinct()
    beside = pl.format("{} beside {}", "name", pl.col("name").first().over(frame))
    table = frames.quarantine(table, again, Reason.DUPLICATE_FRAME, beside)
    table = probing.with_pictures(table, hash_files, memo)
    aside = pl.col("reason_code").is_in([Reason.NO_FRAME_NUMBER.value, Reason.DUPLICATE_FRAME.value])
    aside = aside.fill_null(False)
    table = table.with_columns(
        pl.when(~aside).then(pl.col("frame")).alias("frame"),
        pl.when(aside).then(pl.col("name")).otherwise(pl.col("origin")).alias("origin"),
    )
    return table.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def decide(
    numbers: Mapping[Key, set[int]],
    last_labelled: Mapping[str, int],
    first_frame: int | None,
    note: Callable[[str], None],
) -> dict[Key, int]:
    """Whether the extracted frames of each (subject, camera) are counted from 0 or from 1.

    Evidence, strongest first: a file numbered 0 (from 0); a file numbered like the subject's last label (from
    1, since from 0 it would be one too many); what all other subjects with such evidence say; a lowest number
    of 1 (from 1). The verdict and its evidence are told to `note`. Raises RawDataError if there is no
    evidence.
    """
    if first_frame is not None:
        if first_frame not in (0, 1):
            raise ValueError(f"first_frame is 0 or 1, not {first_frame!r}")
        note(f"extracted frames are counted from {first_frame}, as set")
        return dict.fromkeys(numbers, first_frame)
    own: dict[Key, tuple[int, str]] = {}
    for key, found in numbers.items():
        if 0 in found:
            own[key] = 0, "there is a frame 0"
        elif last_labelled.get(key[0]) in found:
            own[key] = 1, f"the last label is {last_labelled[key[0]]} and there is a frame of that number"
    agreed = {first for first, _ in own.values()}
    verdicts: dict[Key, tuple[int, str]] = {}
    for key, found in numbers.items():
        if key in own:
            verdicts[key] = own[key]
        elif len(agreed) == 1:
            verdicts[key] = min(agreed), "the other subjects are"
        elif min(found) == 1:
            verdicts[key] = 1, "the lowest number is 1"
        else:
            raise RawDataError(
                f"nothing says whether the extracted frames of {key[0]} ({key[1]} camera, {min(found)} to "
                f"{max(found)}) are counted from 0 or from 1; set disfa.first_frame"
            )
    for (subject, camera), (first, evidence) in sorted(verdicts.items()):
        note(f"{subject} ({camera}): extracted frames are counted from {first}, because {evidence}")
    return {key: first for key, (first, _) in verdicts.items()}


@lru_cache
def find_subject(folder: str, video: str | None) -> str | None:
    """SN001 from a video's name, or, without one, from the nearest folder of a frame ("SN001",
    "LeftVideoSN001_comp"); None for anything else."""
    names = [video] if video else reversed(folder.split("/"))
    found = (re.search(r"SN\d+", name, re.IGNORECASE) for name in names)
    return next((match.group().upper() for match in found if match), None)
