"""The page of the data set: what each stage let through, how labels are spread, what moved between
versions.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import gradio as gr
import polars as pl

from app import markup, versions
from app.pages.piece import header, piece
from app.site import Site

ALL = "all sources"


def build(site: Site, page: gr.Blocks) -> None:
    """The components of `page`, and what happens between them."""
    header(site, "data")
    with gr.Tabs():
        with gr.Tab("Funnel"):
            funnel = piece("", elem_id="funnel")
        with gr.Tab("Labels"):
            source = gr.Radio([ALL], value=ALL, show_label=False, elem_id="label-source")
            spreads = piece("", elem_id="spreads")
        with gr.Tab("Drift"):
            with gr.Row():
                before = gr.Dropdown([], label="From version", elem_id="before", min_width=200)
                after = gr.Dropdown([], label="to version", elem_id="after", min_width=200)
            change = piece("", elem_id="change")

    def spread(chosen: str) -> str:
        if site.store.version(versions.TABLE) is None:
            return markup.render("spreads", spreads=[])
        wanted = None if chosen == ALL else chosen
        labels = versions.labels(site.store, source=wanted)
        return markup.render(
            "spreads",
            spreads=[_bins(one) for one in versions.spreads(labels)],
            samples=labels.height,
            source=wanted,
        )

    def drift(first: int | None, second: int | None) -> str:
        if first is None or second is None or first == second:
            empty = "There is one version of the training set only: nothing has moved yet."
            return markup.render("change", change=None, empty=empty)
        return markup.render("change", change=versions.change(site.store, first, second), empty="")

    def opened() -> list[Any]:
        known = versions.versions(site.store)
        choices = [(one.told, one.number) for one in known]
        latest = known[0].number if known else None
        former = known[1].number if len(known) > 1 else latest
        sources = [] if latest is None else versions.labels(site.store)["source"].unique().sort().to_list()
        return [
            markup.render("funnel", sources=_sources(versions.counts(site.store)), reasons=_rows(site)),
            gr.Radio([ALL, *sources], value=ALL),
            spread(ALL),
            gr.Dropdown(choices, value=former),
            gr.Dropdown(choices, value=latest),
            drift(former, latest),
        ]

    page.load(opened, None, [funnel, source, spreads, before, after, change])
    source.input(spread, source, spreads)
    for one in (before, after):
        one.input(drift, [before, after], change)


def _rows(site: Site) -> list[dict[str, Any]]:
    return versions.reasons(site.store).to_dicts()


def _sources(counts: pl.DataFrame) -> list[dict[str, Any]]:
    """The funnel of each source, widths in percent of its widest stage."""
    found = []
    for (name,), part in counts.group_by("source", maintain_order=True):
        widest = max(1, *(part["kept"] + part["dropped"]))
        rows = [
            {**row, **{f"{way}_share": round(100 * row[way] / widest, 2) for way in ("kept", "dropped")}}
            for row in part.to_dicts()
        ]
        found.append({"name": name, "rows": rows})
    return found


def _bins(one: versions.Spread) -> dict[str, Any]:
    """A spread with the height of each bar, 0-100, logarithmic."""
    top = math.log1p(max(1, *one.counts))
    bins = [
        {
            "low": f"{low:g}",
            "high": f"{high:g}",
            "count": count,
            "height": round(100 * math.log1p(count) / top, 1),
        }
        for (low, high), count in zip(pairwise(versions.EDGES), one.counts, strict=True)
    ]
    return {**vars(one), "bins": bins}
