"""Generated pictures side by side, labelled, as PNG bytes. Charts live in `figures`."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

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


def beyond_the_scale(generated: pl.DataFrame, locate: Callable[[str], Path], cell: int = 84) -> bytes:
    """One AU a column, of one noise: from above below 0, not asked for, at 5, and above 5.

    `generated` as in `au_grid`, with samples of kind "beyond".
    """
    beyond = generated.filter(kind="beyond")
    index = pl.col("prompt_index").is_in(beyond["prompt_index"].unique().to_list())
    at_most = generated.filter(index, pl.max_horizontal(facs.COLUMNS) == facs.MAXIMUM, kind="individual")
    asked = pl.concat([beyond, at_most]).with_columns(value=pl.sum_horizontal(facs.COLUMNS))
    partners = dict(generated.filter(kind="no_au").select("sample_id", "file").iter_rows())
    files = {(au, value): file for au, value, file in asked.select("prompted", "value", "file").iter_rows()}
    files |= {(au, 0.0): partners.get(of) for au, of in at_most.select("prompted", "partner_id").iter_rows()}
    values = sorted({value for _, value in files})
    named = [[files.get((str(au), value)) for au in facs.ACTION_UNITS] for value in values]
    cells = [[None if file is None else locate(file) for file in row] for row in named]
    rows = [f"{value:g}" if value else "no AU" for value in values]
    return image_grid(cells, rows, [au_label(au) for au in facs.ACTION_UNITS], cell=cell)


def methods(
    generated: Mapping[str, pl.DataFrame],
    locate: Callable[[str], Path],
    sample_ids: Sequence[str],
    cell: int = 84,
) -> bytes:
    """The same samples by every experiment: a row each, below the first one's no-AU partners; a column a
    sample. As in the paper's figures, prompt and noise of a column are one, only the method differs.

    `generated` holds a frame an experiment, as `au_grid` takes it. What an experiment lacks leaves an empty
    place. Raises ValueError for a sample that none of them has.
    """
    rows = {name: {row["sample_id"]: row for row in frame.to_dicts()} for name, frame in generated.items()}
    first = next(iter(rows.values()))
    labels, partners = [], []
    for sample_id in sample_ids:
        asked = next((found[sample_id] for found in rows.values() if sample_id in found), None)
        if asked is None:
            raise ValueError(f"no experiment has a picture of sample {sample_id}")
        labels.append(_request_label(asked))
        partners.append(_path(first.get(asked["partner_id"]), locate))
    cells = [[_path(found.get(sample_id), locate) for sample_id in sample_ids] for found in rows.values()]
    return image_grid([partners, *cells], [f"no AU, {next(iter(rows))}", *rows], labels, cell=cell)


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


def _path(row: Mapping[str, Any] | None, locate: Callable[[str], Path]) -> Path | None:
    return None if row is None or row["file"] is None else locate(row["file"])


def _request_label(row: Mapping[str, Any]) -> str:
    """What is asked for: one AU by its name, several by their numbers and intensities."""
    asked = {au: row[name] for au, name in zip(facs.ACTION_UNITS, facs.COLUMNS, strict=True) if row[name]}
    if len(asked) == 1:
        (au,) = asked
        return au_label(au)
    return "\n".join(f"AU{au} = {value:g}" for au, value in asked.items())


def au_label(au: int) -> str:
    """Its number, and its name in short lines."""
    return f"AU{au}\n" + "\n".join(textwrap.wrap(facs.NAMES[au], 11))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font that matplotlib ships, so that labels look the same everywhere."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)
