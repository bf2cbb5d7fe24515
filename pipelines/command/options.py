"""What the verbs share: options, the profile and the home they name, and one plain line for what a user can
get wrong.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from provenance.moments import Moment
    from settings.profile import Profile
    from store import Store

DEFAULT_PROFILE, DEFAULT_HOME = "miniature", Path(".fineface")
ENVIRONMENT = {
    # Progress is logged by the stages; bars would freeze the UI's log.
    **{"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"},
    # Threads that wait must not spin: beside another busy process a model would be several times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Set before any model package is imported, unless the user said otherwise."""

ProfileName = Annotated[
    str,
    typer.Option(
        "--profile", envvar="FINEFACE_PROFILE", help="miniature, paper, portraits, editing, or a YAML file."
    ),
]
Home = Annotated[
    Path,
    typer.Option(
        "--home", envvar="FINEFACE_HOME", help="Where all state lies: a folder, or s3://bucket/prefix."
    ),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="As it was: a version (training_set@3, or 3), after a run (its id), or at a time (ISO 8601).",
    ),
]
Select = Annotated[
    str | None,
    typer.Option(
        "--select", help="Only these stages, as in Dagster: 'captions', 'captions+', 'group:data_set'."
    ),
]
Experiments = Annotated[
    list[str] | None,
    typer.Option(
        "--experiment", help="Of the experiments there are, only this one; may be given several times."
    ),
]


Groups = Annotated[
    str | None,
    typer.Option(
        "--experiments",
        envvar="FINEFACE_EXPERIMENTS",
        help="Experiments instead of the profile's: groups of experiments.yaml or names ('table2,mine'). "
        "Those that they are compared with come along.",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        envvar="FINEFACE_SEEDS",
        min=1,
        help="Train each experiment so many times: NAME, NAME.seed1, …",
    ),
]


class OneLine(TyperGroup):
    """Commands whose expected errors are one line each, without a traceback."""

    def invoke(self, context: Any) -> Any:
        """Run the verb; exit code 1 and one line for what `_expected` knows."""
        try:
            return super().invoke(context)
        except Exception as error:
            if not isinstance(error, _expected()):
                raise
            fail(str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error))


def _expected() -> tuple[type[Exception], ...]:
    """What a user can get wrong or a machine can lack; each of these names its file, row or setting."""
    from curation.frames import RawDataError
    from exports.licences import NotPassedOn
    from exports.pictures import ChangedPicture
    from inference.abilities import EstimatorUnavailable
    from inference.environments import EnvironmentUnavailable
    from pipelines.acceptances import NotAccepted
    from pipelines.drawing import NothingTrained
    from pipelines.exporting import ExportError
    from pipelines.labels import NotLabelled
    from pipelines.profiles import ProfileError
    from pipelines.runs import NothingSelected
    from provenance.moments import UnknownMoment
    from provenance.replay import NeedsModel, NotReplayable, UnknownSetting
    from provenance.samples import UnknownSample
    from store import StoreError

    return (
        *(
            ProfileError,
            NothingSelected,
            NothingTrained,
            NotLabelled,
            NotAccepted,
            UnknownSample,
            UnknownMoment,
            UnknownSetting,
            NeedsModel,
            NotReplayable,
            RawDataError,
            StoreError,
        ),
        *(ExportError, NotPassedOn, ChangedPicture),
        *(EstimatorUnavailable, EnvironmentUnavailable, ImportError, OSError),
    )


def load(
    profile: str,
    home: Path,
    keep_unset: bool = False,
    experiments: str | None = None,
    seeds: int | None = None,
) -> tuple[Profile, Path]:
    """The profile and the home's absolute path; both also in the environment, for whatever loads the
    definitions, with the `experiments` (groups and names, with commas between) and `seeds` that replace the
    profile's. `keep_unset` leaves `${NAME}` as it stands where the variable is not set, for the preflight
    to list. Raises ProfileError, and StoreError or OSError for a home in which nothing can be kept.
    """
    from pipelines import profiles
    from store import file_system

    place = usable(home)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    named = profile if profile in profiles.names() else str(Path(profile).expanduser().absolute())
    os.environ |= {"FINEFACE_PROFILE": named, "FINEFACE_HOME": file_system.address(place)}
    os.environ |= {} if experiments is None else {profiles.EXPERIMENTS: experiments}
    os.environ |= {} if seeds is None else {profiles.SEEDS: str(seeds)}
    return profiles.load(profile, place, (lambda name: f"${{{name}}}") if keep_unset else None), place


def usable(home: Path) -> Path:
    """`home` as an absolute path (of an address, the path that stands for it), if a home can be there.
    Creates nothing. Raises StoreError for a path that tables cannot have and for a bucket that cannot be
    reached, and OSError for a path below a file or that cannot be written to.
    """
    from store import Store, StoreError, file_system

    place = file_system.place(home)
    try:
        Store(place)
    except ValueError as error:
        raise StoreError(str(error)) from None
    if file_system.is_elsewhere(place):
        file_system.find(place, "*")
        return place
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"a home cannot be at {place}: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"a home cannot be at {place}: {there} cannot be written to")
    return place


def existing(home: Path) -> Path:
    """`home` as an absolute path, if something is kept there. Raises FileNotFoundError."""
    from settings import nearest
    from store import file_system

    place = usable(home)
    kept = ("tables", "memo", "dagster", "files")
    if file_system.is_elsewhere(place):
        if not file_system.find(place, "*"):
            raise FileNotFoundError(f"there is no home at {file_system.address(place)}: a run makes one")
    elif not any((place / folder).is_dir() for folder in kept):
        near = place.parent.iterdir() if place.parent.is_dir() else ()
        beside = [path.name for path in near if any((path / folder).is_dir() for folder in kept)]
        close = nearest.hint(place.name, [name for name in beside if name != place.name])
        raise FileNotFoundError(f"there is no home at {place}{close or ': a run makes one'}")
    return place


def profile_of(store: Store) -> str | None:
    """The profile that the latest table of a home was written by."""
    from store import StoreError

    written = []
    for name in store.stages():
        try:
            entry = store.history(name)[0]
        except StoreError:
            continue
        if "profile" in entry["metadata"]:
            written.append((entry["timestamp"], entry["metadata"]["profile"]))
    return max(written)[1] if written else None


def moment(home: Path, at: str | None) -> Moment:
    """The tables of `home` as they were at `at`; also after a run that changed no table, of which only
    Dagster knows when it ended. Raises UnknownMoment."""
    from provenance.moments import Moment, UnknownMoment
    from store import Store

    store = Store(home)
    try:
        return Moment(store, at)
    except UnknownMoment:
        from pipelines import runs

        if at is None or (ended := runs.ended(home, at)) is None:
            raise
        return Moment(store, ended)


def shown(text: str) -> str:
    """`text` with every character spelt out that a terminal would obey."""
    return "".join(
        char if char in "\n\t" or char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def say(text: str) -> None:
    """Print a line now, also into a pipe; control characters, which may come from data, are spelt out."""
    typer.echo(shown(text))
    sys.stdout.flush()


def fail(text: str) -> NoReturn:
    """Print `text` as an error and end with code 1."""
    typer.secho(shown(text), err=True, fg="red")
    raise typer.Exit(1)
