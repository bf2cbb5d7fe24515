"""Workers in environments of their own, as parts of a run: their log, and what comes of their failures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets import retries
from inference.child import ChildFailed
from inference.environments import EnvironmentUnavailable
from inference.running import Running

if TYPE_CHECKING:
    from inference.environments import Worker


def answers(
    context: dg.AssetExecutionContext, worker: Worker, requests: pl.DataFrame
) -> Iterator[dict[str, Any]]:
    """What `worker` says about each of `requests` (key, path, content_hash), as it comes; its log goes
    into the run's.

    Raises RetryRequested when the worker was killed (by the kernel for its memory, by a person), and Failure
    when it failed of itself or its environment is not there: then trying again would not help.
    """
    log = Path(context.instance.storage_directory()) / context.run_id / f"{worker.environment}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with closing(Running(worker, log, context.log.info)) as running:
        try:
            yield from running.answers(requests)
        except EnvironmentUnavailable as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        except ChildFailed as error:
            raise retries.after(error, f"the worker {worker.environment}", context) from error
