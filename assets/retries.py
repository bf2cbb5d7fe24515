"""When a stage may begin again: where its process was killed from outside. An error of the code or of the
data would only come again.
"""

import logging

import dagster as dg

from inference.child import KILLED, ChildFailed

RETRIES, WAIT_SECONDS = 3, 5
"""How often a stage begins again, and after how long; what it had computed is kept."""


def after(error: ChildFailed, who: str, log: logging.Logger) -> dg.RetryRequested | dg.Failure:
    """What to raise from `error`, by which `who` ended: a retry if it was killed (by the kernel for its
    memory, by a person), else a failure that is not retried.
    """
    if error.killed:
        log.warning(f"{who} was killed by signal {abs(error.code) % KILLED}")
        return dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=WAIT_SECONDS)
    return dg.Failure(f"{who}: {error}", allow_retries=False)
