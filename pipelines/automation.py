"""What a home does by itself, once it is switched on (`fineface schedule on`, or in the UI): new data,
nightly, weekly, and word of failures. A run by command needs none of it. What is due is found by
`pipelines.staleness`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter
from dagster._core.storage.tags import RUN_KEY_TAG, SCHEDULE_NAME_TAG

from curation.frames import RawDataError
from curation.sources import listing
from pipelines import failures, jobs
from pipelines.staleness import Part
from settings.automation import Automation
from settings.profile import Profile
from stages import Group
from store import file_system

NEW_DATA, NIGHTLY, WEEKLY, FAILED = "new_data", "nightly_data_set", "weekly_training", "run_failed"
FOLLOWS = "comparison_after_training"
SENSORS, SCHEDULES = (NEW_DATA, FAILED), (NIGHTLY, WEEKLY)
"""What can be switched on and off."""
AT_WORK = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
ENDED_BADLY = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class Memory:
    """What the sensor remembers from look to look: how the raw folders looked the last time, how they looked
    when they were read, and which run did that."""

    seen: str | None = None
    read: str | None = None
    run_key: str | None = None

    @classmethod
    def of(cls, cursor: str | None) -> Memory:
        """Of a sensor's cursor; nothing of a new one."""
        return cls(**json.loads(cursor)) if cursor else cls()


@dataclass(frozen=True)
class Step:
    """What one look ends with: a run, or why there is none; and what to remember."""

    memory: Memory
    run: dg.RunRequest | None = None
    reason: str | None = None


def look(
    profile: Profile, parts: Sequence[Part], instance: DagsterInstance, memory: Memory, now: float
) -> Step:
    """One look at the raw folders and at the tables; at most one run comes of it, so that one arrival is one
    chain: the raw data are read, then, if that changed a table, the data set is made, then what came to be
    due by that, experiment by experiment, then the comparison.

    Nothing begins beside another run of this home, whoever began it. What arrives meanwhile, or is still
    being copied (its folder differs between two looks), is read afterwards. What failed is tried again when
    something changed that could help.
    """
    folders = {name: folder for name, folder in profile.raw if folder is not None}
    here = [folder for folder in folders.values() if not file_system.is_elsewhere(folder)]
    if absent := [str(folder) for folder in here if not folder.is_dir()]:
        return Step(memory, reason=f"waits for the raw folder {', '.join(absent)}")
    states = [listing.state(folder) for folder in folders.values()]
    digest = " ".join(state.digest for state in states)
    still = now - max((state.changed for state in states), default=0.0) > profile.automation.look_every
    settled = digest == memory.seen or (memory.seen is None and still)
    memory = replace(memory, seen=digest)
    if others := at_work(instance):
        return Step(memory, reason=f"waits for {', '.join(map(_told, others))}")
    reading = _begun(instance, memory.run_key)
    unread = memory.read is None or (reading is not None and reading.status in ENDED_BADLY)
    stuck = f"{_told(reading)} did not read the raw data" if reading is not None and unread else ""
    if not unread:
        due, stuck = _next(parts, instance, profile.automation)
        if due is not None:
            request = dg.RunRequest(run_key=due.attempt(), job_name=due.job, partition_key=due.partition)
            return Step(memory, request)
    if digest != memory.read:
        if not settled:
            return Step(memory, reason="files are arriving: waits until two looks see the same")
        key = f"{digest} {now:.3f}"
        return Step(
            replace(memory, read=digest, run_key=key), dg.RunRequest(run_key=key, job_name=jobs.raw.name)
        )
    if stuck:
        return Step(memory, reason=f"{stuck}; waits for new data, an acceptance, or a run by command")
    return Step(memory, reason=f"nothing new: {sum(state.files for state in states):,} raw files")


def _due(parts: Sequence[Part]) -> Iterator[Part]:
    """Those of which a table is behind the times, in the order in which they run."""
    return (part for part in parts if part.outdated())


def _next(parts: Sequence[Part], instance: DagsterInstance, settings: Automation) -> tuple[Part | None, str]:
    """The first job that is due and was not tried like this before; or the one that was and did not help.
    Experiments do not wait for each other; what compares them waits for all."""
    stuck, stuck_in = "", ""
    for due in _due(parts):
        if settings.reach == "data_set" and due.job != jobs.data_set.name:
            break
        if stuck and due.job != stuck_in:
            break
        tried = _begun(instance, due.attempt())
        if tried is None:
            return due, ""
        stuck, stuck_in = f"{_told(tried)} ended with {tried.status.value.lower()}", due.job
    return None, stuck


def _begun(instance: DagsterInstance, run_key: str | None) -> DagsterRun | None:
    """The run that was begun under this key."""
    if run_key is None:
        return None
    found = instance.get_runs(RunsFilter(tags={RUN_KEY_TAG: run_key}), limit=1)
    return found[0] if found else None


def at_work(instance: DagsterInstance) -> list[DagsterRun]:
    """The runs of this home that have not ended; those whose process was killed are closed first."""
    from pipelines import runs  # which imports the definitions, and they this

    runs.close_dead_runs(instance)
    return [*instance.get_runs(RunsFilter(statuses=AT_WORK))]


def _told(run: DagsterRun) -> str:
    partition = run.tags.get("dagster/partition")
    return f"run {run.run_id[:8]} ({run.job_name}{f' {partition}' if partition else ''})"


def build(profile: Profile, home: Path, parts: Callable[[], Sequence[Part]]) -> dg.Definitions:
    """The sensors and schedules of `profile`. `parts`, the jobs in order, are asked for when one looks."""
    settings = profile.automation
    off = dg.DefaultSensorStatus.STOPPED

    @dg.sensor(
        name=NEW_DATA,
        jobs=[jobs.raw, *jobs.PHASES],
        minimum_interval_seconds=settings.look_every,
        default_status=off,
        description="Looks at the raw folders; new files begin one chain of runs, each when the one before "
        f"it has changed something: read_raw_data, data_set{_onwards(settings)}.",
    )
    def new_data(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        memory = Memory.of(context.cursor)
        try:
            step = look(profile, parts(), context.instance, memory, time.time())
        except RawDataError as error:
            step = Step(memory, reason=str(error))
        cursor = json.dumps(asdict(step.memory))
        if step.run is None:
            return dg.SensorResult(skip_reason=step.reason, cursor=cursor)
        return dg.SensorResult(run_requests=[step.run], cursor=cursor)

    @dg.schedule(
        name=NIGHTLY,
        job=jobs.data_set,
        cron_schedule=settings.nightly,
        execution_timezone=settings.time_zone,
        description="Makes the data set: reads the raw data, and asks models about what is new.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if others := at_work(context.instance):
            return dg.SkipReason(f"{', '.join(map(_told, others))} is at work")
        return dg.RunRequest()

    @dg.schedule(
        name=WEEKLY,
        job=jobs.experiment,
        cron_schedule=settings.weekly,
        execution_timezone=settings.time_zone,
        description="Trains and measures the experiments whose training set, code or settings changed; the "
        "comparison follows.",
    )
    def weekly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        if others := at_work(context.instance):
            return dg.SkipReason(f"{', '.join(map(_told, others))} is at work")
        due = [one.partition for one in _due(parts()) if one.job == jobs.experiment.name]
        if not due:
            return dg.SkipReason("every model is of the training set as it is")
        hour = context.scheduled_execution_time.isoformat()  # several runs of one tick need a key each
        return [dg.RunRequest(f"{hour} {partition}", partition_key=partition) for partition in due]

    @dg.run_status_sensor(
        name=FOLLOWS,
        run_status=DagsterRunStatus.SUCCESS,
        monitored_jobs=[jobs.experiment],
        request_job=jobs.comparison,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Compares the experiments when the last run of {WEEKLY} has ended. Idle without that.",
    )
    def follows(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        if context.dagster_run.tags.get(SCHEDULE_NAME_TAG) != WEEKLY:
            return dg.SkipReason(f"not a run of {WEEKLY}")
        if others := at_work(context.instance):
            return dg.SkipReason(f"waits for {', '.join(map(_told, others))}")
        due = [one.name for one in _due(parts())]
        if due != [jobs.comparison.name]:
            return dg.SkipReason(f"due before it: {', '.join(due)}" if due else "nothing is due")
        return dg.RunRequest()

    @dg.run_failure_sensor(
        name=FAILED,
        default_status=off,
        description="Logs every run that failed, and tells whom the profile names (automation.on_failure).",
    )
    def failed(context: dg.RunFailureSensorContext) -> None:
        what = _failure(context, home)
        context.log.error(f"{what['run']} failed: {what['error']}")
        failures.tell(settings.on_failure, what, context.log.error)

    return dg.Definitions(sensors=[new_data, follows, failed], schedules=[nightly, weekly])


def _onwards(settings: Automation) -> str:
    if settings.reach == "data_set":
        return ""
    return f", {jobs.experiment.name} by {jobs.experiment.name}, {jobs.comparison.name}"


def _failure(context: dg.RunFailureSensorContext, home: Path) -> dict[str, Any]:
    """What is told of a run that failed."""
    steps = {event.step_key: event.step_failure_data.error for event in context.get_step_failure_events()}
    messages = [f"{step}: {_cause(error)}" for step, error in steps.items()]
    run = context.dagster_run
    return {
        "run": _told(run),
        "run_id": run.run_id,
        "job": run.job_name,
        "experiment": run.tags.get("dagster/partition"),
        "stages": list(steps),
        "error": "; ".join(messages) or context.failure_event.message,
        "home": str(home),
    }


def _cause(error: Any) -> str:
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return error.message.strip() if error is not None else "no word of why"


def late(settings: Automation) -> Callable[[dg.AssetSpec], dg.AssetSpec]:
    """Gives the stages of the data set the policy by which the UI shows what nobody made again in time."""
    policy = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=settings.late_after))

    def marked(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.group_name != Group.DATA_SET:
            return spec
        return spec.replace_attributes(freshness_policy=policy)

    return marked
