"""Gates before expensive work: checks that compare new data with what was accepted last, what a person
accepted in spite of its check, and no training on data whose checks failed, whichever run they failed in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
from dagster import AssetCheckKey, AssetCheckSeverity, DagsterInstance
from dagster._core.errors import DagsterInvariantViolationError
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status

import stages
from curation import drift
from settings.profile import Gates
from store.hashing import fingerprint, hash_frame

SHARE, DRIFT = "{}_keeps_its_share", "{}_is_distributed_as_before"
LABELS = ("au_annotation", "training_set")
"""The stages whose distributions of AUs are watched: as read, and as trained on."""
CONTENT, ACCEPTED, COUNTS, CODE = "content", "accepted_by", "counts", "code"
"""Metadata of a check: the hash of the table that it judged, who accepted it all the same, what was counted,
and under which code and settings."""
FOR_MACHINES = frozenset({CONTENT, COUNTS, CODE})
"""Those of them that say nothing of what is wrong."""
HISTORY = 100
"""Results looked back at."""


def specs(declared: stages.Stage) -> list[dg.AssetCheckSpec]:
    """The checks of a stage's table that `watch` gives results of."""
    return [
        dg.AssetCheckSpec(name, asset=declared.name, blocking=True, description=description)
        for name, description, _ in _watched(declared)
    ]


def watch(declared: stages.Stage, table: pl.DataFrame, gates: Gates) -> list[dg.AssetCheckResult]:
    """Compares `table` with what the same checks accepted last in this Dagster instance: the shares that a
    filter keeps, the distributions of its AUs. The first time, nothing is compared.

    Where code or settings of the stage or of one before it have changed since, a move is to be expected: it
    is a warning, and the new state is the one to compare with.
    """
    found = []
    for name, _, compare in _watched(declared):
        counts, code = compare[0](table), _code()
        before = _accepted(AssetCheckKey(dg.AssetKey(declared.name), name))
        complaints = compare[1](counts, before.get(COUNTS, {}), gates)
        changed = before.get(CODE, code) != code
        found.append(
            dg.AssetCheckResult(
                check_name=name,
                passed=not complaints,
                severity=AssetCheckSeverity.WARN if changed else AssetCheckSeverity.ERROR,
                metadata={
                    "compared": "nothing: the first" if not before else "other code or settings" * changed,
                    "moved": complaints or "nothing",
                    COUNTS: dg.MetadataValue.json(counts),
                    CODE: code,
                },
            )
        )
    return found


def unwatched(declared: stages.Stage) -> list[dg.AssetCheckResult]:
    """In the place of `watch`, of a table that is not as declared: nothing can be compared."""
    return [
        dg.AssetCheckResult(
            check_name=name,
            passed=False,
            severity=AssetCheckSeverity.WARN,
            metadata={"compared": "nothing: the table is not as declared"},
        )
        for name, _, _ in _watched(declared)
    ]


def _watched(declared: stages.Stage) -> list[tuple[str, str, tuple[Callable, Callable]]]:
    if declared.group != stages.Group.DATA_SET:
        return []
    found: list[tuple[str, str, tuple[Callable, Callable]]] = []
    if declared.filters:
        said = "Of every source about the share is kept that was kept of the data accepted last."
        found.append((SHARE.format(declared.name), said, (drift.shares, _moved)))
    if declared.name in LABELS:
        said = "AU intensities are distributed as in the data accepted last."
        found.append((DRIFT.format(declared.name), said, (drift.histograms, _drifted)))
    return found


def _moved(now: Any, before: Any, gates: Gates) -> list[str]:
    return drift.moved(now, before, gates.kept_share)


def _drifted(now: Any, before: Any, gates: Gates) -> list[str]:
    return drift.drifted(now, before, gates.au_drift)


def _code() -> str:
    """The code versions of the stage at work and of all before it, which settings are part of."""
    try:
        context = dg.AssetExecutionContext.get()
    except DagsterInvariantViolationError:
        return ""
    graph = context.job_def.asset_layer.asset_graph
    keys = graph.get_ancestor_asset_keys(context.asset_key) | {context.asset_key}
    return fingerprint(versions={key.path[-1]: graph.get(key).code_version for key in sorted(keys)})


def _accepted(key: AssetCheckKey) -> dict[str, Any]:
    """The metadata of the latest result of a check that did not stop a run; empty outside of one."""
    for evaluation in _history(_instance(), key):
        stopped = not evaluation.passed and evaluation.severity == AssetCheckSeverity.ERROR
        if not stopped and COUNTS in evaluation.metadata:
            return {name: value.value for name, value in evaluation.metadata.items()}
    return {}


def _instance() -> DagsterInstance | None:
    for kind in (dg.AssetExecutionContext, dg.AssetCheckExecutionContext):
        try:
            return kind.get().instance
        except DagsterInvariantViolationError:
            continue
    return None


def _history(instance: DagsterInstance | None, key: AssetCheckKey, limit: int = HISTORY) -> list[Any]:
    """The completed results of a check, newest first."""
    if instance is None:
        return []
    records = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=limit, status={Status.SUCCEEDED, Status.FAILED}
    )
    return [record.evaluation for record in records if record.evaluation is not None]


def judged(
    result: dg.AssetCheckResult, key: AssetCheckKey, table: pl.DataFrame | None
) -> dg.AssetCheckResult:
    """`result` of the check `key`, as it counts: a failed one names the content that it is about, and is a
    warning where a person has accepted just that (`fineface accept`)."""
    if result.passed or result.severity != AssetCheckSeverity.ERROR:
        return result
    told = {name: str(getattr(value, "value", value)) for name, value in result.metadata.items()}
    content = hash_frame(table) if table is not None else fingerprint(said=json.dumps(told, sort_keys=True))
    marked: Mapping[str, Any] = {**result.metadata, CONTENT: content}
    for evaluation in _history(_instance(), key):
        known = {name: value.value for name, value in evaluation.metadata.items()}
        if ACCEPTED in known and known.get(CONTENT) == content:
            marked = {**marked, ACCEPTED: known[ACCEPTED], "reason": known.get("reason", "")}
            return result._replace(metadata=marked, severity=AssetCheckSeverity.WARN)
    return result._replace(metadata=marked)


def failed(instance: DagsterInstance, key: AssetCheckKey) -> dg.AssetCheckEvaluation | None:
    """The latest completed result of a check, if it is a failed one that stops."""
    for evaluation in _history(instance, key, limit=1):
        if not evaluation.passed and evaluation.severity == AssetCheckSeverity.ERROR:
            return evaluation
    return None


def blocking(checked: Sequence[dg.AssetsDefinition]) -> list[AssetCheckKey]:
    """The keys of the blocking ones among the checks of assets, and checks on their own."""
    return [spec.key for definition in checked for spec in definition.check_specs if spec.blocking]


def refuse_on_failed(context: dg.AssetExecutionContext, keys: Sequence[AssetCheckKey]) -> None:
    """Raise dagster.Failure, not to be retried, if the latest completed result of one of `keys` is a failed
    one.

    A blocking check stops only its own run; this also stops a run that was started later, on its own. A check
    that never ran does not refuse; one that a run planned and did not come to says nothing.
    """
    told = [
        f"{key.name} of {key.asset_key.to_user_string()}" for key in keys if failed(context.instance, key)
    ]
    if told:
        raise dg.Failure(
            f"refused: the latest result is a failed one for {', '.join(told)}; mend the data, or "
            f"`fineface accept CHECK --reason …`",
            allow_retries=False,
        )
