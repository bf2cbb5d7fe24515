"""The gate before expensive work: no training on data whose checks failed, whichever run they failed in."""

from collections.abc import Sequence

import dagster as dg
from dagster import AssetCheckKey
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status


def blocking(checked: Sequence[dg.AssetsDefinition]) -> list[AssetCheckKey]:
    """The keys of the blocking ones among the checks of assets, and checks on their own."""
    return [spec.key for definition in checked for spec in definition.check_specs if spec.blocking]


def refuse_on_failed(context: dg.AssetExecutionContext, keys: Sequence[AssetCheckKey]) -> None:
    """Raise dagster.Failure, not to be retried, if the latest completed result of one of `keys` is a failed
    one.

    A blocking check stops only its own run; this also stops a run that was started later, on its own. A check
    that never ran does not refuse; one that a run planned and did not come to says nothing.
    """
    failed = [f"{key.name} of {key.asset_key.to_user_string()}" for key in keys if _failed(context, key)]
    if failed:
        raise dg.Failure(
            f"refused: the latest result is a failed one for {', '.join(failed)}", allow_retries=False
        )


def _failed(context: dg.AssetExecutionContext, key: AssetCheckKey) -> bool:
    completed = context.instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status={Status.SUCCEEDED, Status.FAILED}
    )
    evaluation = completed[0].evaluation if completed else None
    return (
        evaluation is not None
        and not evaluation.passed
        and evaluation.severity == dg.AssetCheckSeverity.ERROR
    )
