"""Which versions must be kept for the newest ones to be explained, and what pruning the others would cost in
answers. Bytes are counted in `store.history`.
"""

from collections.abc import Iterable, Iterator

from provenance.moments import Moment
from store import Store
from store.history import Cost

TRAINED = "trained_model"


def needed(store: Store, keep: int) -> dict[str, set[int]]:
    """The newest `keep` versions of every table, and those that these were made from, and so on."""
    moment = Moment(store)
    waiting = [(stage, commit.version) for stage in store.stages() for commit in moment.history(stage)[:keep]]
    found: dict[str, set[int]] = {}
    while waiting:
        stage, version = waiting.pop()
        if version in found.setdefault(stage, set()):
            continue
        found[stage].add(version)
        commit = next((one for one in moment.history(stage) if one.version == version), None)
        waiting += commit.upstream.items() if commit else ()
    return found


def questions_lost(store: Store, costs: Iterable[Cost]) -> Iterator[str]:
    """What could no longer be told: of former models, on which labels they were trained; of runs, what they
    left."""
    moment, gone = Moment(store), {(one.stage, version) for one in costs for version in one.versions}
    runs = {
        commit.run_id
        for stage in store.stages()
        for commit in moment.history(stage)
        if (stage, commit.version) in gone and commit.run_id
    }
    if runs:
        yield f"what {len(runs)} runs left can no longer be asked for: {', '.join(sorted(runs))}"
    for stage in store.stages(TRAINED):
        for commit in moment.history(stage):
            used = commit.upstream.get("training_set")
            if used is not None and ("training_set", used) in gone:
                yield (
                    f"version {commit.version} of {stage}: the labels that it was trained on "
                    f"(training_set version {used}) can no longer be told"
                )
