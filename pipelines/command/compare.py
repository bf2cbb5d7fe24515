"""`fineface compare`; tests live in `evaluation.comparisons`, the page in `evaluation.comparison_page`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, DEFAULT_PROFILE, Home, existing, fail, profile_of, say

if TYPE_CHECKING:
    from evaluation.comparison_page import Page
    from store import Store


def compare(
    first: Annotated[str, typer.Argument(help="An experiment, or an editor, of this home.")],
    second: Annotated[str, typer.Argument(help="The one that it is compared with.")],
    home: Home = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for machines.")] = False,
) -> None:
    """Two experiments, or two editors, on one page: AU errors by every judge, CLIP-I and CLIP-T, each AU by
    itself, with paired differences, their intervals, and which of them stand.

    Examples: fineface compare twelve_tokens fineface; fineface compare fineface_edit ganimation
    """
    from evaluation import comparison_page
    from store import Store

    if first == second:
        fail(f"{first!r} is compared with itself: name two experiments, or two editors")
    store = Store(existing(home))
    both = {first, second}
    edited = both <= _editors(store) and not both <= {*_experiments(store)}
    try:
        found = (_of_editors if edited else _of_experiments)(store, first, second)
    except comparison_page.NotComparable as error:
        again = _run(store, "--select", "editing") if edited else _run(store, *_chosen(first, second))
        fail(f"{error}\n`{again}` measures both alike")
    say(json.dumps(found.as_plain(), indent=2) if as_json else comparison_page.text(found))


def _of_editors(store: Store, first: str, second: str) -> Page:
    from evaluation import comparison_page

    there = store.version("edit_identity") is not None
    return comparison_page.page_of_editors(
        first,
        second,
        store.read("edit_scores"),
        store.read("edit_fidelity"),
        store.read("edit_identity") if there else None,
    )


def _of_experiments(store: Store, first: str, second: str) -> Page:
    from evaluation import comparison_page

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
    trained = [_behind(store, f"trained_model/{name}", "training_set") for name in (first, second)]
    notes = ["they were trained on different training sets"] * (None not in trained and len({*trained}) == 2)
    return comparison_page.page(first, second, scores, cosines, faces, notes=notes)


def _behind(store: Store, table: str, parent: str) -> str | None:
    """The content of `parent` that the latest version of `table` was made from, as its commit says."""
    from provenance import lineage

    read = lineage.version_read(store, table, parent)
    return None if read is None else lineage.content(store, parent, read)


def _editors(store: Store) -> set[str]:
    """The editors that were measured in this home."""
    if store.version("edit_scores") is None or store.version("edit_fidelity") is None:
        return set()
    return {*store.read("edit_scores", columns=["editor"])["editor"]}


def _experiments(store: Store) -> list[str]:
    """The experiments that were measured in this home."""
    return [stage.partition("/")[2] for stage in store.stages("au_scores")]


def _measured(store: Store, name: str) -> None:
    """Ends with what would make them where the home has no results of experiment `name`."""
    from settings import nearest

    tables = ("au_scores", "clip_scores")
    if all(store.version(f"{table}/{name}") is not None for table in tables):
        pictures = [_behind(store, f"{table}/{name}", f"generated_samples/{name}") for table in tables]
        if store.version(f"identity_scores/{name}") is not None:
            pictures.append(_behind(store, f"identity_scores/{name}", f"generated_samples/{name}"))
        if len({*pictures} - {None}) > 1:
            fail(
                f"the scores of experiment {name!r} are of different pictures: a run was stopped among them\n"
                f"`{_run(store, *_chosen(name))}` makes them of the same"
            )
        return
    if name in (editors := _editors(store)):
        others = ", ".join(sorted(editors))
        fail(f"{name!r} is an editor of given faces, which is compared with another editor: {others}")
    there = _experiments(store)
    close = nearest.hint(name, [*there, *sorted(editors)])
    known = close or f"; there are those of {', '.join(there) or 'no experiment'}"
    fail(
        f"no results of experiment {name!r} in {store.home}{known}\n"
        f"`{_run(store, *_chosen(name))}` makes them, where the profile or experiments.yaml has it"
    )


def _chosen(*experiments: str) -> tuple[str, str]:
    return "--experiments", ",".join(experiments)


def _run(store: Store, *what: str) -> str:
    """The run of `what` in the home of `store`."""
    from store.file_system import address

    profile = profile_of(store) or DEFAULT_PROFILE
    where = f"--profile {profile} --home {address(store.home)}"
    return f"fineface run {' '.join(what)} {where}"
