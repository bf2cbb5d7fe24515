"""DISFA: pictures joined with labels on (subject, frame). Parts: `disfa_pictures`, `disfa_labels`."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import polars as pl

import reasons
from curation import frames, probing
from curation.frames import HashFiles, Memo, RawDataError
from curation.sources import disfa_labels, disfa_pictures, listing, video
from curation.sources.disfa_labels import FAULTY_FRAMES
from reasons import Reason

VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".mkv", ".mov", ".mpg", ".mpeg", ".wmv"})
CAMERAS = ("left", "right")
_RIGHT = re.compile(r"(?<![A-Za-z])right|Right|RIGHT")


def read(
    folder: Path | str,
    files: video.Files,
    hash_files: HashFiles,
    index: Path | str,
    *,
    cameras: Sequence[str] = ("left",),
    exclude_faulty: bool = True,
    faulty: Mapping[str, Sequence[tuple[int, int]]] = FAULTY_FRAMES,
    first_frame: int | None = None,
    first_label: int = 1,
    memo: Memo | None = None,
    say: Callable[[str], None] = lambda text: None,
    note: Callable[[str], None] = lambda text: None,
) -> pl.DataFrame:
    """One row a (subject, label frame, camera), columns `curation.frames.SCHEMA`, labels 0-5 in
    `label_au{n}`.

    `folder` holds `ActionUnit_Labels/SN001/SN001_au1.txt` ... and, for a subject, either a video
    (`Video_LeftCamera/LeftVideoSN001_comp.avi`) or frames extracted before (`.../SN001/00000.jpg`); the video
    is taken where both are there. Frames of videos are put into `files`; the folder `index` remembers which
    videos are done. Whether extracted frames are counted from 0 or 1 is decided by evidence
    (`disfa_pictures.decide`) and named in `origin`; `first_frame` (0 or 1) overrules it. Label files are
    counted from `first_label`. `say` is told what
    is done now (a video decoded), `note` what was found: each video's frames, the evidence of the numbering.

    Quarantined with file and line or frame: labels without a frame, frames without a label, label lines that
    are short, not numeric, out of range or there twice, all frames of a subject without one of its twelve
    label files, frames that do not decode, names that are no text and, with `exclude_faulty`, frames in
    `faulty`. Raises RawDataError for a folder without labels, without pictures of a camera asked for, or with
    extracted frames whose numbering nothing decides, and for label files that are not counted from
    `first_label`.
    """
    folder = Path(folder).absolute()
    found = _find(folder, cameras)
    if found.strangers:
        note(f"{found.strangers:,} pictures and videos are left alone: no SN001 or the like in their names")
    labels, strays = disfa_labels.read((folder / name for name in found.labels), first_label)
    pictures, accounts = [pl.DataFrame(schema=disfa_pictures.SCHEMA)], {}
    for key, names in sorted(found.videos.items()):
        table, accounts[key] = disfa_pictures.from_video(
            folder, names[0], key, files, hash_files, Path(index), say
        )
        pictures.append(table)
        note(accounts[key])
    stills = {key: names for key, names in found.stills.items() if key not in found.videos}
    if stills:
        last = dict(labels.group_by("subject").agg(pl.col("frame").max()).iter_rows())
        pictures.append(disfa_pictures.from_stills(folder, stills, last, first_frame, hash_files, memo, note))
        accounts |= {
            key: f"{PurePosixPath(names[0]).parent} does not have it" for key, names in stills.items()
        }

    everything = pl.concat(pictures)
    rows = _joined(everything.drop_nulls("frame"), labels, accounts, cameras)
    if exclude_faulty:
        rows = frames.quarantine(rows, _is_faulty(faulty), Reason.FAULTY_FRAME, "tracking log")
    aside = pl.concat([everything.filter(pl.col("frame").is_null()), strays, found.spare()], how="diagonal")
    aside = aside.select("subject", "frame", "origin", "path", "content_hash", *reasons.COLUMNS).with_columns(
        pl.lit(False).alias("keep"), pl.concat_str(pl.lit("disfa/"), "origin").alias("sample_id")
    )
    return frames.finished([part.with_columns(pl.lit("disfa").alias("source")) for part in (rows, aside)])


@dataclass
class _Found:
    """Relative paths of what a DISFA folder holds; videos and stills by (subject, camera)."""

    labels: list[str] = field(default_factory=list)
    videos: dict[disfa_pictures.Key, list[str]] = field(default_factory=dict)
    stills: dict[disfa_pictures.Key, list[str]] = field(default_factory=dict)
    unnameable: list[str] = field(default_factory=list)
    strangers: int = 0
    """Pictures and videos that no name ties to a subject."""

    def spare(self) -> pl.DataFrame:
        """Rows that say which files were left alone: second videos of a subject, names that are no text."""
        spare: list[tuple[str | None, str, str, str]] = [
            (subject, name, Reason.SECOND_VIDEO.value, f"{name} beside {names[0]}")
            for (subject, _), names in sorted(self.videos.items())
            for name in names[1:]
        ]
        odd = Reason.UNREADABLE_NAME.value
        spare += [(None, name, odd, f"{name} is not valid text") for name in self.unnameable]
        columns = ("subject", "origin", *reasons.COLUMNS)
        return pl.DataFrame(spare, schema=dict.fromkeys(columns, pl.String), orient="row")


def _find(folder: Path, cameras: Sequence[str]) -> _Found:
    if not cameras or set(cameras) - set(CAMERAS):
        raise ValueError(f"cameras are some of {', '.join(CAMERAS)}, not {list(cameras)!r}")
    if not folder.is_dir():
        raise RawDataError(f"no folder {folder}")
    found = _Found()
    for name in listing.files(folder):
        place, _, file = name.rpartition("/")
        suffix = file[file.rfind(".") :].lower()
        is_labels = suffix == ".txt" and disfa_labels.FILE.fullmatch(file) is not None
        is_video, is_still = suffix in VIDEO_SUFFIXES, suffix in probing.SUFFIXES
        if not listing.sound(name):
            found.unnameable += [listing.shown(name)] if is_labels or is_video or is_still else []
            continue
        if is_labels:
            found.labels.append(name)
            continue
        subject = (
            disfa_pictures.find_subject(place, file if is_video else None) if is_video or is_still else None
        )
        camera = "right" if _RIGHT.search(name) else "left"
        if subject is None:
            found.strangers += int(is_video or is_still)
        elif camera in cameras:
            (found.videos if is_video else found.stills).setdefault((subject, camera), []).append(name)
    if not found.labels:
        raise RawDataError(f"no label file named like SN001_au1.txt in {folder / disfa_labels.FOLDER}")
    for camera in cameras:
        if not any(camera == other for _, other in [*found.videos, *found.stills]):
            wanted = f"Video_{camera.title()}Camera/{camera.title()}VideoSN001_comp.avi"
            raise RawDataError(
                f"no pictures of the {camera} camera in {folder}: no {wanted}, no SN001/00000.jpg"
            )
    return found


def _joined(
    pictures: pl.DataFrame,
    labels: pl.DataFrame,
    accounts: Mapping[disfa_pictures.Key, str],
    cameras: Sequence[str],
) -> pl.DataFrame:
    """Pictures and labels on (subject, camera, frame); what has no partner is quarantined."""
    wanted = labels.join(pl.DataFrame({"camera": list(cameras)}), how="cross")
    said = pl.DataFrame(
        [(*key, account) for key, account in accounts.items()],
        schema=dict.fromkeys(("subject", "camera", "account"), pl.String),
        orient="row",
    )
    rows = pictures.join(wanted, on=["subject", "camera", "frame"], how="full", coalesce=True)
    rows = rows.join(said, on=["subject", "camera"], how="left").with_columns(
        pl.col("keep").fill_null(True),
        pl.col("origin").is_null().alias("pictureless"),
        pl.coalesce("origin", "label_line").alias("origin"),
        pl.col("account").fill_null(pl.format("{} has no video and no frames", "subject")),
    )
    no_picture = pl.format("{} labels frame {}, {}", "label_line", "frame", "account")
    rows = frames.quarantine(rows, pl.col("pictureless"), Reason.NO_FRAME, no_picture)
    fault, complaint = pl.col("label_fault"), pl.col("label_complaint")
    rows = frames.quarantine(rows, fault.is_not_null(), fault, complaint)
    whose = (
        pl.when(pl.col("subject").is_in(labels["subject"].unique().to_list()))
        .then(pl.format("which {}_au1.txt does not have", "subject"))
        .otherwise(pl.format("and {} has no label", "subject"))
    )
    no_label = pl.format("{} is frame {}, {}", "origin", "frame", whose)
    rows = frames.quarantine(rows, pl.col("label_line").is_null(), Reason.NO_LABEL, no_label)
    number = pl.col("frame").cast(pl.String).str.zfill(5)
    return rows.with_columns(
        pl.when(pl.col("camera") == "left")
        .then(pl.format("disfa/{}/{}", "subject", number))
        .otherwise(pl.format("disfa/{}/{}/{}", "subject", "camera", number))
        .alias("sample_id")
    ).select("sample_id", "frame", "subject", "path", "origin", "content_hash", "width", "height", *_KEPT)


_KEPT = (*frames.LABELS, "keep", *reasons.COLUMNS)


def _is_faulty(faulty: Mapping[str, Sequence[tuple[int, int]]]) -> pl.Expr:
    """Ranges of 1-based frames, both ends included, by subject."""
    spans = [
        (pl.col("subject") == subject) & pl.col("frame").is_between(first, last)
        for subject, ranges in faulty.items()
        for first, last in ranges
    ]
    return pl.any_horizontal(spans) if spans else pl.lit(False)
