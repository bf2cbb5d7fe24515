"""The `fineface` command. What a run does lives in `pipelines.runs`; heavy imports wait until they are
needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from settings.profile import Profile

app = typer.Typer(
    help="From raw face data to a measured action-unit adapter for Stable Diffusion.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

miniature = typer.Typer(help="The embedded world of the profile `miniature`.", no_args_is_help=True)
app.add_typer(miniature, name="miniature")

environment = typer.Typer(
    help="Environments of their own, for annotators whose pins cannot share this one.", no_args_is_help=True
)
app.add_typer(environment, name="environment")

ProfileName = Annotated[
    str,
    typer.Option("--profile", envvar="FINEFACE_PROFILE", help="miniature, paper, portraits, or a YAML file."),
]
Home = Annotated[
    Path,
    typer.Option(
        "--home", envvar="FINEFACE_HOME", help="The one folder that holds all state.", file_okay=False
    ),
]
DEFAULT_HOME = Path(".fineface")
# Progress is logged by the stages; bars would freeze the UI's log.
QUIET = {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}


@app.command()
def run(
    profile: ProfileName = "miniature",
    select: Annotated[
        str | None,
        typer.Option(help="Only these stages, as in Dagster: 'captions', 'captions+', 'group:data_set'."),
    ] = None,
    experiment: Annotated[
        list[str] | None, typer.Option(help="Only this experiment; may be given several times.")
    ] = None,
    home: Home = DEFAULT_HOME,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of failed stages.")] = False,
) -> None:
    """Materialise the graph, paying only for what is new, and print results and report.

    Killed or failed runs go on where they were: run again.
    """
    settings = _load(profile, home)
    from pipelines import runs
    from pipelines.console import Console

    console = Console(say=_say, verbose=verbose)
    _say(f"fineface · profile {profile} · home {home}")
    for folder in _friendly(runs.write_raw_data, settings):
        _say(f"wrote the raw data in {folder}")
    with runs.instance(home.absolute()) as instance:
        if others := runs.others(instance):
            _say(f"also at work in this home: run {', '.join(others)}; stages on the accelerator take turns")
        outcome = _friendly(
            runs.run,
            settings,
            home.absolute(),
            instance,
            select=select,
            experiments=experiment or (),
            listener=console.listener,
        )
    if not outcome.failed:
        _results(home)
    _say(f"\n{console.total()}")
    if outcome.failed:
        _fail(f"failed: {', '.join(outcome.failed)}. What was computed is kept; run again to go on.")


@app.command()
def status(profile: ProfileName = "miniature", home: Home = DEFAULT_HOME) -> None:
    """What is there: every stage's version, rows and age, the memos, the latest runs."""
    _load(profile, home)
    from pipelines import overview, runs

    with runs.instance(home.absolute()) as instance:
        _say(overview.text(home.absolute(), instance))


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="Raw data: AffectNet, DISFA, pictures, or several of them.")],
    profile: ProfileName = "paper",
    home: Annotated[
        Path | None,
        typer.Option(help="Remember content hashes here, for the next look and for a run.", file_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """What a raw folder holds and what a run would do with it, before anything is computed."""
    from curation.frames import RawDataError
    from pipelines import inspection, profiles

    try:
        found = inspection.inspect(folder, profile, home)
    except (RawDataError, profiles.ProfileError) as error:
        _fail(str(error))
    if as_json:
        _say(found.as_json())
    else:
        inspection.show(found, profile)


@app.command()
def ui(
    profile: ProfileName = "miniature",
    home: Home = DEFAULT_HOME,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000,
) -> None:
    """Dagster's web interface and daemon on http://127.0.0.1:PORT, with the history of runs by command."""
    _load(profile, home)
    from pipelines import profiles, runs

    runs.dagster_home(home.absolute())
    location = ["-m", "pipelines.definitions", "--working-directory", str(profiles.PROJECT)]
    command = [sys.executable, "-m", "dagster", "dev", *location, "-h", "127.0.0.1", "-p", str(port)]
    try:
        raise typer.Exit(subprocess.call(command))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def why(
    sample_id: Annotated[str, typer.Argument(help="For example affectnet/3/ab12.jpg or disfa/SN001/00012.")],
    home: Home = DEFAULT_HOME,
) -> None:
    """Where a sample's label came from: its row in every stage, and the samples that set its scale."""
    import provenance.why
    from store import Store, StoreError

    try:
        _say(str(provenance.why.why(Store(home.absolute()), sample_id)))
    except (provenance.why.UnknownSample, StoreError) as error:
        _fail(str(error.args[0] if error.args else error))


@environment.command("create")
def create_environment(
    name: Annotated[str, typer.Argument(help="lavis or libreface.")],
    path: Annotated[
        Path | None, typer.Option(help="The folder to make it in; default: where it is looked for.")
    ] = None,
) -> None:
    """Make the environment NAME (about a minute, 1.6 GB), from requirements with hashes."""
    from inference import environments

    if name not in environments.NAMES:
        _fail(f"no environment {name!r}; there are {', '.join(environments.NAMES)}")
    try:
        made = environments.create(name, path, say=_say)
    except (environments.EnvironmentUnavailable, OSError) as error:
        _fail(str(error))
    if made != environments.folder(name):
        _say(f"it is found once the variable says so: {environments.variable(name)}={made}")


@environment.command("list")
def list_environments() -> None:
    """Which environments there are, whether each is ready, and where it is looked for."""
    from inference import environments

    for name in environments.NAMES:
        _say(f"{name} {environments.state(name)}")


@app.command()
def label(
    sample_id: Annotated[str | None, typer.Argument(help="For example affectnet/3/ab12.jpg.")] = None,
    stage: Annotated[str | None, typer.Argument(help="photorealism")] = None,
    verdict: Annotated[str | None, typer.Argument(help="keep, drop, or undo to take a label back.")] = None,
    reason: Annotated[str, typer.Option(help="Why; stays with the sample.")] = "",
    author: Annotated[str | None, typer.Option(help="Who says so; default: the name you log in by.")] = None,
    shown: Annotated[bool, typer.Option("--list", help="Show every label given so far.")] = False,
    home: Home = DEFAULT_HOME,
) -> None:
    """Overrule a model's verdict on one sample. Its answer stays; the latest label of a sample wins."""
    from getpass import getuser

    from pipelines import labels, runs
    from store import Store, StoreError

    store = Store(home.absolute())
    try:
        if not shown:
            if sample_id is None or stage is None or verdict is None:
                _fail("say SAMPLE_ID STAGE VERDICT, or --list")
            labels.add(store, sample_id, stage, verdict, author or getuser(), reason)
            with runs.instance(store.home) as instance:
                labels.announce(store, instance)
            _say(f"{stage} of {sample_id}: {verdict}. `fineface run --select {stage}+` applies it.")
        else:
            _say(labels.listed(store))
    except (labels.NotLabelled, StoreError) as error:
        _fail(str(error))


@miniature.command(
    "train",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def train_miniature(context: typer.Context) -> None:
    """Make the tiny models that ship with the project (hours; `fineface miniature train --help`)."""
    from importlib import import_module

    command = import_module("miniature.train.command").app
    command(args=context.args, prog_name="fineface miniature train")


@miniature.command("recipes")
def compare_recipes(
    home: Home = DEFAULT_HOME,
    affectnet: Annotated[
        Path | None, typer.Option(help="The miniature's AffectNet folder; default: the home's.")
    ] = None,
) -> None:
    """How far the labels of each recipe lie from the truth, which only the miniature knows."""
    from importlib import import_module

    from store import Store, StoreError

    recipes = import_module("miniature.recipes")
    home = home.expanduser().absolute()
    try:
        _say(recipes.text(recipes.errors(Store(home), affectnet or home / "raw" / "affectnet")))
    except (StoreError, ValueError, OSError) as error:
        _fail(str(error))


def _load(profile: str, home: Path) -> Profile:
    """The profile, and both settings in the environment for whatever loads the definitions."""
    from pipelines import profiles

    home = home.expanduser().absolute()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ |= {"FINEFACE_PROFILE": _absolute(profile), "FINEFACE_HOME": str(home)}
    try:
        return profiles.load(profile, home)
    except profiles.ProfileError as error:
        _fail(str(error))


def _absolute(profile: str) -> str:
    """A path as an absolute one, a name as it is."""
    from pipelines import profiles

    return profile if profile in profiles.names() else str(Path(profile).expanduser().absolute())


def _friendly(function, *arguments, **options):
    """`function(…)`, its user errors as one line."""
    from pipelines.runs import NothingSelected

    try:
        return function(*arguments, **options)
    except (NothingSelected, ImportError, OSError) as error:
        _fail(str(error))


def _results(home: Path) -> None:
    from store import Store

    store = Store(home.absolute())
    if store.version("results") is None:
        return
    from evaluation import tables

    _say("\n" + tables.text(store.read("results")))
    report = home.absolute() / "report.html"
    if report.exists():
        _say(f"\nreport: {report}")


def _say(text: str) -> None:
    typer.echo(text)
    sys.stdout.flush()


def _fail(text: str) -> NoReturn:
    typer.secho(text, err=True, fg="red")
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
