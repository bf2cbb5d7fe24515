"""Generated pictures side by side, labelled, as PNG bytes. Charts live in `figures`."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import polars as pl
from PIL import Image, ImageDraw, ImageFont

import facs

Picture = Image.Image | Path | str | None
"""An image, where it is stored, or None for an empty place."""

_INK, _FAINT, _GROUND = "#1f2933", "#52606d", "#ffffff"
_GAP = 3


def au_grid(
    generated: pl.DataFrame,
    locate: Callable[[str], Path],
    prompts: Sequence[int] = (0, 1, 2, 3, 4),
    intensity: float = 5.0,
    cell: int = 84,
) -> bytes:
    """Each prompt's twelve AUs at `intensity`, each below its no-AU partner of the same noise.

    `generated` holds the protocol columns and `file` of individual and no-AU samples, `locate` turns `file`
    into a path. Pictures that are missing leave an empty place.
    """
    individual = generated.filter(pl.max_horizontal(facs.COLUMNS) == intensity, kind="individual")
    paths, partners, texts = _index(generated, individual, locate)
    cells, labels = [], []
    for index in prompts:
        keys = [(index, str(au)) for au in facs.ACTION_UNITS]
        cells += [[paths.get(partners.get(key)) for key in keys], [paths.get(key) for key in keys]]
        labels += [f"no AU: {texts.get(index, '')}", f"the same, AU = {intensity:g}"]
    return image_grid(cells, labels, [au_label(au) for au in facs.ACTION_UNITS], cell=cell, group=2)


def intensity_sweeps(
    generated: pl.DataFrame, locate: Callable[[str], Path], prompt_index: int = 0, cell: int = 84
) -> bytes:
    """One prompt: an AU a row, intensity 0 (the no-AU partner) to 5 from left to right, all of one noise."""
    part = generated.filter(kind="individual", prompt_index=prompt_index)
    cells = []
    for au, column in zip(facs.ACTION_UNITS, facs.COLUMNS, strict=True):
        sweep = part.filter(pl.col(column) > 0)
        paths, partners, _ = _index(generated, sweep, locate)
        files = {row[column]: row["file"] for row in sweep.iter_rows(named=True)}
        shown = [paths.get(partners.get((prompt_index, str(au))))]
        cells.append(shown + [locate(files[i]) if i in files else None for i in (1.0, 2.0, 3.0, 4.0, 5.0)])
    rows = [f"AU{au} {facs.NAMES[au]}" for au in facs.ACTION_UNITS]
    return image_grid(cells, rows, [str(i) for i in range(6)], cell=cell)


def image_grid(
    cells: Sequence[Sequence[Picture]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    cell: int = 84,
    group: int = 1,
) -> bytes:
    """Pictures in rows, each shrunk or enlarged to `cell` pixels, labels left and above.

    A wider gap follows every `group` rows. Raises ValueError if labels and cells do not fit.
    """
    if len(cells) != len(row_labels) or any(len(row) != len(column_labels) for row in cells):
        raise ValueError("as many rows and columns as labels, please")
    font = _font(11)
    header = 8 + 14 * max((label.count("\n") + 1 for label in column_labels), default=0)
    left = 140
    width = left + len(column_labels) * (cell + _GAP)
    tops = [
        header + row * (cell + _GAP) + row // group * (10 if group > 1 else 0) for row in range(len(cells))
    ]
    sheet = Image.new("RGB", (width, (tops[-1] if tops else header) + cell + _GAP), _GROUND)
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(column_labels):
        place = (left + column * (cell + _GAP) + cell / 2, header - 5)
        draw.multiline_text(place, label, _FAINT, font, anchor="md", align="center", spacing=2)
    for top, label, row in zip(tops, row_labels, cells, strict=True):
        lines = textwrap.wrap(label, 19)[: max(1, cell // 14)]
        draw.multiline_text(
            (left - 8, top + cell / 2), "\n".join(lines), _INK, font, anchor="rm", align="right"
        )
        for column, picture in enumerate(row):
            sheet.paste(_thumbnail(picture, cell), (left + column * (cell + _GAP), top))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _index(generated: pl.DataFrame, samples: pl.DataFrame, locate: Callable[[str], Path]):
    """Pictures by (prompt, AU) and by sample id; the partner of each (prompt, AU); the prompts' texts."""
    paths, partners, texts = {}, {}, {}
    for row in samples.iter_rows(named=True):
        key = row["prompt_index"], row["prompted"]
        paths[key], partners[key], texts[key[0]] = locate(row["file"]), row["partner_id"], row["prompt"]
    neutral = generated.filter(kind="no_au").select("sample_id", "file")
    paths |= {sample_id: locate(file) for sample_id, file in neutral.iter_rows() if file is not None}
    return paths, partners, texts


def _thumbnail(picture: Picture, cell: int) -> Image.Image:
    if not isinstance(picture, Image.Image):
        if picture is None or not Path(picture).is_file():
            empty = Image.new("RGB", (cell, cell), "#eceff2")
            ImageDraw.Draw(empty).text((cell / 2, cell / 2), "–", "#9aa3ad", _font(11), anchor="mm")
            return empty
        with Image.open(picture) as file:
            picture = file.convert("RGB")
    smaller = picture.width > cell
    return picture.convert("RGB").resize(
        (cell, cell), Image.Resampling.LANCZOS if smaller else Image.Resampling.BICUBIC
    )


def au_label(au: int) -> str:
    """Its number, and its name in short lines."""
    return f"AU{au}\n" + "\n".join(textwrap.wrap(facs.NAMES[au], 11))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font that matplotlib ships, so that labels look the same everywhere."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)
