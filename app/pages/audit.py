"""The page that audits: samples by what became of them, the story of one, the closest verdicts one by one."""

from __future__ import annotations

from typing import Any

import gradio as gr
import polars as pl

import facs
from app import chain, markup, samples
from app.pages.piece import asked, header, picked, piece
from app.samples import Filter, Order
from app.site import Site
from app.thumbnails import SIDES, address
from curation import overrides
from provenance import story
from provenance.why import UnknownSample, why
from store import StoreError

ANY = "any"
ORDERS: dict[str, Order] = {
    "id": "id",
    "disagreement": "disagreement",
    "closest verdict": "borderline",
    "strongest AU": "strongest",
}
VERDICT, INTENSITY = overrides.SAYS
SEEN = "seen in the queue of close verdicts"
TO_VIEW = (
    "() => { if (innerWidth < 1000) document.querySelector('.story')?.scrollIntoView({behavior: 'smooth'}); }"
)


def build(site: Site, page: gr.Blocks) -> None:
    """The components of `page`, and what happens between them."""
    header(site, "audit")
    with gr.Tabs():
        with gr.Tab("Samples", id="samples"):
            _samples(site, page)
        with gr.Tab("Closest verdicts", id="queue"):
            _queue(site, page)


def _samples(site: Site, page: gr.Blocks) -> None:
    with gr.Row():
        source = gr.Dropdown([ANY], value=ANY, label="Source", min_width=110, elem_id="source")
        verdict = gr.Dropdown([ANY, "kept", "dropped", "open"], value=ANY, label="Verdict", min_width=110)
        reason = gr.Dropdown([ANY], value=ANY, label="Reason", min_width=130, elem_id="reason")
        au = gr.Dropdown([ANY, *(f"AU{n}" for n in facs.ACTION_UNITS)], value=ANY, label="AU", min_width=110)
        order = gr.Dropdown(list(ORDERS), value="id", label="Order", min_width=130)
        text = gr.Textbox(label="Id or caption holds", min_width=130, elem_id="text")
    with gr.Accordion("More filters", open=False, elem_id="more"), gr.Row():
        stage = gr.Dropdown([ANY], value=ANY, label="Settled by", min_width=130)
        split = gr.Dropdown([ANY], value=ANY, label="Split", min_width=110)
        overruled = gr.Dropdown([ANY, "yes", "no"], value=ANY, label="Overruled", min_width=110)
        low = gr.Slider(0, facs.MAXIMUM, value=0, step=0.1, label="AU from", min_width=150)
        high = gr.Slider(0, facs.MAXIMUM, value=facs.MAXIMUM, step=0.1, label="AU to", min_width=150)
        apart = gr.Slider(0, facs.MAXIMUM, value=0, step=0.1, label="Annotators apart", min_width=150)
    filters: list[Any] = [source, verdict, stage, reason, split, overruled, au, low, high, apart, text, order]
    with gr.Row(equal_height=False):
        with gr.Column(scale=6, min_width=300):
            grid = piece("", elem_id="grid")
            with gr.Row():
                back = gr.Button("← Back", min_width=80, elem_id="back")
                number = gr.Number(1, precision=0, minimum=1, show_label=False, container=False, min_width=80)
                on = gr.Button("Next →", min_width=80, elem_id="next")
            piece(markup.render("legend"))
        with gr.Column(scale=5, min_width=300):
            chosen = gr.State("")
            with gr.Group(visible=False, elem_id="overrule") as panel:
                with gr.Row():
                    given_au = gr.Dropdown(
                        [f"AU{n}" for n in facs.ACTION_UNITS],
                        value="AU12",
                        label="AU",
                        min_width=90,
                        elem_id="given-au",
                    )
                    value = gr.Slider(
                        0,
                        facs.MAXIMUM,
                        value=0,
                        step=0.1,
                        label="Intensity",
                        min_width=160,
                        elem_id="given-value",
                    )
                with gr.Row():
                    why_so = gr.Textbox(label="Reason", min_width=160, elem_id="given-reason")
                    author = gr.Textbox(site.author, label="Who says so", min_width=110)
                with gr.Row():
                    give = gr.Button("Overrule the AU", variant="primary", min_width=130, elem_id="give")
                    take = gr.Button("Take it back", min_width=110, elem_id="take-back")
                with gr.Row(visible=False) as verdicts:
                    keep = gr.Button("Keep", min_width=80, elem_id="say-keep")
                    drop = gr.Button("Drop", min_width=80, elem_id="say-drop")
                    undo = gr.Button("Undo the verdict", min_width=120)
            shown = piece('<p class="empty">Click a picture for its story.</p>', elem_id="story")

    def wanted(*given: Any) -> Filter:
        return _filter(dict(zip(_NAMES, given, strict=True)))

    def listed(place: float, sample: str, *given: Any) -> tuple[str, int]:
        everything, asked_for = site.overview.frame, wanted(*given)
        found = samples.select(everything, asked_for)
        last = samples.pages(found)
        at = min(max(1, int(place or 1)), last)
        rows = samples.page(found, at).to_dicts()
        shown = markup.render(
            "grid",
            rows=rows,
            total=found.height,
            all=everything.height,
            number=at,
            pages=last,
            chosen=sample,
            au=asked_for.au,
            shown=asked_for.order,
        )
        return shown, at

    def told(sample: str) -> tuple[Any, ...]:
        """The story of a sample, and what can be said about it."""
        if not sample:
            return gr.skip(), "", gr.skip(), gr.skip()
        try:
            trail = why(site.store, sample)
        except (UnknownSample, StoreError) as error:
            raise gr.Error(str(error)) from None
        stages = {step.stage for step in trail.steps if step.row}
        found = chain.told(trail, _picture_of(site), story.verdict(trail))
        return (
            markup.render("story", story=found),
            trail.sample_id,
            gr.Group(visible=INTENSITY in stages),
            gr.Row(visible=VERDICT in stages),
        )

    def said(sample: str, stage: str, words: str, by: str, reason: str) -> tuple[Any, ...]:
        try:
            site.label(sample, stage, words, by, reason)
        except ValueError as error:
            raise gr.Error(str(error)) from None
        gr.Info(f"{words} is written. fineface run --select {stage}+ applies it.")
        return told(sample)

    def pick(event: gr.EventData) -> tuple[Any, ...]:
        return told(picked(event)["sample"])

    def opened(request: gr.Request) -> list[Any]:
        """The filters as the address says (/audit?stage=photorealism), and its sample's story."""
        given = asked(request)
        there = samples.choices(site.overview.frame)
        try:
            asked_for = Filter.of(given)
        except ValueError as error:
            raise gr.Error(str(error)) from None
        orders = {value: name for name, value in ORDERS.items()}

        def listing(name: str) -> gr.Dropdown:
            """What there is of a filter, what was asked for even where there is none."""
            value = getattr(asked_for, name)
            known = dict.fromkeys([ANY, *there[name], *filter(None, [value])])
            return gr.Dropdown(list(known), value=value or ANY)

        lists: list[Any] = [listing("source"), asked_for.verdict or ANY]
        lists += map(listing, ("stage", "reason", "split"))
        spoken = {None: ANY, True: "yes", False: "no"}[asked_for.overruled]
        values = [spoken, ANY if asked_for.au is None else f"AU{asked_for.au}", asked_for.low, asked_for.high]
        values += [asked_for.disagreement or 0, asked_for.text, orders[asked_for.order]]
        return [*lists, *values, *told(given.get("sample", ""))]

    story_parts = [shown, chosen, panel, verdicts]
    list_parts = [grid, number]
    given = [number, chosen, *filters]
    loaded = page.load(opened, None, [*filters, *story_parts])
    loaded.then(listed, given, list_parts)
    for one in filters:
        moved = one.submit if isinstance(one, gr.Textbox) else getattr(one, "release", one.input)
        moved(lambda: 1, None, number).then(listed, given, list_parts)
    back.click(lambda place: max(1, place - 1), number, number).then(listed, given, list_parts)
    on.click(lambda place: place + 1, number, number).then(listed, given, list_parts)
    number.submit(listed, given, list_parts)
    grid.click(pick, None, story_parts).then(None, None, None, js=TO_VIEW)
    shown.click(pick, None, story_parts)

    def intensity(name: str, number: float) -> str:
        return f"{name}={number:g}"

    def say(button: gr.Button, stage: str, words: Any) -> None:
        button.click(
            lambda sample, au_name, number, reason, by: said(
                sample, stage, words(au_name, number), by, reason
            ),
            [chosen, given_au, value, why_so, author],
            story_parts,
        ).success(listed, given, list_parts)

    say(give, INTENSITY, intensity)
    say(take, INTENSITY, lambda name, _: f"{name}=undo")
    for button, words in ((keep, "keep"), (drop, "drop"), (undo, "undo")):
        say(button, VERDICT, lambda *_, words=words: words)


_NAMES = (
    *("source", "verdict", "stage", "reason", "split", "overruled", "au", "low", "high", "disagreement"),
    *("text", "order"),
)
"""What the filters' components stand for, in their order."""


def _filter(given: dict[str, Any]) -> Filter:
    """The filter that the page's components stand at."""
    chosen: dict[str, Any] = {name: None if value == ANY else value for name, value in given.items()}
    spoken = {None: None, "yes": True, "no": False}[chosen["overruled"]]
    return Filter(
        **{name: chosen[name] for name in ("source", "verdict", "stage", "reason", "split", "low", "high")},
        au=None if chosen["au"] is None else facs.number(chosen["au"]),
        overruled=spoken,
        disagreement=chosen["disagreement"] or None,
        text=chosen["text"] or "",
        order=ORDERS[given["order"]],
    )


def _picture_of(site: Site) -> Any:
    frame = site.overview.frame

    def address_of(sample: str) -> str | None:
        rows = frame.filter(pl.col("sample_id") == sample).select("file_kind", "file").rows()
        return address(rows[0][0], rows[0][1], SIDES[1]) if rows else None

    return address_of


def _queue(site: Site, page: gr.Blocks) -> None:
    shown = piece("", elem_id="queue")
    with gr.Row():
        keep = gr.Button("Keep", elem_id="queue-keep", min_width=90)
        drop = gr.Button("Drop", elem_id="queue-drop", min_width=90)
        skip = gr.Button("Skip", elem_id="queue-skip", min_width=90)
        undo = gr.Button("Take the last one back", elem_id="queue-undo", min_width=150)
    with gr.Row():
        reason = gr.Textbox(SEEN, label="Reason", min_width=200)
        author = gr.Textbox(site.author, label="Who says so", min_width=130)
    skipped, last = gr.State([]), gr.State("")

    def following(passed: list[str]) -> tuple[str, pl.DataFrame]:
        table = samples.queue(site.store)
        rows = table.filter(~pl.col("sample_id").is_in(passed)) if table.height else table
        photorealism = site.profile.photorealism
        questions, thresholds = (getattr(photorealism, n, {}) for n in ("questions", "thresholds"))
        told = markup.render(
            "queue",
            row=rows.row(0, named=True) if rows.height else None,
            left=rows.height,
            questions=questions,
            thresholds=thresholds,
            empty="All of the closest verdicts have been looked at."
            if table.height or passed
            else "No verdict of a model is there to be looked at.",
        )
        return told, rows

    def step(passed: list[str], words: str, by: str, why_so: str) -> tuple[str, list[str], str]:
        """Say `words` about the sample in question (nothing: skip it), and show the next."""
        _, rows = following(passed)
        if rows.is_empty():
            return following(passed)[0], passed, ""
        sample = str(rows["sample_id"][0])
        if words:
            try:
                site.label(sample, VERDICT, words, by, why_so)
            except ValueError as error:
                raise gr.Error(str(error)) from None
        passed = [*passed, sample]
        return following(passed)[0], passed, sample if words else ""

    def undone(passed: list[str], sample: str, by: str, why_so: str) -> tuple[str, list[str], str]:
        if not sample:
            raise gr.Error("nothing was said here yet")
        try:
            site.label(sample, VERDICT, "undo", by, f"taken back: {why_so}")
        except ValueError as error:
            raise gr.Error(str(error)) from None
        passed = [one for one in passed if one != sample]
        return following(passed)[0], passed, ""

    outputs = [shown, skipped, last]
    for button, words in ((keep, "keep"), (drop, "drop"), (skip, "")):
        button.click(
            lambda passed, by, why_so, words=words: step(passed, words, by, why_so),
            [skipped, author, reason],
            outputs,
        )
    undo.click(undone, [skipped, last, author, reason], outputs)
    page.load(lambda: following([])[0], None, shown)
