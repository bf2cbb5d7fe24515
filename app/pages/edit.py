"""The page that edits: a held-out picture, twelve sliders that start where it is, and an editor."""

from __future__ import annotations

from typing import Any

import gradio as gr

import facs
from app import markup
from app.editors import NoSuchPicture, Picture
from app.pages.piece import asked, header, piece
from app.site import Site
from assets.editing.edited_samples import FILES
from pipelines.drawing import NothingTrained
from store import StoreError


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
            with gr.Group(elem_classes=["sliders"]):
                sliders = [
                    gr.Slider(
                        0,
                        facs.MAXIMUM,
                        value=value,
                        step=0.25,
                        label=f"AU{au} {facs.NAMES[au]}",
                        elem_id=f"edit-au{au}",
                        buttons=["reset"],
                    )
                    for au, value in zip(facs.ACTION_UNITS, first.aus, strict=True)
                ]
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
        return [_source(picture), *picture.aus]

    def edited(sample_id: str, name: str, *values: float) -> tuple[str, str]:
        picture, target = _picture(site, sample_id), tuple(map(float, values))
        try:
            same, made = editors.edit(name, picture, [picture.aus, target])
        except (ValueError, NothingTrained, StoreError) as error:
            raise gr.Error(str(error)) from None
        pieces = [
            (f"source: {facs.describe(picture.aus)}", picture.kind, picture.file),
            ("no change asked for", FILES, same),
            (facs.describe(target), FILES, made),
        ]
        return markup.render("edited", pictures=pieces, note=name), editors.call(name, target)

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


def _source(picture: Picture) -> str:
    told = [(f"source: {facs.describe(picture.aus)}", picture.kind, picture.file)]
    return markup.render("edited", pictures=told, note="Move a slider, and edit.")
