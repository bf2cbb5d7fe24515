"""Writers of tiny raw data in the real formats, for the tests of `curation`. No test lives here."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from random import Random
from unittest import mock

import av
import numpy as np
from PIL import Image

from facs import ACTION_UNITS

LANDMARKS = ";".join(f"{i}.5;{i}.25" for i in range(68))
AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)


def picture(
    shade: int = 0, width: int = 16, height: int = 12, form: str = "PNG", noise: bool = False
) -> bytes:
    """The bytes of a picture; another shade is another content."""
    if noise:
        random = np.random.default_rng(shade)
        image = Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8))
    else:
        image = Image.new("RGB", (width, height), (shade % 256, shade // 256, 90))
    content = BytesIO()
    image.save(content, form)
    return content.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def affectnet_line(name: str, **cells: object) -> str:
    box = {"x": 1, "y": 2, "width": 10, "height": 8}
    values = box | {"landmarks": LANDMARKS, "expression": 1, "valence": 0.5, "arousal": -0.25}
    return ",".join(str(cell) for cell in [name, *(values | cells).values()])


def affectnet(
    folder: Path,
    training: Iterable[str],
    validation: Iterable[str] = (),
    pictures: Mapping[str, bytes] | None = None,
    lists: str = "Manually_Annotated_file_lists",
    validation_header: bool = False,
) -> Path:
    """A 2017 tree: lines of both lists (training.csv gets a header) and pictures by their listed path."""
    write(folder / lists / "training.csv", "\n".join([AFFECTNET_HEADER, *training]) + "\n")
    head = [AFFECTNET_HEADER] if validation_header else []
    if validation := [*head, *validation]:
        write(folder / lists / "validation.csv", "\n".join(validation) + "\n")
    for name, content in (pictures or {}).items():
        write(folder / "Manually_Annotated_Images" / name, content)
    return folder


def disfa_labels(
    folder: Path, subject: str, frames: int, value: Callable[[int, int], int] = lambda au, f: 0
) -> None:
    """Twelve label files; `value(au, frame)` is the intensity."""
    for au in ACTION_UNITS:
        lines = "".join(f"{frame},{value(au, frame)}\n" for frame in range(1, frames + 1))
        write(folder / "ActionUnit_Labels" / subject / f"{subject}_au{au}.txt", lines)


def change_line(path: Path, number: int, text: str | None) -> None:
    """Replace line `number` (1-based) of a file, or take it out."""
    lines = path.read_text().splitlines()
    lines[number - 1 : number] = [] if text is None else [text]
    path.write_text("\n".join(lines) + "\n")


def video(
    path: Path, frames: int, size: int = 32, codec: str = "mpeg4", gop: int = 12, shade: int = 40
) -> Path:
    """A film whose brightness rises with each frame; 20 frames a second, as DISFA's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(shade)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.width = stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.gop_size, stream.bit_rate = gop, 4_000_000
        stream.max_b_frames = 0
        for number in range(frames):
            grain = random.integers(0, 40, (size, size, 3), dtype=np.uint8)
            pixels = grain + np.uint8(shade + 2 * number)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


@contextmanager
def shuffled_disk(random: Random) -> Iterator[None]:
    """Folders list their entries in an order of chance, as a disk may."""
    scandir, listdir = os.scandir, os.listdir

    class Shuffled(ExitStack):
        def __init__(self, path="."):
            super().__init__()
            with scandir(path) as entries:
                found = list(entries)
            self.entries = iter(random.sample(found, k=len(found)))

        def __iter__(self):
            return self.entries

        def __next__(self):
            return next(self.entries)

    def shuffled(path="."):
        found = listdir(path)
        return random.sample(found, k=len(found))

    with mock.patch("os.scandir", Shuffled), mock.patch("os.listdir", shuffled):
        yield
