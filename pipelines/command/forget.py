"""`fineface forget`; what is removed is said in `provenance.forgetting`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.command.options import DEFAULT_HOME, DEFAULT_PROFILE, Home, ProfileName, existing, fail, say

if TYPE_CHECKING:
    from provenance.forgetting import Traces


def forget(
    sample: Annotated[
        str, typer.Argument(help="Its id, the path or name of its file, or the hash of its content.")
    ],
    reason: Annotated[str, typer.Option(help="Why; stays with the tombstone.")],
    author: Annotated[str | None, typer.Option(help="Who asks; default: the name you log in by.")] = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Also delete the raw picture that the profile's folders hold."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, only say what would be forgotten.")
    ] = False,
    profile: ProfileName = DEFAULT_PROFILE,
    home: Home = DEFAULT_HOME,
) -> None:
    """Forget a sample, and all others of the same picture: pictures, answers, latents and its rows in every
    version of every table. A tombstone of hashes stays: a raw picture that is still there is dropped
    again."""
    from getpass import getuser

    from pipelines import run_log, runs
    from provenance import forgetting, reports
    from provenance.impact import impact
    from provenance.moments import Moment
    from provenance.samples import UnknownSample, find
    from store import Store

    place = existing(home)
    store = Store(place)
    try:
        said = find(Moment(store), sample).sample_id
    except UnknownSample:
        said = sample
    samples = forgetting.samples_of(store, said)
    say(f"{', '.join(samples)}")
    say(reports.verdict(impact(store, said)) if said in samples else "")
    traces = forgetting.traces(store, samples)
    if not yes:
        say("nothing was done yet: --yes forgets it, in every version of every table, for good")
        return
    with runs.instance(place) as opened:
        if others := runs.others(opened):
            fail(f"run {', '.join(others)} is at work in this home: forget when it has ended")
    done = forgetting.forget(store, samples, reason, author or getuser(), say)
    log = run_log.forget(place, traces.needles)
    for path in _raw_files(profile, place, traces) if raw else ():
        path.unlink()
        say(f"deleted {path}")
    say(
        f"forgotten: {len(done.versions)} tables and {len(done.answers)} memos written anew, "
        f"{len(done.files)} files and {len(log)} files of Dagster's log cleaned"
    )
    if done.trained_on:
        say(f"models that were trained on it, which still are: {', '.join(done.trained_on)}")
    for left in done.left:
        say(f"still names it: {left}")
    if not raw:
        say("raw data was not touched (--raw deletes the picture); lists, archives, films, exports: neither")
    say("what stays is a tombstone: hashes of id and picture, who asked, when and why")
    say("`fineface run` makes the data set without it")


def _raw_files(profile: str, home: Path, traces: Traces) -> list[Path]:
    """The raw pictures themselves, as far as they are files in the profile's folders."""
    from pipelines import profiles

    raw = profiles.load(profile, home).raw
    folders = {f"raw_{name}": folder for name, folder in raw if folder is not None}
    names = ((folders[kind], name.partition("#")[0]) for kind, name in traces.files if kind in folders)
    return [path for folder, name in names if (path := folder / name).is_file()]
