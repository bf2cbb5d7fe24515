"""`fineface repair`; how a memo forgets what is damaged lives in `store.memo`."""

from __future__ import annotations

from pipelines.command.options import DEFAULT_HOME, Home, existing, fail, say


def repair(home: Home = DEFAULT_HOME) -> None:
    """Forget what is damaged and can be made again, and say which tables a run has to write anew.

    Answers of models whose files are lost or cut short are forgotten; the next run asks for these alone.
    Nothing that can be read is touched, nothing outside the home.
    """
    from store import Store, StoreError

    store = Store(existing(home))
    left = 0
    for name in sorted(log.parent.name for log in (store.home / "memo").glob("*/_delta_log")):
        try:
            forgotten = store.memo(name).repair()
        except StoreError as error:
            left += 1
            say(f"memo {name}: {error}")
            continue
        if forgotten:
            say(f"memo {name}: {len(forgotten)} damaged files forgotten; what they held is asked for again")
    for stage in store.stages():
        try:
            store.read(stage)
        except StoreError as error:
            left += 1
            say(f"table {stage}: {error}\n  → fineface run --select {stage.partition('/')[0]} writes it anew")
    if left:
        fail(f"{left} damaged and not mended here")
    say("nothing that is left is damaged")
