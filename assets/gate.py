"""The gate before expensive work: no training on data whose checks failed, whichever run they failed in."""

from collections.abc import Sequence

import dagster as dg
from dagster import AssetCheckKey


def blocking(checks: Sequence[dg.AssetChecksDefinition]) -> list[AssetCheckKey]:
    """The keys of the blocking ones among `checks`."""
    return [spec.key for definition in checks for spec in definition.check_specs if spec.blocking]


def refuse_on_failed(context: dg.AssetExecutionContext, keys: Sequence[AssetCheckKey]) -> None:
    """Raise dagster.Failure, not to be retried, if the latest result of one of `keys` is a failed one.

    A blocking check stops only its own run; this also stops a run that was started later, on its own. A check
    that never ran does not refuse.
    """
    latest = context.instance.event_log_storage.get_latest_asset_check_execution_by_key(list(keys))
    failed = []
    for key, record in latest.items():
        evaluation = record.evaluation if record is not None else None
        if (
            evaluation is not None
            and not evaluation.passed
            and evaluation.severity == dg.AssetCheckSeverity.ERROR
        ):
            failed.append(f"{key.name} of {key.asset_key.to_user_string()}")
    if failed:
        raise dg.Failure(
            f"refused: the latest result is a failed one for {', '.join(failed)}", allow_retries=False
        )
