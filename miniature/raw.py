"""The miniature's raw data in one call, and its growth. The formats live in affectnet.py and disfa.py."""

from __future__ import annotations

from pathlib import Path

from miniature.affectnet import add_images, write_affectnet
from miniature.atomic import sole_writer
from miniature.disfa import add_subject, write_disfa

__all__ = ["add_images", "add_subject", "write_affectnet", "write_disfa", "write_raw"]


def write_raw(folder: Path, seed: int = 0) -> None:
    """Write `folder`/affectnet and `folder`/disfa unless they are there; about 10 seconds on one core.

    Each appears under its name only when it is complete, and several processes may call this at once.
    """
    folder = Path(folder)
    with sole_writer(folder):
        for name, write in (("affectnet", write_affectnet), ("disfa", write_disfa)):
            if not (folder / name).exists():
                write(folder / name, seed=seed)
