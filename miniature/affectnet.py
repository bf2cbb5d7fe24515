"""Writes made-up photographs and their lists in the layout of the AffectNet release of 2017. No videos.

Intensities follow `web_intensities`; AffectNet itself lists none, so they go to truth.parquet, which only
tests and audits read. In the drawn world every picture shows one face in its middle; in the rendered world a
few are off centre, show a second person, or nobody (expression 10, non-face).
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from facs import ACTION_UNITS, COLUMNS
from miniature.atomic import whole_folder, write_whole
from miniature.expressions import web_intensities
from miniature.worlds import Size, World, named

IMAGES_FOLDER = "Manually_Annotated_Images"
LISTS_FOLDER = "Manually_Annotated_file_lists"
HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
)

TOO_SMALL_SHARE = 0.12
CARTOON_SHARE = 0.10
VALIDATION_SHARE = 0.05
SUBFOLDERS = 12
# What the wild does to files, in this order, to as many seeded picks.
DEFECTS = ("missing", "missing", "missing", "truncated", "truncated", "empty")

_EXTENSIONS = {".jpg": 0.87, ".JPG": 0.03, ".png": 0.04, ".bmp": 0.03, ".tif": 0.03}
_PIL_FORMATS = {".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".tif": "TIFF"}
_FIRST_IMAGES, _MORE_IMAGES = 0, 1

# The units an emotion is made of (EMFACS), AffectNet's number for it, and its typical valence and arousal.
_EMOTIONS = (
    ("happiness", 1, (6, 12), 0.70, 0.25),
    ("sadness", 2, (1, 4, 15), -0.65, -0.25),
    ("surprise", 3, (1, 2, 5, 26), 0.15, 0.70),
    ("fear", 4, (1, 4, 5, 20), -0.45, 0.75),
    ("disgust", 5, (9, 4), -0.65, 0.35),
    ("anger", 6, (4, 5, 17), -0.55, 0.60),
    ("contempt", 7, (15, 17), -0.50, 0.15),
)
_NEUTRAL, _NONE, _UNCERTAIN, _NON_FACE = 0, 8, 9, 10
_NOT_APPLICABLE = -2.0


@dataclass(frozen=True)
class _Sample:
    """One picture, its line in a list and its line in the truth."""

    path: str
    """Relative to IMAGES_FOLDER."""
    content: bytes
    line: str
    truth: dict


def write_affectnet(
    folder: Path,
    images: int = 2000,
    seed: int = 0,
    *,
    world: str = "drawn",
    side: int = 64,
    processes: int = 1,
) -> None:
    """Write `images` pictures with their lists and truth.parquet to `folder`.

    `world`: whose faces. `side`: the smallest usable one, pixels. The same arguments give the same bytes,
    whatever `processes`. About 12 % are too small to use (short side half of `side` or more, the rest one to
    two sides), about 10 % are cartoons; a few files are missing, cut off or empty. `validation.csv` has no
    header, as in the release.
    Raises FileExistsError if `folder` exists.
    """
    jobs = [((seed, _FIRST_IMAGES, i), world, side) for i in range(images)]
    samples = _samples(jobs, processes)
    rng = np.random.default_rng([seed, _FIRST_IMAGES, images])
    order = rng.permutation(images)
    defects = dict(zip(order.tolist(), DEFECTS, strict=False)) if images > 10 * len(DEFECTS) else {}
    validation = set(order[len(defects) :][: round(VALIDATION_SHARE * images)].tolist())
    with whole_folder(Path(folder)) as partial:
        lists = {"training": [HEADER], "validation": []}
        for index, sample in enumerate(samples):
            lists["validation" if index in validation else "training"].append(sample.line)
            _write_picture(partial, sample, defects.get(index, ""))
        (partial / LISTS_FOLDER).mkdir()
        for name, lines in lists.items():
            (partial / LISTS_FOLDER / f"{name}.csv").write_text("".join(line + "\n" for line in lines))
        truth = [sample.truth | {"defect": defects.get(i, "")} for i, sample in enumerate(samples)]
        _truth_table(truth).write_parquet(partial / "truth.parquet")


def add_images(
    folder: Path, images: int = 20, seed: int = 1, *, world: str = "drawn", side: int = 64
) -> list[Path]:
    """Let new data arrive: add `images` sound pictures to an existing `folder` and to its training list.

    Pictures come first and the list last, each file replaced as a whole: a kill leaves no listed picture
    unwritten, and the same call again completes it. Calling it twice adds nothing twice.
    Returns the paths of the pictures.
    """
    folder = Path(folder)
    samples = _samples([((seed, _MORE_IMAGES, i), world, side) for i in range(images)], processes=1)
    for sample in samples:
        _write_picture(folder, sample)
    truth = pl.read_parquet(folder / "truth.parquet")
    grown = pl.concat([truth, _truth_table([sample.truth | {"defect": ""} for sample in samples])])
    buffer = io.BytesIO()
    grown.unique("path", keep="first", maintain_order=True).write_parquet(buffer)
    write_whole(folder / "truth.parquet", buffer.getvalue())
    training = folder / LISTS_FOLDER / "training.csv"
    lines = training.read_text().splitlines()
    listed = set(lines)
    lines += [sample.line for sample in samples if sample.line not in listed]
    write_whole(training, "".join(line + "\n" for line in lines).encode())
    return [folder / IMAGES_FOLDER / sample.path for sample in samples]


def emotion(intensities: np.ndarray, rng: np.random.Generator) -> tuple[int, float, float]:
    """AffectNet's labels for 12 intensities: expression (0-9), valence and arousal.

    Valence and arousal lie in [-1, 1], or are -2 where not applicable. `rng` adds a coder's noise.
    """
    if intensities.max() < 1.0:
        return _NEUTRAL, *_near(0.0, 0.0, rng)
    strength = dict(zip(ACTION_UNITS, intensities.tolist(), strict=True))
    scores = [np.mean([strength[unit] for unit in units]) for _, _, units, _, _ in _EMOTIONS]
    best = int(np.argmax(scores))
    if scores[best] < 0.8:
        return _UNCERTAIN, _NOT_APPLICABLE, _NOT_APPLICABLE
    _, expression, _, valence, arousal = _EMOTIONS[best]
    degree = min(1.0, 0.4 + 0.2 * scores[best])
    if scores[best] < 1.3:
        expression = _NONE
    return expression, *_near(valence * degree, arousal * degree, rng)


def _near(valence: float, arousal: float, rng: np.random.Generator) -> tuple[float, float]:
    noisy = np.clip([valence, arousal, *rng.normal(0.0, 0.05, 2)], -1.0, 1.0)
    return float(noisy[0]), float(noisy[1])


def _samples(jobs: Sequence[tuple[tuple[int, ...], str, int]], processes: int) -> list[_Sample]:
    if processes == 1:
        return [_sample(job) for job in jobs]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        samples = pool.map(_sample, jobs, chunksize=16)
        pool.close()
        pool.join()  # leaving ends the workers by SIGTERM, which may be ignored where SIGINT is
    return samples


def _sample(job: tuple[tuple[int, ...], str, int]) -> _Sample:
    seed, name, side = job
    rng, world = np.random.default_rng(list(seed)), named(name)
    person, shot = world.draw_person(rng), world.draw_shot(rng)
    intensities = web_intensities(rng, 1)[0]
    style = "cartoon" if rng.random() < CARTOON_SHARE else "photo"
    size = _size(rng, side)
    extension = str(rng.choice(list(_EXTENSIONS), p=list(_EXTENSIONS.values())))
    shown, oddity = world, ""
    if style == "photo":
        oddity = _oddity(world, rng)
        pixels, shot, size = _photograph(world, rng, person, shot, intensities, size, oddity)
    else:
        if world.cartoon is None:  # then the drawn world makes them
            shown = named("drawn")
            person, shot = shown.draw_person(rng), shown.draw_shot(rng)
        assert shown.cartoon is not None
        pixels = shown.cartoon(person, shot, intensities, size)
    content = _encoded(pixels, extension)
    path = f"{rng.integers(1, SUBFOLDERS + 1)}/{hashlib.sha224(content).hexdigest()}{extension}"
    if oddity == "none":
        intensities = np.zeros_like(intensities)
        landmarks, box = "", f"0,0,{size[0]},{size[1]}"
        expression, valence, arousal = _NON_FACE, _NOT_APPLICABLE, _NOT_APPLICABLE
    else:
        points = shown.landmarks(person, shot, intensities, size)
        landmarks = ";".join(f"{value:.2f}" for value in points.ravel())
        box = ",".join(map(str, shown.box(person, shot, intensities, size)))
        expression, valence, arousal = emotion(intensities, rng)
    truth = {
        "path": f"{IMAGES_FOLDER}/{path}",
        **dict(zip(COLUMNS, intensities.tolist(), strict=True)),
        "style": style,
        "caption": shown.caption(person, rng),
        "width": size[0],
        "height": size[1],
    }
    if world.oddities:
        truth["oddity"] = oddity
    return _Sample(path, content, f"{path},{box},{landmarks},{expression},{valence:.6f},{arousal:.6f}", truth)


def _oddity(world: World, rng: np.random.Generator) -> str:
    """ "off_centre", "several", "none", or "" for a picture of one face in its middle."""
    if world.oddities is None:
        return ""
    kinds, shares = list(world.oddities.shares), list(world.oddities.shares.values())
    return str(rng.choice([*kinds, ""], p=[*shares, 1 - sum(shares)]))


def _photograph(
    world: World,
    rng: np.random.Generator,
    person: Any,
    shot: Any,
    intensities: np.ndarray,
    size: Size,
    oddity: str,
) -> tuple[np.ndarray, Any, Size]:
    """Pixels, and the shot and size in which the listed face lies in them."""
    odd, short = world.oddities, min(size)
    if odd is None or not oddity:
        return world.photo(person, shot, intensities, size), shot, size
    if oddity == "none":
        return odd.empty(person, size), shot, size
    if oddity == "off_centre":
        wide = (round(1.6 * short), short)
        aside = odd.moved(shot, float(rng.choice([-1, 1]) * rng.uniform(0.25, 0.33)))
        return world.photo(person, aside, intensities, wide), aside, wide
    other, other_shot = odd.beside(world.draw_person(rng), person), world.draw_shot(rng)
    beside = world.photo(other, other_shot, web_intensities(rng, 1)[0], (short, short))
    pixels = np.concatenate([world.photo(person, shot, intensities, (short, short)), beside], axis=1)
    return pixels, odd.moved(shot, -0.5), (2 * short, short)


def _size(rng: np.random.Generator, side: int = 64) -> tuple[int, int]:
    """(width, height) in pixels: half of the pictures are square, the rest up to twice as long as wide."""
    if rng.random() < TOO_SMALL_SHARE:
        short, longest = int(rng.integers(side // 2, side - side // 16 + 1)), 2 * side
    else:
        short, longest = int(rng.integers(side, 2 * side + 1)), 2 * side
    if rng.random() < 0.5:
        return short, short
    long = int(rng.integers(short, min(2 * short, longest) + 1))
    return (short, long) if rng.random() < 0.5 else (long, short)


def _encoded(pixels: np.ndarray, extension: str) -> bytes:
    buffer = io.BytesIO()
    file_format = _PIL_FORMATS[extension.lower()]
    options = {"quality": 95, "subsampling": "4:4:4"} if file_format == "JPEG" else {}
    Image.fromarray(pixels).save(buffer, format=file_format, **options)
    return buffer.getvalue()


def _write_picture(folder: Path, sample: _Sample, defect: str = "") -> None:
    path = folder / IMAGES_FOLDER / sample.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if defect == "missing":
        return
    kept = {"truncated": len(sample.content) // 2, "empty": 0}.get(defect, len(sample.content))
    write_whole(path, sample.content[:kept])


def _truth_table(rows: list[dict]) -> pl.DataFrame:
    columns: dict[str, type[pl.DataType]] = {"path": pl.String}
    columns |= dict.fromkeys(COLUMNS, pl.Float32)
    columns |= {
        "style": pl.String,
        "caption": pl.String,
        "width": pl.Int32,
        "height": pl.Int32,
        "defect": pl.String,
    }
    if rows and "oddity" in rows[0]:
        columns["oddity"] = pl.String
    return pl.DataFrame(rows, schema=columns, orient="row")
