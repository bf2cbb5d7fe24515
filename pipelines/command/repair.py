"""`fineface repair`; what is mended, and how, lives in `store.repair`."""

from __future__ import annotations

from pipelines.command.options import DEFAULT_HOME, Home, existing, say


def repair(home: Home = DEFAULT_HOME) -> None:
    """Set aside what is damaged and can be made again, and say what that was.

    Answers of models whose files are lost or cut short are forgotten; tables, memos and trained models that
    cannot be read go to `damaged/` in the home. The next run makes these alone. Nothing that can be read is
    touched, nothing outside the home.
    """
    from store import Store
    from store.repair import repair as mend

    done = mend(Store(existing(home)))
    for line in done:
        say(line)
    say("run again: it makes what is missing" if done else "nothing is damaged")
