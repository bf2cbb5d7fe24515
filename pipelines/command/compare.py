"""`fineface compare`; tests live in `evaluation.comparisons`, the page in `evaluation.comparison_page`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, DEFAULT_PROFILE, Home, existing, fail, profile_of, say

if TYPE_CHECKING:
    from store import Store


def compare(
    first: Annotated[str, typer.Argument(help="An experiment of this home.")],
    second: Annotated[str, typer.Argument(help="The one that it is compared with.")],
    home: Home = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for machines.")] = False,
) -> None:
    """Two experiments on one page: AU errors by every judge, CLIP-I and CLIP-T, each AU by itself, with
    paired differences, their intervals, and which of them stand.

    Example: fineface compare twelve_tokens fineface
    """
    from evaluation import comparison_page
    from store import Store

    if first == second:
        fail(f"{first!r} is compared with itself: name two experiments")
    store = Store(existing(home))
    for name in (first, second):
        _measured(store, name)
    scores, cosines = (
        {name: store.read(f"{table}/{name}") for name in (first, second)}
        for table in ("au_scores", "clip_scores")
    )
    faces = {
        name: store.read(f"identity_scores/{name}")
        for name in (first, second)
        if store.version(f"identity_scores/{name}") is not None
    }
    try:
        found = comparison_page.page(first, second, scores, cosines, faces)
    except comparison_page.NotComparable as error:
        fail(f"{error}\n`{_run(store, first, second)}` measures both alike")
    say(json.dumps(found.as_plain(), indent=2) if as_json else comparison_page.text(found))


def _measured(store: Store, name: str) -> None:
    """Ends with what would make them where the home has no results of experiment `name`."""
    from settings import nearest

    tables = ("au_scores", "clip_scores")
    if all(store.version(f"{table}/{name}") is not None for table in tables):
        return
    there = [stage.partition("/")[2] for stage in store.stages(tables[0])]
    known = nearest.hint(name, there) or f"; there are those of {', '.join(there) or 'no experiment'}"
    fail(
        f"no results of experiment {name!r} in {store.home}{known}\n"
        f"`{_run(store, name)}` makes them, where the profile or experiments.yaml has it"
    )


def _run(store: Store, *experiments: str) -> str:
    """The command that makes the results of `experiments` in the home of `store`."""
    from store.file_system import address

    profile = profile_of(store) or DEFAULT_PROFILE
    where = f"--profile {profile} --home {address(store.home)}"
    return f"fineface run --experiments {','.join(experiments)} {where}"
