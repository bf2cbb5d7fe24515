"""A piece of a page that is made of HTML: what is clicked in it reaches Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

import facs
from app import markup
from app.site import PAGES, Site

PICK = """
const picked = (event) => {
  const at = event.target.closest("[data-pick]");
  if (!at || !element.contains(at)) return;
  event.preventDefault();
  trigger("click", { pick: at.dataset.pick });
};
element.addEventListener("click", picked);
element.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("g[data-pick]")) picked(event);
});
"""


def piece(value: str = "", *classes: str, **options: Any) -> gr.HTML:
    """HTML from a template. A click on what has `data-pick` in it is a click of the piece (`picked`)."""
    return gr.HTML(
        value,
        elem_classes=["piece", *classes],
        js_on_load=PICK,
        apply_default_css=False,
        padding=False,
        **options,
    )


def picked(event: gr.EventData) -> dict[str, Any]:
    """What `data-pick` says where a piece was clicked."""
    found: dict[str, Any] = json.loads(event.pick)
    return found


def au_sliders(lowest: float, highest: float, values: Sequence[float], prefix: str = "au") -> list[gr.Slider]:
    """A slider an action unit, at `values`; the elements are `prefix` and the unit's number."""
    with gr.Group(elem_classes=["sliders"]):
        return [
            gr.Slider(
                lowest,
                highest,
                value=value,
                step=0.25,
                label=f"AU{au} {facs.NAMES[au]}",
                elem_id=f"{prefix}{au}",
                buttons=["reset"],
            )
            for au, value in zip(facs.ACTION_UNITS, values, strict=True)
        ]


def header(site: Site, here: str) -> None:
    """The name, the way to the other pages, and which home this is."""
    piece(
        markup.render(
            "header",
            pages=PAGES,
            here=here,
            report=site.report is not None,
            home=site.store.home,
            profile=f"{site.profile.title} · {site.store.home.name}",
        )
    )


def asked(request: gr.Request) -> dict[str, str]:
    """What the address of the page asks for."""
    return {name: value for name, value in request.query_params.items() if isinstance(value, str)}
