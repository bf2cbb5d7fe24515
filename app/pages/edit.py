"""The page that edits: a held-out picture, twelve sliders that start where it is, and an editor."""

from __future__ import annotations

from typing import Any

import gradio as gr

import facs
from app import markup, thumbnails
from app.editors import NoSuchPicture, Picture
from app.pages.piece import asked, au_sliders, header, piece
from app.site import Site
from assets.editing.sheets import FILES
from pipelines.drawing import NothingTrained
from store import StoreError

SIDE = 512
"""Of the pictures shown, pixels."""


def build(site: Site, page: gr.Blocks) -> None:
    """The components of `page`, and what happens between them."""
    header(site, "edit")
    editors = site.editors
    names, pictures = editors.names(), editors.pictures()
    if not names or not pictures:
        piece(
            '<p class="empty">No editor of the profile is trained in this home yet: '
            f"<code>fineface run --profile {site.profile_name} --select editing</code> trains those of its "
            "section <code>editing</code>.</p>"
        )
        return
    first = editors.picture(pictures[0])
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            with gr.Row():
                sample = gr.Dropdown(pictures, value=pictures[0], label="Picture", elem_id="edit-sample")
                editor = gr.Dropdown(names, value=names[0], label="Editor", elem_id="edit-editor")
            sliders = au_sliders(0, facs.MAXIMUM, _shown(first), "edit-au")
            back = gr.Button("As it is", min_width=110, elem_id="edit-back")
        with gr.Column(scale=6, min_width=320):
            edit = gr.Button("Edit", variant="primary", elem_id="edit-edit", min_width=120)
            shown = piece(_source(first), elem_id="edited")
            with gr.Accordion("The call", open=False):
                command = gr.Code(
                    "", language="shell", label="Of a photograph", interactive=False, elem_id="edit-command"
                )

    def look(sample_id: str) -> list[Any]:
        picture = _picture(site, sample_id)
        return [_source(picture), *_shown(picture)]

    def edited(sample_id: str, name: str, *values: float) -> tuple[str, str]:
        picture = _picture(site, sample_id)
        # a slider that was not moved asks for what the label says, which it shows rounded
        pairs = zip(values, _shown(picture), picture.aus, strict=True)
        target = tuple(own if value == start else float(value) for value, start, own in pairs)
        try:
            same, made = editors.edit(name, picture, [picture.aus, target])
        except (ValueError, NothingTrained, StoreError) as error:
            raise gr.Error(str(error)) from None
        pictures = [
            _titled(picture),
            ("no change asked for", thumbnails.address(FILES, same, SIDE)),
            (facs.describe(target), thumbnails.address(FILES, made, SIDE)),
        ]
        return markup.render("drawn", pictures=pictures, note=name), editors.call(name, target)

    def opened(request: gr.Request) -> list[Any]:
        """The picture that the address names: /edit?sample=ID."""
        sample_id = asked(request).get("sample")
        if sample_id is None:
            return [gr.skip()] * (2 + len(sliders))
        return [sample_id, *look(sample_id)]

    sample.change(look, sample, [shown, *sliders])
    back.click(look, sample, [shown, *sliders])
    edit.click(edited, [sample, editor, *sliders], [shown, command])
    page.load(opened, None, [sample, shown, *sliders])


def _picture(site: Site, sample_id: str) -> Picture:
    try:
        return site.editors.picture(sample_id)
    except NoSuchPicture as error:
        raise gr.Error(str(error)) from None


def _shown(picture: Picture) -> list[float]:
    """Where the sliders start: the label's intensities, as far as a slider's box has room for them."""
    return [round(value, 2) for value in picture.aus]


def _source(picture: Picture) -> str:
    return markup.render("drawn", pictures=[_titled(picture)], note="Move a slider, and edit.")


def _titled(picture: Picture) -> tuple[str, str | None]:
    return f"source: {facs.describe(picture.aus)}", thumbnails.address(picture.kind, picture.file, SIDE)
