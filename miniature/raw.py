"""The miniature's raw data in one call, and its growth. The formats live in affectnet.py and disfa.py."""

from __future__ import annotations

from pathlib import Path

from miniature.affectnet import add_images, write_affectnet
from miniature.atomic import sole_writer
from miniature.disfa import SUBJECTS, add_subject, write_disfa

__all__ = ["add_images", "add_subject", "write_affectnet", "write_disfa", "write_raw", "write_rendered"]

_FRAME_SHAPE = (4, 3)


def write_raw(folder: Path, seed: int = 0) -> None:
    """Write `folder`/affectnet and `folder`/disfa of the drawn world unless they are there: 10 seconds.

    Each appears under its name only when it is complete, and several processes may call this at once.
    """
    folder = Path(folder)
    with sole_writer(folder):
        for name, write in (("affectnet", write_affectnet), ("disfa", write_disfa)):
            if not (folder / name).exists():
                write(folder / name, seed=seed)


def write_rendered(
    folder: Path,
    seed: int = 0,
    size: int = 64,
    images: int = 2000,
    subjects: int = len(SUBJECTS),
    frames: int = 300,
    processes: int = 2,
) -> None:
    """Write `folder`/affectnet and `folder`/disfa of the rendered world unless they are there.

    `size`: side of the smallest usable picture in pixels; a frame of DISFA is twice as wide, 4:3, as in the
    drawn world. A picture of 64 px takes about 23 ms of a core, one of 512 px about 1 s. Guarantees as
    for `write_raw`. Raises ValueError for a size below 16 or more than 27 subjects.
    """
    if size < 16:
        raise ValueError(f"size must be at least 16 pixels, not {size}")
    if not 1 <= subjects <= 27:
        raise ValueError(f"DISFA has 27 subjects; {subjects} were asked for")
    folder = Path(folder)
    frame = (2 * size, 2 * size * _FRAME_SHAPE[1] // _FRAME_SHAPE[0])
    names = [f"SN{number:03d}" for number in range(1, subjects + 1)]
    with sole_writer(folder):
        if not (folder / "affectnet").exists():
            write_affectnet(
                folder / "affectnet", images, seed, world="rendered", side=size, processes=processes
            )
        if not (folder / "disfa").exists():
            write_disfa(
                folder / "disfa", names, frames, seed, world="rendered", size=frame, processes=processes
            )
