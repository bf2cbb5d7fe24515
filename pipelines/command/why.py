"""`fineface why`; the answer is found in `provenance.why`, its words in `provenance.story`; an edit's in
`provenance.edits`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.command.options import DEFAULT_HOME, At, Home, existing, fail, moment, say, shown

if TYPE_CHECKING:
    from provenance.moments import Moment
    from provenance.story import Paragraph
    from provenance.why import Trail

STYLES = {"kept": "bold", "told": "bold", "dropped": "bold red", "absent": "dim"}


def why(
    sample: Annotated[
        str,
        typer.Argument(
            help="Its id, the path or name of its file, or the hash of its content; also an edit's, whose id "
            "is EDITOR/individual/003/au12/4."
        ),
    ],
    au: Annotated[
        list[str] | None,
        typer.Option("--au", help="Only this AU, as in AU4; may be given several times."),
    ] = None,
    at: At = None,
    what_if: Annotated[
        str | None,
        typer.Option(
            "--counterfactual",
            metavar="SETTING=VALUE",
            help="What its labels would be, and what else would move: corrections.gamma.AU4=1.0, "
            "resolution.min_side=640, without=SAMPLE …",
        ),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="Also what every version of the training set said of it.")
    ] = False,
    every_au: Annotated[
        bool, typer.Option("--all", help="Also the AUs that are 0 from beginning to end.")
    ] = False,
    home: Home = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for machines.")] = False,
) -> None:
    """Where a sample's labels come from: file, verdicts, readings, every correction and what set its numbers,
    the trainings that had it and what was measured of them. Of an edit: source picture, request, the editor's
    training, and what judges read."""
    import facs
    from provenance import edits
    from provenance.why import UnknownSample
    from provenance.why import why as ask

    try:
        aus = [facs.number(name) for name in au] if au else None
    except ValueError as error:
        fail(str(error))
    then = moment(existing(home), at)
    try:
        trail = ask(then.store, sample, then, aus=aus, history=history)
    except UnknownSample:
        if (edit := edits.why(then, sample)) is None:
            raise
        if aus or history or what_if is not None:
            fail(f"{edit.edit} is an edit: --au, --history and --counterfactual are for samples")
        if as_json:
            say(edit.as_json())
        else:
            head(edit.edit, edits.verdict(edit), "edited")
            paragraphs(edits.tell(edit))
        return
    if what_if is not None:
        _what_if(then, trail, what_if, as_json)
    elif as_json:
        say(trail.as_json())
    else:
        show(trail, every_au or bool(au))


def _what_if(then: Moment, trail: Trail, setting: str, as_json: bool) -> None:
    from provenance import reports, story
    from provenance.counterfactual import counterfactual

    found = counterfactual(then, trail.sample_id, setting)
    if as_json:
        say(as_text(found))
        return
    head(trail.sample_id, story.verdict(trail), trail.verdict.state)
    paragraphs(reports.counterfactual(found))


def show(trail: Trail, every_au: bool) -> None:
    """Print a trail for people."""
    from provenance import story

    head(trail.sample_id, story.verdict(trail), trail.verdict.state)
    paragraphs(story.tell(trail, every_au))


def as_text(found: Any) -> str:
    """A dataclass as JSON, for machines."""
    import json
    from dataclasses import asdict

    return json.dumps(asdict(found), indent=2, default=str)


def head(name: str, verdict: str, state: str) -> None:
    """Print what is told about, and the verdict."""
    from rich.text import Text

    style = {"kept": "bold green", "dropped": "bold red"}.get(state, "bold yellow")
    _console().print(Text(shown(name), style="bold"), Text(shown(verdict), style=style), sep="\n")


def paragraphs(parts: list[Paragraph]) -> None:
    """Print what there is to tell, a paragraph a stage."""
    from rich.text import Text

    console = _console()
    for part in parts:
        title = Text(f"\n{shown(part.title)}", style=STYLES[part.mark])
        console.print(title.append(f", {part.when}" if part.when else "", style="not bold dim"))
        for line in part.lines:
            dropped = line.startswith("DROPPED")
            console.print(
                Text(
                    f"  {shown(line)}", style="red" if dropped else STYLES["absent"] * (part.mark == "absent")
                )
            )


def _console():
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=True)
