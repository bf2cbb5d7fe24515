"""Sheets of rendered faces to look at: every AU at every intensity, and people at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from facs import ACTION_UNITS
from miniature.expressions import web_intensities
from miniature.rendered.people import draw_person, draw_shot
from miniature.rendered.picture import render

_SEED = 5_000


def tiled(pictures: list[np.ndarray], columns: int) -> Image.Image:
    """Pictures of one size, row by row."""
    rows = -(-len(pictures) // columns)
    height, width = pictures[0].shape[:2]
    sheet = np.zeros((rows * columns, height, width, 3), np.uint8)
    sheet[: len(pictures)] = pictures
    sheet = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return Image.fromarray(sheet.reshape(rows * height, columns * width, 3))


def action_units(person_number: int, side: int = 96) -> Image.Image:
    """One person: a row an AU, intensities 0 to 5 from left to right."""
    rng = np.random.default_rng([_SEED, person_number])
    person, shot = draw_person(rng), draw_shot(rng)
    faces = []
    for position in range(len(ACTION_UNITS)):
        for intensity in range(6):
            vector = np.zeros(len(ACTION_UNITS))
            vector[position] = intensity
            faces.append(render(person, shot, vector, (side, side)))
    return tiled(faces, 6)


def people(count: int = 100, side: int = 64) -> Image.Image:
    """People at random with expressions as on the web."""
    faces = []
    for index in range(count):
        rng = np.random.default_rng([_SEED, 1, index])
        person, shot = draw_person(rng), draw_shot(rng)
        faces.append(render(person, shot, web_intensities(rng, 1)[0], (side, side)))
    return tiled(faces, 20)


def write(folder: Path, persons: int = 6, side: int = 96) -> list[Path]:
    """Write people.png and action_units.png (all `persons` beside each other) to `folder`; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    sheets = {"people": people(), "action_units": _beside([action_units(n, side) for n in range(persons)])}
    paths = []
    for name, sheet in sheets.items():
        paths.append(folder / f"{name}.png")
        sheet.save(paths[-1])
    return paths


def _beside(sheets: list[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (sum(sheet.width for sheet in sheets), sheets[0].height))
    left = 0
    for sheet in sheets:
        whole.paste(sheet, (left, 0))
        left += sheet.width
    return whole
