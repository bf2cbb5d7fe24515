"""`fineface check`; what is looked at is gathered in `pipelines.preflight`."""

from __future__ import annotations

from pipelines.command.options import (
    DEFAULT_HOME,
    DEFAULT_PROFILE,
    Experiments,
    Home,
    ProfileName,
    Select,
    fail,
    load,
    say,
)


def check(
    profile: ProfileName = DEFAULT_PROFILE,
    select: Select = None,
    experiment: Experiments = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """What a run would need, whether it is there, and how to get what is not. Computes and writes nothing."""
    settings, place = load(profile, home, keep_unset=True)
    from pipelines import preflight, runs

    found = preflight.check(runs.plan(settings, place, select, experiment or ()))
    say(preflight.text(found, everything=True))
    if missing := sum(one.missing for one in found):
        fail(f"\n{missing} missing")
    say("\nnothing is missing")
