"""The server of the app: its pages, the pictures on them, and the report. Only this machine reaches it
(`loopback`), and it reaches nothing: pages load what this server has, and no more.
"""

from __future__ import annotations

import html
import os
import threading
import warnings
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse, PlainTextResponse

import loopback
from app import markup
from app.site import PAGES, Site
from app.thumbnails import NoPicture
from pipelines.drawing import FILES
from store import StoreError

if TYPE_CHECKING:
    import gradio as gr

POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "style-src 'self' 'unsafe-inline'",
        # gradio makes the functions of components from text
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""What a page may load: nothing from elsewhere, whatever a library's markup asks for."""
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
UNREADABLE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96"><title>{}</title>'
    '<rect width="96" height="96" fill="#8d99a5" opacity=".18"/><path d="M36 36l24 24M60 36L36 60" '
    'stroke="#8d99a5" stroke-width="3"/></svg>'
)
"""What stands where a picture cannot be shown; its title says why."""
YEAR = "private, max-age=31536000, immutable"
"""Files that are named by their content never change."""


def application(site: Site) -> FastAPI:
    """The app of `site`, without a guard: pages, /picture/…, /generated/…, /report."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    server.add_middleware(_Policy)

    @server.get("/picture/{side}/{kind}/{name:path}")
    def _picture(side: int, kind: str, name: str) -> Response:
        try:
            content = site.thumbnails.jpeg(side, kind, name)
        except NoPicture as error:
            return Response(UNREADABLE.format(html.escape(str(error))), 404, media_type="image/svg+xml")
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})

    @server.get("/generated/{name}")
    def _generated(name: str) -> Response:
        try:
            content = site.store.files(FILES).read(name)
        except (StoreError, ValueError) as error:
            return PlainTextResponse(str(error), 404)
        return Response(content, media_type="image/png", headers={"Cache-Control": YEAR})

    @server.get("/report")
    def _report() -> Response:
        if site.report is None:
            return PlainTextResponse("There is no report yet: fineface run makes it.", 404)
        return FileResponse(site.report, media_type="text/html; charset=utf-8")

    with warnings.catch_warnings():  # that pages are not rendered by a server of Node's
        warnings.simplefilter("ignore", UserWarning)
        return gr.mount_gradio_app(
            server,
            _pages(site),
            path="/",
            theme=_theme(),
            css=markup.style(),
            js=markup.script(),
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            max_file_size=0,
            show_error=True,
        )


class _Policy:
    """`application` with POLICY in the head of every answer."""

    def __init__(self, app: loopback.Application) -> None:
        self._application = app

    async def __call__(self, scope: loopback.Scope, receive: loopback.Receive, send: loopback.Send) -> None:
        async def answer(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self._application(scope, receive, answer)


def serve(site: Site, port: int, announce: Callable[[str], object]) -> None:
    """Answer on `port` of this machine until interrupted; `announce` is told the link that lets a browser in.
    Raises loopback.PortTaken."""
    listening = loopback.bind(port)
    guarded = loopback.Guard(application(site), listening.getsockname()[1], announce=announce)
    # The first page then need not wait for the tables to be read.
    threading.Thread(target=lambda: site.overview.frame, daemon=True).start()
    guarded.announce()
    loopback.serve(guarded, listening)


def _pages(site: Site) -> gr.Blocks:
    import gradio as gr

    from app.pages import audit, create, data, edit, results

    built = {
        "": create.build,
        "edit": edit.build,
        "audit": audit.build,
        "results": results.build,
        "data": data.build,
    }
    with gr.Blocks(title="FineFace", analytics_enabled=False, fill_width=True) as blocks:
        built[""](site, blocks)
    for path, title in PAGES.items():
        if path:
            with blocks.route(title, path):
                built[path](site, blocks)
    return blocks


def _theme() -> gr.themes.Base:
    import gradio as gr

    return gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "Arial", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "monospace"],
    )
