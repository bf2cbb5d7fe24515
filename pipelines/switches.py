"""The switches of what a home does by itself (`pipelines.automation`): the UI's own, turned by command."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from dagster import DagsterInstance
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickStatus,
)
from dagster._serdes import create_snapshot_id

from pipelines import automation, origin
from pipelines.runs import NothingSelected
from settings import nearest
from settings.profile import Profile

NAMES = (*automation.SENSORS, *automation.SCHEDULES)
DAEMON_SECONDS = 120
"""A daemon that was not heard of for so long is not there."""


@dataclass(frozen=True)
class Switch:
    """One of `NAMES`: whether it is on, when it acts, and what it said last (seconds since 1970)."""

    name: str
    on: bool
    when: str
    looked: float | None = None
    said: str | None = None


def switches(opened: DagsterInstance, profile: Profile) -> list[Switch]:
    """All of them, as they are now."""
    return [_switch(opened, profile, name) for name in NAMES]


def turn(opened: DagsterInstance, profile: Profile, names: Iterable[str], on: bool) -> None:
    """Switch those named on or off, as the UI would. Raises NothingSelected, naming what was close."""
    for name in names:
        if name not in NAMES:
            close = nearest.hint(name, NAMES) or f"; there are {', '.join(NAMES)}"
            raise NothingSelected(f"nothing called {name!r} can be switched{close}")
    for name in names:
        state, now = _state(opened, name), time.time()
        status = InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED
        if state is not None and state.status == status:
            continue
        data: ScheduleInstigatorData | SensorInstigatorData
        if name in automation.SCHEDULES:
            kind = InstigatorType.SCHEDULE
            data = ScheduleInstigatorData(_cron(profile, name), now if on else None)
        else:
            kind = InstigatorType.SENSOR
            known = state.sensor_instigator_data if state is not None else None
            data = (known or _new(profile, name)).with_sensor_start_timestamp(now)
        turned = InstigatorState(origin.repository().get_instigator_origin(name), kind, status, data)
        if state is None:
            opened.add_instigator_state(turned)
        else:
            opened.update_instigator_state(state.with_status(status).with_data(data))


def daemon_runs(opened: DagsterInstance) -> bool:
    """Whether somebody looks: the daemon of `fineface ui`, or one of one's own."""
    beats = opened.get_daemon_heartbeats().values()
    return any(time.time() - beat.timestamp < DAEMON_SECONDS for beat in beats)


def _switch(opened: DagsterInstance, profile: Profile, name: str) -> Switch:
    state = _state(opened, name)
    on = state is not None and state.is_running
    if name in automation.SCHEDULES:
        when = f"{_cron(profile, name)} ({profile.automation.time_zone})"
    elif name == automation.NEW_DATA:
        when = f"every {profile.automation.look_every} s"
    else:
        when = "after a run"
    if state is None:
        return Switch(name, on, when)
    ticks = opened.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    if not ticks:
        return Switch(name, on, when)
    tick = ticks[0]
    error = tick.error.message.strip() if tick.error is not None else None
    runs = f"began {', '.join(run[:8] for run in tick.run_ids)}" if tick.run_ids else None
    said = error if tick.status == TickStatus.FAILURE else runs or tick.skip_reason
    return Switch(name, on, when, tick.timestamp, said)


def _state(opened: DagsterInstance, name: str) -> InstigatorState | None:
    found = origin.repository().get_instigator_origin(name)
    selector = create_snapshot_id(found.get_selector())
    return opened.get_instigator_state(found.get_id(), selector)


def _cron(profile: Profile, name: str) -> str:
    settings = profile.automation
    return settings.nightly if name == automation.NIGHTLY else settings.weekly


def _new(profile: Profile, name: str) -> SensorInstigatorData:
    if name == automation.NEW_DATA:
        return SensorInstigatorData(
            min_interval=profile.automation.look_every, sensor_type=SensorType.STANDARD
        )
    return SensorInstigatorData(min_interval=30, sensor_type=SensorType.RUN_STATUS)
