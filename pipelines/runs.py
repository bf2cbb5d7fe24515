"""Runs by command: the jobs one after another in this process, recorded in the same Dagster home as the UI's.

What is printed lives in `pipelines.console`.
"""

from __future__ import annotations

import os
import re
import threading
import uuid
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import dagster as dg
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.api import execute_run

from pipelines import definitions, jobs, origin, staleness
from pipelines.profiles import ProfileError
from pipelines.staleness import Part
from settings import nearest
from settings.profile import Profile
from store import disk, file_system
from store.file_system import make_folder
from store.lock import alive, this_process

PROCESS_TAG = "fineface/process"
INTERRUPTED = dg.DagsterExecutionInterruptedError.__name__
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
WATCH_SECONDS = 5.0
UNFINISHED = [DagsterRunStatus.STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.NOT_STARTED]

DAGSTER_YAML = """\
# Dagster's own state (runs, events, schedules) lies beside this file. Written once; yours to change.
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    granularity: op
    default_limit: 1          # one stage at a time holds the accelerator
freshness:
  enabled: true             # shows which stages nobody made again in time
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
"""

_WRITER = re.compile(r"(miniature(?:\.\w+)*):(write_\w+)")

Listener = Callable[[EventLogEntry], None]


@dataclass
class Outcome:
    """What ran: run ids by phase and partition, and those that failed."""

    succeeded: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    """Those that could have made nothing that is not there."""
    interrupted: bool = False
    """Whether somebody asked it to stop: then nothing was begun after that."""


@dataclass(frozen=True)
class Plan:
    """What a run is to materialise: the stages `keys`, once an experiment where they belong to one."""

    profile: Profile
    home: Path
    definitions: dg.Definitions
    keys: frozenset[dg.AssetKey]
    experiments: tuple[str, ...]
    chosen: bool = False
    """Whether somebody said which stages: these run, even where nothing has changed."""


class NothingSelected(ValueError):
    """A selection that names no asset, or an experiment that the profile has not."""


@contextmanager
def instance(home: Path) -> Iterator[DagsterInstance]:
    """Dagster's instance of `home`, at `home/dagster`; the one that the UI shows. Raises DiskFull, also in
    its block, when what is to be recorded there finds no room."""
    with disk.full_disk_named(file_system.own(home) / "dagster", 0, "the record of runs"):
        folder = dagster_home(home)
        with DagsterInstance.from_config(str(folder)) as opened:
            yield opened


def dagster_home(home: Path) -> Path:
    """`home/dagster` with its dagster.yaml; also put into the environment, for child processes. That of a
    home in a bucket lies on this machine, or where DAGSTER_HOME points.
    """
    folder = file_system.own(home) / "dagster"
    if folder != home / "dagster" and (given := os.environ.get("DAGSTER_HOME")):
        folder = Path(given)
    make_folder(folder)
    config = folder / "dagster.yaml"
    if not config.exists():
        file_system.write(config, DAGSTER_YAML)
    os.environ["DAGSTER_HOME"] = str(folder)
    return folder


def plan(profile: Profile, home: Path, select: str | None = None, experiments: Sequence[str] = ()) -> Plan:
    """What a run would materialise: what `select` names (default: everything) for `experiments` (default:
    all). Raises NothingSelected.
    """
    for name in experiments:
        _known("experiment", name, profile.experiments)
    found = definitions.build(profile, home)
    keys = frozenset(selected(found, select))
    return Plan(profile, home, found, keys, tuple(experiments or profile.experiments), select is not None)


def run(
    planned: Plan,
    opened: DagsterInstance,
    listener: Callable[[str, str | None], Listener] | None = None,
    spared: Callable[[str, Sequence[str]], None] | None = None,
) -> Outcome:
    """Materialise what is planned, in graph order.

    A failure in the data set ends the run, and so does one in every experiment; one in an experiment does
    not stop the others. `listener` is
    called with the job's name and the partition before each run and returns what its events go to. Raw data
    is always looked at; of the rest, what could make nothing that is not there is not run, unless it was
    chosen: `spared` is told its name and what checks had complained of.
    """
    outcome = Outcome()
    raw = jobs.RAW.resolve(planned.definitions.resolve_asset_graph())

    def made(part: Part) -> dg.JobExecutionResult:
        run_id = str(uuid.uuid4())
        if listener is not None:
            opened.add_event_listener(run_id, listener(part.job, part.partition))
        job = planned.definitions.resolve_job_def(part.job)
        result = _execute(job, opened, run_id, sorted(part.keys), part.partition)
        if not result.success:
            outcome.failed.append(part.name)
        outcome.interrupted = _interrupted(result)
        return result

    with _closing_dead_runs(opened):
        parts = [*_parts(planned)]
        experiments = {part.name for part in parts if part.job == jobs.experiment.name}
        for part in parts:
            rest = replace(part, keys=part.keys - raw)
            complaints = None if planned.chosen else rest.unchanged()
            if complaints is not None and (looked := part.keys & raw):
                if not made(replace(part, keys=looked)).success:
                    break
                part, complaints = rest, rest.unchanged()
            if complaints is not None:
                outcome.spared.append(part.name)
                if spared is not None:
                    spared(part.name, complaints)
            else:
                alone, before = not others(opened), part.reads()
                result = made(part)
                if result.success:
                    outcome.succeeded.append(part.name)
                    if not planned.chosen and alone and before == part.reads():
                        rest.note(_complaints(result))
            if outcome.interrupted or (outcome.failed and part.job == jobs.data_set.name):
                break
            if experiments and experiments <= {*outcome.failed}:
                break  # there is nothing to compare, and one error is enough
    return outcome


def _parts(planned: Plan) -> Iterator[Part]:
    return staleness.parts(
        planned.definitions,
        planned.profile,
        (planned.definitions.resources or {})["store"],
        phases=jobs.ALL,
        keys=planned.keys,
        experiments=planned.experiments,
    )


def _execute(
    job: dg.JobDefinition,
    opened: DagsterInstance,
    run_id: str,
    keys: Sequence[dg.AssetKey],
    partition: str | None,
) -> dg.JobExecutionResult:
    """Like `job.execute_in_process`, of the assets `keys`, recorded with the origin that a run of the UI has:
    so it stands in the timeline and under its job, and sensors hear of its end.
    """
    tags = {PROCESS_TAG: this_process(), **origin.label()}
    whole = set(keys) == set(job.asset_layer.executable_asset_keys)
    if partition is not None:
        tags |= job.get_tags_for_partition_key(partition, selected_asset_keys=keys)
    run = opened.create_run_for_job(
        job,
        run_id=run_id,
        run_config=QUIET,
        tags=tags,
        asset_selection=None if whole else set(keys),
        remote_job_origin=origin.repository().get_job_origin(job.name),
    )
    return execute_run(InMemoryJob(job), run, opened)


def _complaints(result: dg.JobExecutionResult) -> list[str]:
    """The checks that did not pass, as lines."""
    found = [one for one in result.get_asset_check_evaluations() if not one.passed]
    return [f"check {one.check_name} of {one.asset_key.to_user_string()} did not pass" for one in found]


def _interrupted(result: dg.JobExecutionResult) -> bool:
    failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return any(error is not None and error.cls_name == INTERRUPTED for error in failures)


def selected(found: dg.Definitions, select: str | None) -> set[dg.AssetKey]:
    """The assets that `select` names; if None all that belong to a run of everything.

    Dagster's syntax, or bare names: "au_annotation+", "data_set", "raw_disfa, captions". Raises
    NothingSelected.
    """
    graph = found.resolve_asset_graph()
    if select is None:
        whole = (found.resolve_job_def(phase.name).asset_layer for phase in jobs.PHASES)
        return {key for layer in whole for key in layer.executable_asset_keys}
    stages = sorted(key.to_user_string() for key in graph.materializable_asset_keys)
    for name in _bare_names(select):
        _known("stage or group", name, [*stages, *sorted(graph.all_group_names)])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # the parser's own use of a beta parameter
            selection = dg.AssetSelection.from_string(_spelt_out(select, graph.all_group_names))
        keys = selection.resolve(graph)
    except Exception as error:  # the parser raises several kinds
        raise NothingSelected(f"cannot select {select!r}: {error}") from None
    opened = found.resolve_job_def(jobs.held_out.name).asset_layer.executable_asset_keys
    named = {*re.findall(r"[\w/]+", re.sub(r"\bnot\s+\S+", "", select))}
    keys = {key for key in keys if key not in opened or key.to_user_string() in named}  # only if it is named
    if not keys and "held_out" in named:
        raise NothingSelected(f"{select!r}: `fineface held-out --reason …` opens the held-out prompts")
    if not keys:
        raise NothingSelected(f"{select!r} selects nothing; there are {', '.join(stages)}")
    return set(keys)


def _known(what: str, name: str, known: Collection[str]) -> None:
    """Raises NothingSelected, naming what was close, for a `name` that is none of `known`."""
    if name not in known:
        close = nearest.hint(name, known) or f"; there are {', '.join(known)}"
        raise NothingSelected(f"no {what} {name!r}{close}")


_BARE = re.compile(r"\s*(\+?)([\w/-]+)(\+?)\s*")


def _bare_names(select: str) -> list[str]:
    """The names in `select` that are neither operators nor Dagster's own `key:…` and the like."""
    return [bare[2] for part in select.split(",") if (bare := _BARE.fullmatch(part))]


def _spelt_out(select: str, groups: Collection[str]) -> str:
    """ "captions+, data_set" → 'key:"captions"+ or group:"data_set"'; what is no bare name stays as it is."""
    parts = []
    for part in select.split(","):
        bare = _BARE.fullmatch(part)
        if bare is None:
            parts.append(part)
            continue
        before, name, after = bare.groups()
        parts.append(f'{before}{"group" if name in groups else "key"}:"{name}"{after}')
    return " or ".join(parts)


def close_dead_runs(opened: DagsterInstance) -> list[str]:
    """Mark runs by command whose process is gone (kill -9, power) as failed, and free what they held; their
    ids.
    """
    closed = []
    for run in opened.get_runs(RunsFilter(statuses=UNFINISHED)):
        process = run.tags.get(PROCESS_TAG)
        if process is not None and not alive(process):
            _close(opened, run)
            closed.append(run.run_id)
    return closed


@contextmanager
def _closing_dead_runs(opened: DagsterInstance) -> Iterator[None]:
    """`close_dead_runs`, now and every few seconds: a killed run may hold what this one waits for."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            with suppress(Exception):  # what hinders it, such as a full disk, hinders the run, which tells
                close_dead_runs(opened)

    close_dead_runs(opened)
    watcher = threading.Thread(target=watch, name="dead runs", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def ended(home: Path, run: str) -> datetime | None:
    """When the run with that id, or whose id begins so, ended; None for no run, or several, or one under
    way."""
    with instance(home) as opened:
        records = [one for one in opened.get_run_records() if one.dagster_run.run_id.startswith(run)]
    if len(records) != 1 or not records[0].end_time:
        return None
    return datetime.fromtimestamp(records[0].end_time, UTC)


def others(opened: DagsterInstance) -> list[str]:
    """The live runs of other processes in this home; theirs is the accelerator while they hold it."""
    unfinished = opened.get_runs(RunsFilter(statuses=UNFINISHED))
    processes = {run.run_id: run.tags.get(PROCESS_TAG) for run in unfinished}
    mine = this_process()
    return [run for run, process in processes.items() if process not in (None, mine) and alive(process)]


def _close(opened: DagsterInstance, run: DagsterRun) -> None:
    opened.report_run_failed(
        run, "Its process ended without a word (killed?). Run again: it goes on from the memo."
    )
    opened.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def write_raw_data(profile: Profile) -> list[Path]:
    """Call the profile's `raw_writer`, if it has one and a raw folder is absent; the folders written.

    It is called with the folder above the raw folders and leaves alone what is there. Raises ProfileError for
    a writer that is none of the project's own.
    """
    given = [folder for _, folder in profile.raw if folder is not None]
    absent = [folder for folder in given if not (file_system.is_elsewhere(folder) or folder.exists())]
    if profile.raw_writer is None or not absent:
        return []
    write = writer(profile.raw_writer)
    for above in sorted({folder.parent for folder in absent}):
        write(above)
    return absent


def writer(name: str) -> Callable[[Path], object]:
    """The function `miniature.<module>:write_<what>` of this project, which writes raw data. Raises
    ProfileError for any other name: a profile is data, it must not run whatever it likes.
    """
    if (said := _WRITER.fullmatch(name)) is not None:
        with suppress(ImportError):
            found = getattr(import_module(said[1]), said[2], None)
            if callable(found) and found.__module__ == said[1]:
                return found
    raise ProfileError(f"raw_writer: {name!r} is none of the project's own, miniature.<module>:write_<what>")
