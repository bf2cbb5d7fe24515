"""The page of editors: their measures, their fronts, and the same people by all of them, in one HTML file
that loads nothing. What is measured is `edits`', which pictures are shown the caller's.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import polars as pl

from evaluation import edits, figures
from store import file_system

TEMPLATE = "editing.html"


@dataclass(frozen=True)
class Page:
    """What the page says."""

    title: str
    notice: str
    subtitle: str
    """A line below the title: profile, date, run."""
    results: pl.DataFrame
    """`edits.results`."""
    people: Mapping[str, bytes]
    """PNGs by what they show: one person by every editor."""


def write(path: str | os.PathLike, page: Page) -> Path:
    """Write `page` to `path` in one step, and return the path."""
    return file_system.write(Path(path), render(page))


def render(page: Page) -> str:
    """The page itself. Every text in it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    judges = page.results.filter(metric="au_mse_all")["judge"].unique(maintain_order=True).to_list()
    measured = edits.likenesses(page.results)
    fronts = [
        (judge, _encoded(figures.edit_fronts(edits.fronts(page.results, judge, name), name)))
        for name in measured
        for judge in judges
    ]
    return environment.get_template(TEMPLATE).render(
        page=page,
        tables={kind: edits.table(page.results, kind) for kind in edits.KINDS},
        fronts=fronts,
        knows_faces="identity_distance" in measured,
        people={title: _encoded(png) for title, png in page.people.items()},
    )


def _encoded(png: bytes) -> str:
    return base64.b64encode(png).decode("ascii")
