"""The code location: assets, checks, jobs and resources of one profile and one home. Imports no model
package.

FINEFACE_PROFILE (default: miniature) and FINEFACE_HOME (default: .fineface) say which.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import dagster as dg

import assets
from assets import stage
from exports.openlineage import Events
from pipelines import automation, jobs, profiles, staleness
from pipelines.resources import StageTables
from settings.profile import Profile
from store import Store, file_system

DEFAULT_PROFILE, DEFAULT_HOME = "miniature", ".fineface"


def build(profile: Profile, home: Path) -> dg.Definitions:
    """The definitions of `profile` with all state under `home`."""
    store = store_of(profile, home)
    experiments = dg.StaticPartitionsDefinition(sorted(profile.experiments))
    found = assets.load(experiments)
    places = {str(folder): f"${{{name}}}" for name, folder in store.raw.items()}
    places |= {str(file_system.own(home)): "${home}", str(profiles.PROJECT): "${project}"}
    settled, late = stage.decided_by(profile, places), automation.late(profile.automation)
    events = None if profile.openlineage is None else Events(profile.openlineage)
    stages = dg.Definitions(
        assets=dg.map_asset_specs(lambda spec: late(settled(spec)), found.assets),
        asset_checks=found.checks,
        jobs=[jobs.raw, *jobs.ALL],
        resources={
            "store": store,
            "profile": profile,
            "io_manager": StageTables(store, profile.name, events),
        },
        executor=dg.in_process_executor,
    )
    parts = functools.cache(lambda: [*staleness.parts(stages, profile, store)])
    return dg.Definitions.merge(stages, automation.build(profile, home, parts))


def store_of(profile: Profile, home: Path) -> Store:
    """The store in `home`, which knows where the raw data of `profile` lies."""
    return Store(home, {f"raw_{name}": folder for name, folder in profile.raw if folder is not None})


def home_folder(home: str | os.PathLike | None = None) -> Path:
    """`home`, else FINEFACE_HOME, else `.fineface` in the working directory; absolute, or standing for an
    address."""
    return file_system.place(home or os.environ.get("FINEFACE_HOME") or DEFAULT_HOME)


@dg.definitions
def definitions() -> dg.Definitions:
    """What the Dagster tools load."""
    home = home_folder()
    return build(profiles.load(os.environ.get("FINEFACE_PROFILE") or DEFAULT_PROFILE, home), home)
