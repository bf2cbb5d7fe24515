"""`fineface check`; what is looked at is gathered in `pipelines.preflight`."""

from __future__ import annotations

from pipelines.command.options import (
    DEFAULT_HOME,
    DEFAULT_PROFILE,
    Experiments,
    Groups,
    Home,
    ProfileName,
    Seeds,
    Select,
    fail,
    load,
    say,
)


def check(
    profile: ProfileName = DEFAULT_PROFILE,
    select: Select = None,
    experiments: Groups = None,
    experiment: Experiments = None,
    seeds: Seeds = None,
    home: Home = DEFAULT_HOME,
) -> None:
    """What a run would need, how much it would train and draw, whether what it needs is there, and how to get
    what is not. Computes and writes nothing.
    """
    settings, place = load(profile, home, True, experiments, seeds)
    from pipelines import preflight, runs

    found = preflight.check(runs.plan(settings, place, select, experiment or ()))
    say(preflight.text(found, everything=True))
    if missing := sum(one.missing for one in found):
        fail(f"\n{missing} missing")
    say("\nnothing is missing")
