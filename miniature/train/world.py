"""Training pictures for the tiny models, of either world: made in bulk, seeded, kept in the work folder."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from miniature.expressions import web_intensities

SIZE = 64
"""Side of every picture that the tiny models see, pixels."""
_BLOCK = 500
"""Pictures a worker renders at a time; a block's content depends on its seed alone."""


Painter = Callable[[np.random.Generator, np.ndarray, str, int], tuple[np.ndarray, str]]
"""From a generator, twelve intensities, "photo" or "cartoon" and a side in pixels to picture and caption."""


@dataclass(frozen=True)
class Pictures:
    """`images` uint8 [N, 64, 64, 3], `intensities` float32 [N, 12] in 0-5, captions, which are `cartoons`."""

    images: np.ndarray
    intensities: np.ndarray
    captions: list[str]
    cartoons: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def pictures(
    work: Path,
    name: str,
    count: int,
    seed: int,
    *,
    cartoons: float = 0.0,
    photographed: float = 0.0,
    processes: int = 2,
    world: str = "drawn",
) -> Pictures:
    """Make `count` faces, or read them if `work` already holds them.

    `world` is one of WORLDS; `cartoons` is the share drawn flat (captioned "a cartoon of ...").
    `photographed` is the share that is rendered larger and comes down to 64 px through JPEG and resampling,
    as pictures of a data set do.
    """
    if world not in WORLDS:
        raise ValueError(f"unknown world {world!r}; there are {', '.join(WORLDS)}")
    folder = work / "pictures" / f"{name}-{count}-{seed}-{cartoons}-{photographed}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [
            (world, seed, block, min(_BLOCK, count - block * _BLOCK), cartoons, photographed)
            for block in range(-(-count // _BLOCK))
        ]
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            blocks = pool.map(_render_block, jobs, chunksize=1)
            pool.close()
            pool.join()  # leaving ends the workers by SIGTERM, which may be ignored where SIGINT is
        np.save(folder / "images.npy", np.concatenate([block[0] for block in blocks]))
        np.save(folder / "intensities.npy", np.concatenate([block[1] for block in blocks]))
        np.save(folder / "cartoons.npy", np.concatenate([block[3] for block in blocks]))
        (folder / "captions.json").write_text(json.dumps([text for block in blocks for text in block[2]]))
        (folder / "complete").touch()
    return Pictures(
        np.load(folder / "images.npy", mmap_mode="r"),
        np.load(folder / "intensities.npy"),
        json.loads((folder / "captions.json").read_text()),
        np.load(folder / "cartoons.npy"),
    )


def joined(first: Pictures, second: Pictures) -> Pictures:
    """The pictures of both, the first ones first."""
    return Pictures(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.intensities, second.intensities]),
        first.captions + second.captions,
        np.concatenate([first.cartoons, second.cartoons]),
    )


def faceless(count: int, seed: int, faces: np.ndarray) -> np.ndarray:
    """Faceless pictures, uint8 [count, 64, 64, 3]: scrambled faces, gradients and noise."""
    rng = np.random.default_rng([seed, 99])
    out = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for row in range(count):
        kind = rng.integers(3)
        if kind == 0:
            face = faces[rng.integers(len(faces))]
            tiles = face.reshape(4, 16, 4, 16, 3).swapaxes(1, 2).reshape(16, 16, 16, 3)[rng.permutation(16)]
            out[row] = tiles.reshape(4, 4, 16, 16, 3).swapaxes(1, 2).reshape(SIZE, SIZE, 3)
        elif kind == 1:
            corners = Image.fromarray(rng.integers(0, 256, (2, 2, 3), dtype=np.uint8))
            out[row] = np.asarray(corners.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        else:
            cells = int(rng.choice([4, 8, 16, 64]))
            noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
            out[row] = np.asarray(noise.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return out


def as_tensor(images: np.ndarray):
    """uint8 [N, height, width, 3] → float32 [N, 3, height, width] in -1 to 1."""
    import torch

    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def drawn(rng: np.random.Generator, intensities: np.ndarray, style: str, side: int) -> tuple[np.ndarray, str]:
    """A person of the drawn world, new in each picture."""
    from miniature.faces import caption, draw_identity, draw_shot, render

    identity, shot = draw_identity(rng), draw_shot(rng)
    return render(identity, shot, intensities, (side, side), style), caption(identity, rng)


def rendered(
    rng: np.random.Generator, intensities: np.ndarray, style: str, side: int
) -> tuple[np.ndarray, str]:
    """A person of the rendered world, new in each picture; its cartoons are the drawn world's."""
    if style == "cartoon":
        return drawn(rng, intensities, style, side)
    from miniature.rendered.people import caption, draw_person, draw_shot
    from miniature.rendered.picture import render

    person, shot = draw_person(rng), draw_shot(rng)
    return render(person, shot, intensities, (side, side)), caption(person, rng)


WORLDS: dict[str, Painter] = {"drawn": drawn, "rendered": rendered}


def _render_block(job: tuple[str, int, int, int, float, float]):
    world, seed, block, count, cartoon_share, photographed_share = job
    rng = np.random.default_rng([seed, block])
    intensities = web_intensities(rng, count)
    cartoons = rng.random(count) < cartoon_share
    photographed = rng.random(count) < photographed_share
    images, captions = np.empty((count, SIZE, SIZE, 3), np.uint8), []
    for row in range(count):
        style = "cartoon" if cartoons[row] else "photo"
        side = int(rng.integers(SIZE, 129)) if photographed[row] else SIZE
        pixels, text = WORLDS[world](rng, intensities[row], style, side)
        images[row] = _photographed(pixels, int(rng.integers(85, 98))) if photographed[row] else pixels
        captions.append(_as_cartoon(text) if cartoons[row] else text)
    return images, intensities, captions, cartoons


def _photographed(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(buffer).convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def _as_cartoon(text: str) -> str:
    for opening in ("a photo of ", "a close-up of "):
        text = text.removeprefix(opening)
    return f"a cartoon of {text}"
