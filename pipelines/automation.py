"""When stages rebuild by themselves. Off until switched on in the UI; a run by command needs none of it."""

from typing import Any

import dagster as dg

AC: Any = dg.AutomationCondition

ON_REAL_CHANGE: dg.AutomationCondition[Any] = (
    (AC.newly_missing() | AC.code_version_changed() | AC.any_deps_match(AC.data_version_changed()))
    .since_last_handled()
    .with_label("missing, new code, or upstream content changed")
    & ~AC.any_deps_missing()
    & ~AC.any_deps_in_progress()
    & ~AC.in_progress()
)
"""Data versions are content hashes, so an identical rebuild upstream (on which `eager()` fires) starts
nothing.
"""


def on_real_change(spec: dg.AssetSpec) -> dg.AssetSpec:
    """`spec`, rebuilding on real change."""
    return spec.replace_attributes(automation_condition=ON_REAL_CHANGE)


NIGHTLY = dg.ScheduleDefinition(
    name="read_raw_data_nightly", job_name="read_raw_data", cron_schedule="0 3 * * *"
)
"""Reads the raw data; what follows is up to ON_REAL_CHANGE."""
