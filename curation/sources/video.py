"""Videos to frame files, each video once. What a frame means lives in the data set's reader."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import BytesIO
from itertools import islice, pairwise
from pathlib import Path
from typing import Protocol

import av
from PIL import Image

from curation.frames import HashFiles
from store import file_system

DECODER_VERSION = 2
"""Part of the index name: raise it when `decode` gives other frames or numbers."""

_AVI_HEAD = 8
"""Bytes before a packet's data in an AVI file: its kind and its size."""

BATCH = 32
"""Frames held in memory at once while they are encoded."""

QUALITY = 85
"""Of frames as WebP: some 60-75 kB each at 1024 x 768, 8-10 GB for DISFA's 130,815 of one camera; as PNG
over 140."""

LOSSLESS_PIXELS = 1 << 16
"""Frames of at most so many pixels stay lossless PNG: they cost little."""

PIXEL_BYTES = {".png": 1.8, ".webp": 0.1}
"""Of a stored frame, a pixel, generously; measured as said above."""


class Files(Protocol):
    """Where frame files live, as `store.Files`. A name is the content hash and the suffix."""

    def put(self, content: bytes, suffix: str) -> str: ...

    def path(self, name: str) -> Path: ...

    def lost(self, names: Iterable[str]) -> list[str]: ...


@dataclass
class Video:
    """The frames of one video. `names` maps a frame number, counted from 0, to its file (PNG or WebP)."""

    width: int | None = None
    height: int | None = None
    expected: int | None = None
    """Frames that the container promises, None if it does not say."""
    problem: str | None = None
    """What is wrong with it, in words that name no path; None if every frame came."""
    names: dict[int, str] = field(default_factory=dict)
    replaced: bool = False
    """Whether the file was replaced while it was decoded: whose frames these are is then unsure."""


def decode(
    path: Path,
    content_hash: str,
    hash_files: HashFiles,
    files: Files,
    index: Path,
    say: Callable[[str], None] = lambda text: None,
) -> Video:
    """The frames of a video: from the index if this content was decoded before, else decoded now, which `say`
    is told.

    `index` is a folder; it gets one small JSON file a video, named by the video's content hash and written
    last, so that a decoding that was cut short starts again and one that ended never does. A damaged video
    gives the frames that are certain: none after a decoding error up to the next key frame, and none whose
    number is unsure. A video that no longer has `content_hash` once it is decoded is `replaced`, and not
    remembered.
    """
    entry = index / f"{content_hash}-{DECODER_VERSION}.json"
    if (known := _remembered(entry, files)) is not None:
        return known
    video = _decoded(path, files)
    if hash_files([path]) != [content_hash]:
        video.problem, video.replaced = "was replaced while it was decoded, run again", True
        return video
    say(f"decoded {path.name}: it {video.problem or f'gives {len(video.names)} frames'}")
    file_system.write(entry, json.dumps(asdict(video)))
    return video


def _remembered(entry: Path, files: Files) -> Video | None:
    """What the index says, None if it is missing, damaged, or some of its frames are gone or damaged."""
    with suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
        known = Video(**json.loads(file_system.read(entry)))
        known.names = {int(number): name for number, name in known.names.items()}
        if not files.lost(known.names.values()):
            return known
    return None


@dataclass
class _Damage:
    """What went wrong while reading. `at` is how many frames had come before the first error."""

    at: int | None = None
    errors: int = 0

    def note(self, frames: int) -> None:
        self.errors += 1
        self.at = frames if self.at is None else self.at


def _decoded(path: Path, files: Files) -> Video:
    try:
        container = av.open(str(path))
    except av.FFmpegError as error:
        return Video(problem=f"cannot be opened: {error.strerror or type(error).__name__}")
    with container, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        if not container.streams.video:
            return Video(problem="has no picture stream")
        stream = container.streams.video[0]
        video = Video(width=stream.width, height=stream.height, expected=stream.frames or None)
        damage = _Damage()
        stamps: list[int | None] = []
        names: list[str] = []
        is_avi = container.format.name == "avi"
        # read before the packets are, since FFmpeg adds to it what it meets
        index = {entry.pos + _AVI_HEAD: entry.timestamp for entry in stream.index_entries} if is_avi else {}
        timed = not is_avi or (len(index) > 1 and not stream.codec_context.has_b_frames)
        frames = _frames(_packets(container, stream, index, damage, stamps), damage, stamps)
        size: tuple[int, int] | None = None
        while batch := list(islice(frames, BATCH)):
            size = size or batch[0].size
            names += pool.map(lambda image: files.put(*_encoded(image)), batch)
        numbers = _numbers(stamps, stream, timed, damage)
    video.names = dict(zip(numbers, names, strict=False))
    if video.names and size is not None:
        video.width, video.height = size
    video.problem = _account(len(video.names), video.expected, damage)
    return video


def _packets(
    container, stream, index: dict[int, int], damage: _Damage, stamps: list
) -> Iterator[tuple[av.Packet, bool]]:
    """The packets, and for each whether one before it is lost.

    AVI stores no time: FFmpeg counts the packets it meets, so that a lost one shifts all later frames. The
    file's index, at its end, tells which packet lies where (`index`, by position); with it each packet gets
    its own number again. Without it, a gap between packets at least tells where the numbers stop being sure.
    """
    indexed = len(index) > 1
    alone = container.format.name == "avi" and len(container.streams) == 1
    before, end = -1, None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.EOFError:
            return
        except av.FFmpegError:
            damage.note(len(stamps))
            return
        if packet is None:
            return
        lost = False
        if packet.size and indexed:
            number = index.get(packet.pos)
            if number is None:  # what looked like a packet is rubble
                damage.note(len(stamps))
                continue
            packet.pts = packet.dts = number
            before, lost = number, number != before + 1
        elif packet.size and alone:
            lost = end is not None and packet.pos != end
            end = packet.pos + packet.size + packet.size % 2 + _AVI_HEAD
        if lost:
            damage.note(len(stamps))
        yield packet, lost


def _frames(packets: Iterator[tuple], damage: _Damage, stamps: list[int | None]) -> Iterator[Image.Image]:
    """Sound pictures in the order of showing; their time stamps are appended to `stamps`."""
    waiting = False  # for a key frame, because what follows an error is built on it
    for packet, lost in packets:
        waiting = waiting or lost
        try:
            decoded = [] if packet.is_corrupt else packet.decode()
        except av.EOFError:
            decoded = []
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):  # says something about this machine, not about the film
                raise
            decoded = None
        if decoded is None or packet.is_corrupt:
            damage.note(len(stamps))
            waiting = True
            continue
        for frame in decoded:
            if frame.is_corrupt or (waiting and not frame.key_frame):
                damage.note(len(stamps))
                waiting = True
                continue
            waiting = False
            stamps.append(frame.pts)
            yield frame.to_image()


def _numbers(stamps: Sequence[int | None], stream, timed: bool, damage: _Damage) -> list[int]:
    """Frame numbers, counted from 0. May be shorter than `stamps`: the rest are frames of unsure number."""
    counted = list(range(len(stamps)))
    expected, rate, base = stream.frames or None, stream.average_rate, stream.time_base
    if expected == len(stamps) or (expected is None and damage.at is None):
        return counted
    known = [stamp for stamp in stamps if stamp is not None]
    if timed and rate and base and stamps and len(known) == len(stamps):
        first = (stream.start_time or 0) if damage.at == 0 else known[0]
        numbers = [round((stamp - first) * base * rate) for stamp in known]
        rising = all(one < other for one, other in pairwise(numbers))
        if rising and numbers[0] >= 0 and (expected is None or numbers[-1] < expected):
            return numbers
    return counted if damage.at is None else counted[: damage.at]


def _account(frames: int, expected: int | None, damage: _Damage) -> str | None:
    said = []
    if frames == 0:
        said.append("gives no frame")
    elif expected is not None and frames < expected:
        said.append(f"gives {frames} of {expected} frames")
    if damage.errors:
        said.append(f"{damage.errors} decoding errors, the first after frame {damage.at}")
    return ", ".join(said) or None


def forecast(path: Path) -> int:
    """About how many bytes the frames of the video `path` take once they are stored, from its header alone; 0
    for one that does not open.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            count = stream.frames or int(float((stream.duration or 0) * (stream.time_base or 0)) * 30)
            pixels = stream.width * stream.height
            return int(count * pixels * PIXEL_BYTES[_suffix(pixels)])
    except (OSError, av.FFmpegError, IndexError):
        return 0


def _encoded(image: Image.Image) -> tuple[bytes, str]:
    """A frame's file, and its suffix."""
    content = BytesIO()
    suffix = _suffix(image.width * image.height)
    if suffix == ".png":
        image.save(content, "PNG", compress_level=1)
    else:
        image.save(content, "WEBP", quality=QUALITY, method=2)
    return content.getvalue(), suffix


def _suffix(pixels: int) -> str:
    return ".png" if pixels <= LOSSLESS_PIXELS else ".webp"
