"""`fineface accept`: a person's word over a failed check, into the table `acceptances` and to Dagster, where
the gate before training hears of it. What a row holds lives in `curation.acceptances`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster import AssetCheckKey, AssetCheckSeverity, DagsterInstance
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from assets import gate
from assets.data_set.acceptances import read
from curation import acceptances
from settings import nearest
from store import Store
from store.hashing import hash_frame


class NotAccepted(ValueError):
    """An acceptance that was not written; the message says why and what was close."""


def accept(
    store: Store, opened: DagsterInstance, checks: list[AssetCheckKey], name: str, author: str, reason: str
) -> str:
    """Accept what the failed check `name` (or "stage:check") of `checks` says of the table as it is; what
    that was. The next run passes over it while the table stays what it is, and compares later ones with it.

    Raises NotAccepted for a check that is not there or has not failed.
    """
    key = _named(checks, name)
    evaluation = gate.failed(opened, key)
    stage = key.asset_key.to_user_string()
    if evaluation is None:
        raise NotAccepted(f"{key.name} of {stage} has not failed: its latest result stops nothing")
    said = {key: value.value for key, value in evaluation.metadata.items()}
    if gate.CONTENT not in said:
        raise NotAccepted(f"the latest result of {key.name} does not say which table it is about: run again")
    told = "; ".join(
        f"{what} {_text(value)}" for what, value in said.items() if what not in gate.FOR_MACHINES
    )
    try:
        now = datetime.now(UTC)
        row = acceptances.acceptance(key.name, stage, str(said[gate.CONTENT]), told, author, reason, now)
    except ValueError as error:
        raise NotAccepted(str(error)) from None
    store.append(acceptances.TABLE, row)
    metadata: dict[str, Any] = {
        **evaluation.metadata,
        gate.ACCEPTED: author.strip(),
        "reason": reason.strip(),
    }
    opened.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=False,
            metadata=metadata,
            severity=AssetCheckSeverity.WARN,
            blocking=evaluation.blocking,
        )
    )
    version = hash_frame(read(store))
    opened.report_runless_asset_event(
        dg.AssetMaterialization(acceptances.TABLE, tags={DATA_VERSION_TAG: version})
    )
    return f"{key.name} of {stage}: {told}"


def listed(store: Store) -> str:
    """Every acceptance as a line, oldest first."""
    lines = [
        f"{row['time']:%Y-%m-%d %H:%M:%S} UTC  {row['check']}  {row['author']}: "
        f"{' '.join(row['reason'].split())}  ({row['said']})"
        for row in read(store).to_dicts()
    ]
    return "\n".join(lines) or f"no acceptances in {store.home}"


def _named(checks: list[AssetCheckKey], name: str) -> AssetCheckKey:
    full = {f"{key.asset_key.to_user_string()}:{key.name}": key for key in checks}
    found = [key for text, key in full.items() if name in (text, key.name)]
    if len(found) > 1:
        raise NotAccepted(f"several stages have a check {name}: say STAGE:{name}")
    if not found:
        close = nearest.hint(name, [key.name for key in checks])
        raise NotAccepted(f"no check {name!r}{close or '; `fineface status` names those that failed'}")
    return found[0]


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else " ".join(str(value).split())
