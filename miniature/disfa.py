"""Writes made-up videos and their frame labels in the layout of DISFA. No photographs.

The unrounded intensities go to truth.parquet, which only tests and audits read.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import multiprocessing
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl
from scipy.ndimage import gaussian_filter1d

from facs import ACTION_UNITS, COLUMNS
from miniature.atomic import whole_folder, write_whole
from miniature.expressions import disfa_track, rounded
from miniature.worlds import World, named

VIDEO_FOLDER = "Video_LeftCamera"
LABELS_FOLDER = "ActionUnit_Labels"
FRAME_SIZE = (128, 96)
FRAMES_A_SECOND = 20
SUBJECTS = ("SN001", "SN002", "SN003", "SN004")


def write_disfa(
    folder: Path,
    subjects: Sequence[str] = SUBJECTS,
    frames: int = 300,
    seed: int = 0,
    *,
    world: str = "drawn",
    size: tuple[int, int] = FRAME_SIZE,
    processes: int = 1,
) -> None:
    """Write one video and twelve label files a subject, and truth.parquet, to `folder`.

    `world`: whose faces; `size`: (width, height) of a frame. `frames` labels a subject; as in the real set
    one video, here the last subject's, is a frame shorter than its labels. The same arguments give the same
    bytes, whatever `processes`. Raises FileExistsError if `folder` exists.
    """
    with whole_folder(Path(folder)) as partial:
        truth = []
        for subject in subjects:
            recording = _Recording.of(subject, frames, seed, world, size)
            recording.write_labels(partial)
            recording.write_video(partial, frames - 1 if subject == subjects[-1] else frames, processes)
            truth.append(recording.truth())
        pl.concat(truth).write_parquet(partial / "truth.parquet")


def add_subject(
    folder: Path,
    subject: str,
    frames: int = 300,
    seed: int = 0,
    *,
    world: str = "drawn",
    size: tuple[int, int] = FRAME_SIZE,
) -> None:
    """Let new data arrive: add one subject to an existing `folder`.

    Labels come first, then truth.parquet, then the video, each file replaced as a whole: a kill leaves no
    video without labels, and the same call again completes it. Does nothing if the video is there.
    """
    folder = Path(folder)
    if video_path(folder, subject).exists():
        return
    recording = _Recording.of(subject, frames, seed, world, size)
    recording.write_labels(folder)
    known = pl.read_parquet(folder / "truth.parquet").filter(pl.col("subject") != subject)
    buffer = io.BytesIO()
    pl.concat([known, recording.truth()]).write_parquet(buffer)
    write_whole(folder / "truth.parquet", buffer.getvalue())
    recording.write_video(folder, frames)


def video_path(folder: Path, subject: str) -> Path:
    """Where the left camera's video of `subject` lies."""
    return folder / VIDEO_FOLDER / f"LeftVideo{subject}_comp.avi"


@dataclasses.dataclass(frozen=True)
class _Recording:
    """One subject before the camera."""

    subject: str
    world: str
    size: tuple[int, int]
    person: Any
    shots: list[Any]
    """One a frame: the subject sits almost still in constant light."""
    track: np.ndarray
    """Intensities, float32 [frames, 12]."""
    caption: str

    @classmethod
    def of(cls, subject: str, frames: int, seed: int, name: str, size: tuple[int, int]) -> _Recording:
        rng, world = np.random.default_rng([seed, zlib.crc32(subject.encode())]), named(name)
        person = world.seated(world.draw_person(rng))
        first = world.draw_shot(rng)
        sway = gaussian_filter1d(rng.standard_normal((frames, 3)), sigma=8.0, axis=0, mode="nearest")
        shots = [world.swayed(first, x, y, gaze) for x, y, gaze in sway.tolist()]
        track = disfa_track(rng, frames)
        return cls(subject, name, size, person, shots, track, world.caption(person, rng))

    def write_labels(self, folder: Path) -> None:
        labels = folder / LABELS_FOLDER / self.subject
        labels.mkdir(parents=True, exist_ok=True)
        for unit, intensities in zip(ACTION_UNITS, rounded(self.track).astype(int).T.tolist(), strict=True):
            lines = [f"{frame},{intensity}\n" for frame, intensity in enumerate(intensities, start=1)]
            write_whole(labels / f"{self.subject}_au{unit}.txt", "".join(lines).encode())

    def write_video(self, folder: Path, frames: int, processes: int = 1) -> None:
        path = video_path(folder, self.subject)
        path.parent.mkdir(parents=True, exist_ok=True)
        moments = [(self, frame) for frame in range(frames)]
        if processes == 1:
            write_whole(path, encode_video(itertools.starmap(_picture, moments), self.size))
            return
        with multiprocessing.get_context("spawn").Pool(processes, _remember, (self,)) as pool:
            write_whole(path, encode_video(pool.imap(_remembered_picture, range(frames), 16), self.size))
            pool.close()
            pool.join()

    def truth(self) -> pl.DataFrame:
        frames = len(self.track)
        columns = {
            "path": [f"{VIDEO_FOLDER}/{video_path(Path(), self.subject).name}"] * frames,
            "subject": [self.subject] * frames,
            "frame": pl.Series(range(1, frames + 1), dtype=pl.Int32),
            **dict(zip(COLUMNS, self.track.T, strict=True)),
            "style": ["photo"] * frames,
            "caption": [self.caption] * frames,
        }
        return pl.DataFrame(columns)


_current: list[_Recording] = []
"""What a worker process films: sent once, not with each frame."""


def _remember(recording: _Recording) -> None:
    _current[:] = [recording]


def _remembered_picture(frame: int) -> np.ndarray:
    return _picture(_current[0], frame)


def _picture(recording: _Recording, frame: int) -> np.ndarray:
    world: World = named(recording.world)
    return world.photo(recording.person, recording.shots[frame], recording.track[frame], recording.size)


def encode_video(pictures: Iterable[np.ndarray], size: tuple[int, int] = FRAME_SIZE) -> bytes:
    """Encode uint8 [height, width, 3] pictures of `size` (width, height) as an AVI of Motion JPEG.

    It is near-lossless, and the same pictures give the same bytes.
    """
    buffer = io.BytesIO()
    options = {"fflags": "+bitexact"}
    with av.open(buffer, mode="w", format="avi", options=options) as container:
        stream = container.add_stream("mjpeg", rate=FRAMES_A_SECOND)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj444p"
        context = stream.codec_context
        context.thread_count = 1
        context.time_base = Fraction(1, FRAMES_A_SECOND)
        context.options = {"flags": "+bitexact", "qmin": "1", "qmax": "1"}
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()
