"""Workers in environments of their own: started through Dagster Pipes, their answers read as they come."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from dagster import PipesTempFileContextInjector, PipesTempFileMessageReader, open_pipes_session

from assets import child, retries
from inference.environments import EnvironmentUnavailable

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
    try:
        command = worker.command
    except EnvironmentUnavailable as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    log = Path(context.instance.storage_directory()) / context.run_id / f"{worker.environment}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open_pipes_session(
        context,
        context_injector=PipesTempFileContextInjector(),
        message_reader=PipesTempFileMessageReader(),
        extras={
            "requests": requests.select("key", "path", "content_hash").to_dicts(),
            "settings": dict(worker.settings),
        },
    ) as session:
        # Ours would lead the worker's python astray.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {"PYTHONNOUSERSITE": "1", **session.get_bootstrap_env_vars()}
        try:
            with closing(child.lines(command, log, environment)) as lines:
                for line in lines:
                    if (answer := _answer(line)) is not None:
                        yield answer
        except child.ChildFailed as error:
            raise retries.after(error, f"the worker {worker.environment}", context) from error


def _answer(line: str) -> dict[str, Any] | None:
    """An answer's line; None for one that a kill cut short."""
    try:
        return json.loads(line)
    except ValueError:
        return None
