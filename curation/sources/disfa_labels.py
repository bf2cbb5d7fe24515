"""DISFA's label files to tables, one row a (subject, frame). Pictures live in `disfa_pictures`."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import polars as pl

import picture_files
from curation.frames import LABELS, RawDataError
from curation.sources import texts
from facs import ACTION_UNITS, COLUMNS
from reasons import Reason

FOLDER = "ActionUnit_Labels"
FILE = re.compile(r"(SN\d+)_au(\d+)\.txt", re.IGNORECASE)

HIGHEST_FRAME = 10**9 - 1
"""A year and a half of film: a number above is no frame's."""

FAULTY_FRAMES: dict[str, tuple[tuple[int, int], ...]] = {
    "SN001": ((398, 420), (3190, 3243)),
    "SN002": ((800, 826),),
    "SN004": ((4541, 4555),),
    "SN006": ((1349, 1405),),
    "SN009": ((1736, 1808), (1851, 1885)),
    "SN011": ((4529, 4533), (4830, 4845)),
    "SN021": (
        (574, 616),
        (985, 1164),
        (1190, 1205),
        (1305, 1338),
        (1665, 1710),
        (1862, 2477),
        (2554, 4657),
        (4710, 4722),
    ),
    "SN023": ((1021, 1049), (3378, 3557), (3584, 3668), (4547, 4621), (4741, 4772), (4825, 4845)),
    "SN025": ((4596, 4662), (4816, 4835)),
    "SN027": ((3461, 3494), (4738, 4785)),
    "SN028": ((1875, 1885), (4571, 4690)),
    "SN029": ((4090, 4543),),
    "SN030": ((939, 962), (1406, 1422), (2100, 2132), (2893, 2955)),
}
"""Frames (1-based, both ends included) in which the tracking failed, by DISFA's own tracking log."""


_KEY = ("subject", "au", "frame")
_LINE = pl.Schema(
    {
        "subject": pl.String,
        "au": pl.Int64,
        "file": pl.String,
        "line": pl.UInt32,
        "text": pl.String,
        "frame": pl.Int64,
        "value": pl.Float64,
        "code": pl.String,
    }
)
LabelFile = tuple[int, Path, str]
"""AU, path, and what the file is called: its name, or its place below the others where two have one name."""


def read(files: Iterable[Path], first_label: int = 1) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two tables from label files named `SN001_au12.txt`, one `frame,intensity` line a frame, counted from
    `first_label` (1 as published, or 0); the tables count from 1.

    Labels, one row a (subject, frame): `subject`, `frame`, `label_line` (where the frame is first named, as
    "SN001_au1.txt:88"), `label_au1` ... `label_au26` (0-5), `label_fault` and `label_complaint` (a reason's
    code and detail; null if all twelve are there and sound: a subject of which a label file is missing, empty
    or unreadable has no sound frame). Stray lines, one row a line that names no frame or one that was named
    before: `subject`, `frame`, `origin`, `reason_code`, `reason_detail`.
    The AU is the one in the file's name. Raises RawDataError if there is no such file, if none has a line,
    and for files that are evidently not counted from `first_label`: every label would be one frame off.
    """
    sound, others = [], {}
    for subject, own in _subjects(files).items():
        table = _sound(subject, own, first_label)
        if table is None:
            others[subject] = own
        else:
            sound.append(table)
    lines, unread = _lines(others, first_label)
    _check_counting(lines, sound, first_label)
    if lines.is_empty() and not sound:
        raise RawDataError(f"all label files in {FOLDER} are empty or unreadable")
    named = lines.filter(pl.col("frame").is_not_null()).with_columns(pl.lit(False).alias("again"))
    twice = named.select(_KEY).is_duplicated()
    if twice.any():
        named = pl.concat([named.filter(~twice), _compared(named.filter(twice))]).sort(*_KEY, "file", "line")
    repeats = named.filter("again").select(
        "subject",
        "frame",
        pl.col("place").alias("origin"),
        pl.lit(Reason.DUPLICATE_LABEL_LINE).alias("reason_code"),
        pl.format("{} names frame {} again", "place", "frame").alias("reason_detail"),
    )
    nameless = lines.filter(pl.col("frame").is_null()).select(
        "subject",
        pl.lit(None, dtype=pl.Int64).alias("frame"),
        pl.col("place").alias("origin"),
        pl.col("code").alias("reason_code"),
        pl.col("complaint").alias("reason_detail"),
    )
    wide = _wide(named.filter(~pl.col("again")), _absent_files(lines, unread))
    return pl.concat([*sound, wide]), pl.concat([repeats, nameless])


def _compared(named: pl.DataFrame) -> pl.DataFrame:
    """Lines that name a frame that another line of its AU names: the first counts, if all say the same."""
    named = named.sort(*_KEY, "file", "line")
    conflict = pl.format(
        "{} and {} differ on frame {}",
        pl.col("place").first().over(_KEY),
        pl.col("place").last().over(_KEY),
        "frame",
    )
    differ = pl.col("code").is_null() & (pl.col("value").n_unique().over(_KEY) > 1)
    return named.with_columns(
        (pl.int_range(pl.len()).over(_KEY) > 0).alias("again"),
        pl.when(differ).then(pl.lit(Reason.CONFLICTING_LABEL_LINES)).otherwise("code").alias("code"),
        pl.when(differ).then(conflict).otherwise("complaint").alias("complaint"),
    )


def _subjects(files: Iterable[Path]) -> dict[str, list[LabelFile]]:
    """The label files of each subject, in the order of their paths."""
    paths = sorted(files)
    names = Counter(path.name for path in paths)
    above = os.path.commonpath([path.parent for path in paths]) if paths else ""
    found: dict[str, list[LabelFile]] = {}
    for path in paths:
        match = FILE.fullmatch(path.name)
        if match is not None and int(match.group(2)) in ACTION_UNITS:
            name = path.name if names[path.name] == 1 else path.relative_to(above).as_posix()
            found.setdefault(match.group(1).upper(), []).append((int(match.group(2)), path, name))
    if not found:
        raise RawDataError(f"no label file named like SN001_au1.txt in {FOLDER}")
    return found


def _sound(subject: str, files: list[LabelFile], first_label: int) -> pl.DataFrame | None:
    """The labels of a subject whose twelve files name the same frames in the same order, once each, in lines
    that are all sound, as nearly all do; None for any other."""
    files = sorted(files)
    if tuple(au for au, *_ in files) != ACTION_UNITS:
        return None
    try:
        contents = [picture_files.read(path, texts.MAX_LIST_BYTES) for _, path, _ in files]
        content = b"".join(each if each.endswith(b"\n") else each + b"\n" for each in contents)
        schema = {"frame": pl.Int64, "value": pl.Float64}
        lines = pl.read_csv(content, has_header=False, schema=schema, quote_char=None)
    except (OSError, pl.exceptions.PolarsError):
        return None
    counts = {texts.count_lines(each) for each in contents}
    count = max(counts)
    if counts != {count} or lines.height != count * len(files):
        return None
    numbers = lines["frame"].to_numpy().reshape(len(files), count)
    if not (numbers == numbers[0]).all():
        return None
    frame, intensity = pl.col("frame"), pl.col(LABELS)
    checks = (
        frame.is_between(1, HIGHEST_FRAME),
        frame.is_unique(),
        intensity.is_between(0, 5),
        intensity == intensity.round(),
    )
    columns = {label: lines["value"].slice(i * count, count) for i, label in enumerate(LABELS)}
    table = pl.DataFrame({"frame": lines["frame"].head(count) + 1 - first_label, **columns})
    if not table.select(pl.all_horizontal(*checks).fill_null(False).all()).item():
        return None
    return table.select(
        pl.lit(subject).alias("subject"),
        "frame",
        pl.format("{}:{}", pl.lit(files[0][2]), pl.int_range(1, pl.len() + 1)).alias("label_line"),
        *LABELS,
        pl.lit(None, dtype=pl.String).alias("label_fault"),
        pl.lit(None, dtype=pl.String).alias("label_complaint"),
    )


def _check_counting(lines: pl.DataFrame, sound: list[pl.DataFrame], first_label: int) -> None:
    """Raises RawDataError where the files of a subject name a frame 0 though they are said to count from 1,
    or none names it though they are said to count from 0. One file that does so has a bad line."""
    if first_label == 0:
        if not any((table["frame"] == 1).any() for table in [*sound, lines]):
            raise RawDataError(f"no label file in {FOLDER} names frame 0: disfa.first_label is 1, not 0")
        return
    zero = pl.col("text").str.contains(r"^0+(\.0*)?\s*[,;\s]")
    found = lines.filter(pl.col("code") == Reason.FRAME_OUT_OF_RANGE, zero).sort("subject", "au")
    files = found.group_by("subject", maintain_order=True).agg(
        pl.col("au").n_unique(), pl.col("place").first()
    )
    shifted = files.filter(pl.col("au") > len(ACTION_UNITS) // 2)
    if shifted.height:
        subject, count, place = shifted.row(0)
        raise RawDataError(
            f"{count} label files of {subject} count their frames from 0 ({place}), the published ones "
            "from 1: read like those, each label would belong to another frame; set disfa.first_label: 0"
        )


def _lines(
    subjects: dict[str, list[LabelFile]], first_label: int
) -> tuple[pl.DataFrame, dict[tuple[str, int], str]]:
    """One row a line: the columns of _LINE, `place`, `complaint`; and why the files of a (subject, AU) gave
    none."""
    tables = [pl.DataFrame(schema=_LINE)]
    unread: dict[tuple[str, int], str] = {}
    for subject, files in subjects.items():
        for au, path, name in files:
            try:
                content = picture_files.read(path, texts.MAX_LIST_BYTES)
                unread.setdefault((subject, au), f"{name} is empty")
            except OSError as error:
                content = b""
                unread[subject, au] = f"{name} cannot be read: {error.strerror}"
            text = content.decode(texts.encoding(content), errors="replace").split("\n")
            lines = pl.DataFrame({"text": pl.Series(text, dtype=pl.String)}).with_row_index("line", offset=1)
            tables.append(
                _line_by_line(lines, first_label)
                .with_columns(
                    pl.lit(subject).alias("subject"),
                    pl.lit(au, dtype=pl.Int64).alias("au"),
                    pl.lit(name).alias("file"),
                )
                .select(_LINE.names())
            )
    lines = pl.concat(tables).sort("subject", "au", "file", "line")
    lines = lines.with_columns(pl.format("{}:{}", "file", "line").alias("place"))
    complaint = pl.when(pl.col("code").is_not_null()).then(pl.format("{} '{}'", "place", "text"))
    return lines.with_columns(complaint.alias("complaint")), unread


def _line_by_line(lines: pl.DataFrame, first_label: int) -> pl.DataFrame:
    """`frame` (from 1), `value` and `code`, what is wrong, of each line that is not empty."""
    lines = lines.with_columns(pl.col("text").str.strip_chars()).filter(pl.col("text") != "")
    cells = pl.col("text").str.replace_all(r"\s*[,;\s]\s*", ",").str.split(",")
    lines = lines.with_columns(
        cells.list.len().alias("cells"),
        *(
            _number(cells.list.get(i, null_on_oob=True)).alias(name)
            for i, name in enumerate(("frame", "value"))
        ),
    )
    frame = pl.col("frame") + 1 - first_label
    whole_frame = frame.is_between(1, HIGHEST_FRAME) & (frame == frame.round())
    sound_value = pl.col("value").is_between(0, 5) & (pl.col("value") == pl.col("value").round())
    code = (
        pl.when(pl.col("cells") < 2)
        .then(pl.lit(Reason.SHORT_LABEL_LINE))
        .when(pl.col("cells") > 2)
        .then(pl.lit(Reason.LONG_LABEL_LINE))
        .when(pl.col("frame").is_null() | pl.col("value").is_null())
        .then(pl.lit(Reason.LABEL_NOT_A_NUMBER))
        .when(~whole_frame)
        .then(pl.lit(Reason.FRAME_OUT_OF_RANGE))
        .when(~sound_value)
        .then(pl.lit(Reason.LABEL_OUT_OF_RANGE))
    )
    return lines.with_columns(
        code.alias("code"),
        pl.when(whole_frame).then(frame).cast(pl.Int64).alias("frame"),
        pl.when(sound_value).then(pl.col("value")).alias("value"),
    ).drop("cells")


def _absent_files(lines: pl.DataFrame, unread: dict[tuple[str, int], str]) -> pl.DataFrame:
    """`subject`, `absent`: of which AUs a subject has not one label, file by file and why."""
    found = set(lines.select("subject", "au").unique().iter_rows())
    rows = []
    for subject in sorted({subject for subject, _ in found}):
        absent = [
            unread.get((subject, au), f"{subject}_{column}.txt is missing")
            for au, column in zip(ACTION_UNITS, COLUMNS, strict=True)
            if (subject, au) not in found
        ]
        rows += [(subject, ", ".join(absent))] if absent else []
    return pl.DataFrame(rows, schema={"subject": pl.String, "absent": pl.String}, orient="row")


def _number(cell: pl.Expr) -> pl.Expr:
    number = cell.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _wide(lines: pl.DataFrame, absent_files: pl.DataFrame) -> pl.DataFrame:
    """One row a (subject, frame) from one row a (subject, AU, frame)."""
    values = [pl.col("value").filter(pl.col("au") == au).first() for au in ACTION_UNITS]
    seen = [(pl.col("au") == au).any().alias(f"seen_{au}") for au in ACTION_UNITS]
    wide = (
        lines.group_by("subject", "frame")
        .agg(
            pl.col("place").first().alias("label_line"),
            pl.col("code", "complaint").drop_nulls().first(),
            pl.col("code").drop_nulls().len().alias("faults"),
            *(value.alias(label) for value, label in zip(values, LABELS, strict=True)),
            *seen,
        )
        .join(absent_files, on="subject", how="left")
    )
    absent = pl.concat_str(
        [
            pl.when(~pl.col(f"seen_{au}")).then(pl.concat_str("subject", pl.lit(f"_{column}.txt")))
            for au, column in zip(ACTION_UNITS, COLUMNS, strict=True)
        ],
        separator=", ",
        ignore_nulls=True,
    )
    more = pl.when(pl.col("faults") > 1).then(pl.format(" (and {} more)", pl.col("faults") - 1))
    fault = (
        pl.when(pl.col("absent").is_not_null())
        .then(pl.lit(Reason.NO_LABEL_FILE))
        .when(pl.col("code").is_not_null())
        .then("code")
        .when(absent != "")
        .then(pl.lit(Reason.NO_LABEL))
    )
    complaint = (
        pl.when(pl.col("absent").is_not_null())
        .then("absent")
        .when(pl.col("code").is_not_null())
        .then(pl.concat_str("complaint", more.fill_null("")))
        .when(absent != "")
        .then(pl.format("frame {} is not in {}", "frame", absent))
    )
    faults = fault.alias("label_fault"), complaint.alias("label_complaint")
    return wide.select("subject", "frame", "label_line", *LABELS, *faults)
