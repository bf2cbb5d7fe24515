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


def build(site: Site) -> None:
    """The components, and what happens between them."""
    header(site, "results")
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=320), gr.Tabs():
            with gr.Tab("Table"):
                kind = gr.Radio([], label="Part of the protocol", elem_id="kind")
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

    def of_kind(chosen: str | None) -> str:
        found = results()
        if found is None or chosen is None:
            return _empty("No results yet: fineface run measures the experiments.")
        rows = measured.table(found, chosen)
        names = [cell.experiment for cell in next(iter(rows.values()))] if rows else []
        return markup.render("measures", rows=rows, experiments=names, definitions=DEFINITIONS)

    def leaked(name: str | None) -> str:
        if name is None or site.store.version(f"au_scores/{name}") is None:
            return _empty("No experiment is measured yet.")
        found = measured.leakage(site.store.read(f"au_scores/{name}"))
        return markup.render("leakage", rows=_cells(found), aus=facs.ACTION_UNITS, experiment=name)

    def fronts(chosen: str | None) -> tuple[str, str]:
        found = results()
        if found is None or chosen is None:
            return _empty("No results yet."), ""
        title = f"Every experiment on the {chosen} samples"
        tried = measured.guidance_front(site.store)
        return (
            _chart(measured.front(found, chosen), title, chosen, "Neither was measured."),
            _chart(tried, "Guidance scales tried on the validation prompts", chosen, ""),
        )

    def pick(event: gr.EventData) -> str:
        at = picked(event)
        pairs = measured.pictures(site.store, at["experiment"], at["kind"], at.get("au"), at.get("read"))
        title = f"{at['experiment']}, {at['kind']} samples"
        if at.get("au") is not None:
            title = f"{at['experiment']}: AU{at['au']} asked, AU{at['read']} measured"
        return markup.render("pairs", pairs=pairs, title=title)

    def opened() -> list[Any]:
        found, names = results(), measured.experiments(site.store)
        parts = [] if found is None else measured.kinds(found)
        first = parts[0] if parts else None
        name = next((one for one in site.studio.experiments() if one in names), names[0] if names else None)
        return [
            gr.Radio(parts, value=first),
            gr.Dropdown(names, value=name),
            of_kind(first),
            leaked(name),
            *fronts(first),
        ]

    gr.on(
        [gr.context.Context.root_block.load], opened, None, [kind, experiment, table, matrix, front, guided]
    )
    kind.input(of_kind, kind, table).then(fronts, kind, [front, guided])
    experiment.input(leaked, experiment, matrix)
    for one in (table, matrix, front, guided):
        one.click(pick, None, shown).then(None, None, None, js=TO_VIEW)


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


def _chart(points: list[Point], title: str, kind: str, empty: str) -> str:
    if not points:
        return _empty(empty) if empty else ""
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
        empty=empty,
    )


def _ticks(values: list[float]) -> list[float]:
    """Round numbers around all of `values`, at least two."""
    low, high = min(values), max(values)
    span = max(high - low, abs(high) * 0.1, 1e-6)
    step = 10 ** np.floor(np.log10(span / 2))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 5)
    first, last = np.floor((low - span * 0.05) / step), np.ceil((high + span * 0.05) / step)
    return [float(round(k * step, 10)) for k in range(int(first), int(last) + 1)]
