"""The page that draws: a prompt, twelve sliders, one noise; the neutral sample beside what is asked for."""

from __future__ import annotations

import random
from typing import Any

import gradio as gr

import facs
from app import markup
from app.expressions import EXPRESSIONS
from app.pages.piece import asked, au_sliders, header, piece
from app.site import Site
from app.studio import STRIP, Asked
from pipelines.drawing import NothingTrained
from store import StoreError

LOWEST, HIGHEST = -5.0, 10.0
"""Of the sliders: labels are 0-5, what is asked may go beyond on either side."""
PROMPT = "A photo of a person looking at the camera"
OWN = "own mixture"


def build(site: Site, page: gr.Blocks) -> None:
    """The components of `page`, and what happens between them."""
    header(site, "")
    names = site.studio.experiments()
    if not names:
        piece(
            f'<p class="empty">No experiment of the profile is trained in this home yet: '
            f"<code>fineface run --profile {site.profile_name}</code> trains them.</p>"
        )
        return
    first = names[0]
    scale = site.studio.au_scale(first)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            prompt = gr.Textbox(PROMPT, label="Prompt", lines=2, elem_id="prompt")
            with gr.Row():
                experiment = gr.Dropdown(
                    names, value=first, label="Model", elem_id="experiment", min_width=150
                )
                expression = gr.Dropdown(
                    list(EXPRESSIONS),
                    value="Happiness",
                    label="Expression",
                    elem_id="expression",
                    min_width=150,
                )
            told = piece(f'<p class="count">{EXPRESSIONS["Happiness"].told}</p>')
            sliders = au_sliders(LOWEST, HIGHEST, EXPRESSIONS["Happiness"].vector)
            with gr.Row():
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed", min_width=110)
                other = gr.Button("Other noise", min_width=110, elem_id="other-noise")
            with gr.Accordion("Scales", open=False):
                guidance = gr.Slider(
                    0, 15, value=site.studio.guidance(first), step=0.25, label="Guidance", elem_id="guidance"
                )
                weight = gr.Slider(
                    0,
                    2,
                    value=scale or 1.0,
                    step=0.05,
                    label="Weight of the AUs (λ)",
                    visible=scale is not None,
                )
        with gr.Column(scale=6, min_width=320):
            with gr.Row():
                draw = gr.Button("Draw", variant="primary", elem_id="draw", min_width=120)
                strip = gr.Button("Draw the strip", elem_id="draw-strip", min_width=120)
            picture = piece(
                '<p class="empty">Move a slider, choose an expression, and draw.</p>', elem_id="drawn"
            )
            sheet = piece("", elem_id="strip")
            with gr.Accordion("The call", open=False):
                python = gr.Code(
                    "", language="python", label="In Python", interactive=False, elem_id="python"
                )
                command = gr.Code(
                    "", language="shell", label="In a terminal", interactive=False, elem_id="command"
                )

    request = [experiment, prompt, seed, guidance, weight, *sliders]

    def wanted(name: str, text: str, noise: float, scale: float, au_weight: float, *values: float) -> Asked:
        own = site.studio.au_scale(name)
        return Asked(
            name,
            text,
            tuple(map(float, values)),
            int(noise or 0),
            None if scale == site.studio.guidance(name) else scale,
            None if own is None or au_weight == own else au_weight,
        )

    def drawn(*given: Any) -> tuple[str, str, str]:
        one = wanted(*given)
        neutral, picture = _drawn(site, one, (0.0, 1.0))
        shown = [("neutral", neutral), (facs.describe(one.vector), picture)]
        note = f"{one.experiment}, seed {one.seed}: same prompt, same noise."
        return markup.render("drawn", pictures=shown, note=note), *site.studio.call(one)

    def stripped(*given: Any) -> tuple[str, str, str]:
        one = wanted(*given)
        pictures = _drawn(site, one, STRIP)
        titles = ["neutral", *(f"{share:.0%} of it" for share in STRIP[1:])]
        return markup.render("strip", pictures=list(zip(titles, pictures, strict=True))), *site.studio.call(
            one
        )

    def mixed(name: str) -> list[Any]:
        known = EXPRESSIONS[name]
        return [f'<p class="count">{known.told}</p>', *known.vector]

    def changed(name: str) -> list[Any]:
        own = site.studio.au_scale(name)
        return [site.studio.guidance(name), gr.Slider(value=own or 1.0, visible=own is not None)]

    def opened(request: gr.Request) -> list[Any]:
        """The sliders and texts as the address says: /?prompt=…&AU12=4&seed=7."""
        given = asked(request)
        aus: dict[str | int, Any] = {
            name: value for name, value in given.items() if name.upper().startswith("AU")
        }
        try:
            vector: list[Any] = list(facs.parse(aus)) if aus else [gr.skip()] * len(sliders)
        except ValueError as error:
            raise gr.Error(str(error)) from None
        name = given.get("experiment")
        return [
            name if name in names else gr.skip(),
            given.get("prompt", gr.skip()),
            int(given["seed"]) if given.get("seed", "").isdecimal() else gr.skip(),
            *vector,
        ]

    draw.click(drawn, request, [picture, python, command])
    prompt.submit(drawn, request, [picture, python, command])
    strip.click(stripped, request, [sheet, python, command])
    expression.input(mixed, expression, [told, *sliders])
    experiment.change(changed, experiment, [guidance, weight])
    other.click(lambda: random.randrange(2**31), None, seed)
    page.load(opened, None, [experiment, prompt, seed, *sliders])


def _drawn(site: Site, one: Asked, shares: tuple[float, ...]) -> list[str]:
    """The addresses of the pictures."""
    try:
        names = site.studio.draw(one, shares)
    except (ValueError, NothingTrained, StoreError) as error:
        raise gr.Error(str(error)) from None
    return [f"/generated/{name}" for name in names]
