"""Pieces of pages as HTML, from `templates/`; every text in them is escaped, and none of it is obeyed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2

import facs
from app import thumbnails

FOLDER = Path(__file__).parent


def render(template: str, **given: Any) -> str:
    """The piece `template` (a file in templates/, without its suffix)."""
    return _environment().get_template(f"{template}.html").render(**given)


def style() -> str:
    """The style sheet of all pages."""
    return (FOLDER / "look.css").read_text(encoding="utf-8")


def script() -> str:
    """What pages do by themselves: keys, and bringing what was picked into view."""
    return (FOLDER / "behaviour.js").read_text(encoding="utf-8")


def link(page: str, **asked: Any) -> str:
    """The address of a page that shows what is asked for."""
    given = {name: value for name, value in asked.items() if value is not None}
    return f"/{page}" + (f"?{urlencode(given)}" if given else "")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "picture": thumbnails.address,
        "link": link,
        "names": facs.NAMES,
        "maximum": facs.MAXIMUM,
        "pick": json.dumps,
    }
    environment.filters["number"] = lambda value: "–" if value is None else f"{value:,.2f}".replace("-", "−")
    environment.filters["share"] = lambda value: "–" if value is None else f"{100 * value:.0f} %"
    return environment
