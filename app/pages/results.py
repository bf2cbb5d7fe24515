"""The page of results: what the experiments measured, and the pictures behind each number."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
import polars as pl

import facs
from app import markup, measured
from app.measured import Point
from app.pages.piece import header, picked, piece
from app.site import Site
from evaluation.figures import COLOURS
from evaluation.tables import DEFINITIONS

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 64, 620, 20, 346
TO_VIEW = "() => document.querySelector('#pairs')?.scrollIntoView({behavior: 'smooth', block: 'nearest'})"


def build(site: Site, page: gr.Blocks) -> None:
    """The components of `page`, and what happens between them."""
    header(site, "results")
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320):
            with gr.Row():
                kind = gr.Radio([], label="Part of the protocol", elem_id="kind", min_width=200)
                judge = gr.Radio([], label="Judge", elem_id="judge", min_width=200)
            with gr.Tabs():
                with gr.Tab("Table"):
                    table = piece("", elem_id="table")
                with gr.Tab("Leakage"):
                    experiment = gr.Dropdown([], label="Experiment", elem_id="leakage-of")
                    matrix = piece("", elem_id="leakage")
                with gr.Tab("Fronts"):
                    front = piece("", elem_id="front")
                    guided = piece("", elem_id="guidance-front")
        with gr.Column(scale=5, min_width=320):
            shown = piece(markup.render("pairs", pairs=[], title=""), elem_id="pairs")

    def results() -> pl.DataFrame | None:
        return site.store.read("results") if site.store.version("results") is not None else None

    def shown_of(part: str | None, by: str | None) -> tuple[str, str, str]:
        """The table and both fronts."""
        found = results()
        if found is None or part is None or by is None:
            return (
                _empty("No results yet: fineface run measures the experiments."),
                _empty("No results yet."),
                "",
            )
        found = measured.by(found, by)
        rows = measured.table(found, part)
        names = [cell.experiment for cell in next(iter(rows.values()))] if rows else []
        return (
            markup.render("measures", rows=rows, experiments=names, definitions=DEFINITIONS),
            _chart(measured.front(found, part), f"Every experiment on the {part} samples", part),
            _chart(
                measured.guidance_front(site.store), "Guidance scales tried on the validation prompts", part
            ),
        )

    def leaked(name: str | None, by: str | None) -> str:
        scores = measured.scores_of(site.store, name, by) if name else None
        if scores is None:
            return _empty("No experiment is measured yet.")
        return markup.render(
            "leakage", rows=_cells(measured.leakage(scores)), aus=facs.ACTION_UNITS, experiment=name
        )

    def pick(by: str | None, event: gr.EventData) -> str:
        at = picked(event)
        name, asked, read = at["experiment"], at.get("au"), at.get("read")
        scores = measured.scores_of(site.store, name, by)
        pairs = [] if scores is None else measured.pictures(scores, at["kind"], asked, read)
        of = f"{at['kind']} samples" if asked is None else f"AU{asked} asked, AU{read} measured"
        return markup.render("pairs", pairs=pairs, title=f"{name}: {of}")

    def opened() -> list[Any]:
        found, names = results(), measured.experiments(site.store)
        parts, judges = ([], []) if found is None else (measured.kinds(found), measured.judges(found))
        part, by = (next(iter(some), None) for some in (parts, judges))
        name = next((one for one in site.studio.experiments() if one in names), next(iter(names), None))
        lists = [gr.Radio(parts, value=part), gr.Radio(judges, value=by), gr.Dropdown(names, value=name)]
        return [*lists, *shown_of(part, by), leaked(name, by)]

    page.load(
        opened,
        None,
        [kind, judge, experiment, table, front, guided, matrix],
    )
    for chosen in (kind, judge):
        chosen.input(shown_of, [kind, judge], [table, front, guided])
    for named in (judge, experiment):
        named.input(leaked, [experiment, judge], matrix)
    for clicked in (table, matrix, front, guided):
        clicked.click(pick, judge, shown).then(None, None, None, js=TO_VIEW)


def _empty(text: str) -> str:
    return f'<p class="empty">{text}</p>'


def _cells(matrix: np.ndarray) -> list[dict[str, Any]]:
    """The rows of a leakage matrix with how deep each cell is coloured, 0-1: blue rises, red falls."""
    rows = []
    for i, au in enumerate(facs.ACTION_UNITS):
        cells = []
        for j, other in enumerate(facs.ACTION_UNITS):
            value = None if np.isnan(matrix[i, j]) else float(matrix[i, j])
            cells.append(
                {
                    "au": other,
                    "value": value,
                    "text": ""
                    if value is None
                    else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−"),
                    "depth": 0 if value is None else round(min(1.0, abs(value)), 2),
                    "hue": "var(--strong)" if (value or 0) >= 0 else "var(--dropped)",
                }
            )
        rows.append({"au": au, "cells": cells})
    return rows


def _chart(points: list[Point], title: str, kind: str) -> str:
    if not points:
        return ""
    xs, ys = [one.likeness for one in points], [one.error for one in points]
    x_ticks, y_ticks = _ticks(xs), _ticks(ys)

    def x(value: float) -> float:
        return round(LEFT + (value - x_ticks[0]) / (x_ticks[-1] - x_ticks[0]) * (RIGHT - LEFT), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (value - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (BOTTOM - TOP), 1)

    names = list(dict.fromkeys(one.experiment for one in points))
    marks = [
        {
            **vars(one),
            "x": x(one.likeness),
            "y": y(one.error),
            "colour": COLOURS[names.index(one.experiment) % len(COLOURS)],
            "label": one.experiment if one.guidance is None or one.chosen else "",
            "anchor": "end" if x(one.likeness) > (LEFT + RIGHT) / 2 else "",
            "dx": -8 if x(one.likeness) > (LEFT + RIGHT) / 2 else 8,
        }
        for one in points
    ]
    best = sorted((one for one in points if one.front), key=lambda one: one.likeness)
    return markup.render(
        "front",
        points=marks,
        path=" ".join(f"{x(one.likeness)},{y(one.error)}" for one in best) if len(best) > 1 else "",
        ticks={
            "x": [{"at": x(tick), "text": f"{tick:.3g}"} for tick in x_ticks],
            "y": [{"at": y(tick), "text": f"{tick:.3g}"} for tick in y_ticks],
        },
        title=title,
        kind=kind,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        top=TOP,
        bottom=BOTTOM,
    )


def _ticks(values: list[float]) -> list[float]:
    """Round numbers around all of `values`, at least two."""
    low, high = min(values), max(values)
    span = max(high - low, abs(high) * 0.1, 1e-6)
    step = 10 ** np.floor(np.log10(span / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = np.floor((low - span * 0.05) / step), np.ceil((high + span * 0.05) / step)
    return [float(round(k * step, 10)) for k in range(int(first), int(last) + 1)]
