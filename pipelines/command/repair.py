"""`fineface repair`; what is mended, and how, lives in `store.repair`."""

from __future__ import annotations

from pipelines.command.options import DEFAULT_HOME, Home, existing, say


def repair(home: Home = DEFAULT_HOME) -> None:
    """Set aside what is damaged, and say what that was.

    Damaged files of answers and of overrides, tables and trained models that cannot be read go to
    `damaged/` in the home. The next run makes these alone; overrides nothing makes again, so it says how
    many are lost. Nothing that can be read is touched, nothing outside the home.
    """
    from store import Store
    from store.repair import repair as mend

    done = mend(Store(existing(home)))
    for line in done:
        say(line)
    say("run again: it makes what is missing" if done else "nothing is damaged")
