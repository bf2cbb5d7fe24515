"""`fineface status`."""

from pipelines.command.options import DEFAULT_HOME, Home, existing, say


def status(home: Home = DEFAULT_HOME) -> None:
    """What is there: every stage's version, rows and age, the memos, the latest runs."""
    place = existing(home)
    from pipelines import overview, runs

    with runs.instance(place) as instance:
        say(overview.text(place, instance))
