"""When a stage begins again, and after how long: where its process was killed from outside, and where what it
lacked may be there a little later. An error of the code or of the data, a full disk, or too little memory
would only come again.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from inference.child import KILLED, ChildFailed
from store.errors import Locked, Outrun, Unreachable

RETRIES, WAIT_SECONDS, LONGER = 3, 5, 4
"""How often a stage begins again, after how long first, and how many times longer each time: 5, 20, 80
seconds. What it had computed is kept."""

PASSING = (
    *(errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOLCK),
    *(errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENFILE, errno.EMFILE),
)
"""Error numbers of a disk, a share or a network that is away for a moment."""
NETWORK = ("httpx", "httpcore", "requests", "urllib3", "huggingface_hub")
BUSY = (429, 500, 502, 503, 504)
"""HTTP's ways to say: later."""


def after(error: ChildFailed, who: str, context: dg.AssetExecutionContext) -> dg.RetryRequested | dg.Failure:
    """What to raise from `error`, by which `who` ended: a retry if it was killed (by the kernel for its
    memory, by a person), else a failure that is not retried.
    """
    if error.killed:
        signal = abs(error.code) % KILLED
        return _again(f"{who} was killed by signal {signal}", context.retry_number, context.log)
    return dg.Failure(f"{who}: {error}", allow_retries=False)


@contextmanager
def where_it_helps(tried: Callable[[], int], log: logging.Logger) -> Iterator[None]:
    """Raises a retry in the place of an error of the block after which one may help; `tried` says how often
    the step began again so far, and is asked only then: a stage that is called by itself does not know."""
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:
        if not passes(error):
            raise
        raise _again(f"{type(error).__name__}: {error}", tried(), log) from error


def passes(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, may not come again with nothing changed."""
    while error is not None:
        if isinstance(error, Locked | Outrun | ConnectionError | TimeoutError):
            return True
        if isinstance(error, Unreachable) and type(error.__cause__).__name__ == "GenericError":
            return True  # obstore's class for what is neither absent nor refused
        if isinstance(error, OSError) and error.errno in PASSING:
            return True
        if type(error).__module__.partition(".")[0] in NETWORK and _is_away(error):
            return True
        error = error.__cause__
    return False


def _is_away(error: BaseException) -> bool:
    """Of an error of an HTTP client: nobody answered, or said to come later."""
    response = getattr(error, "response", None)
    if response is not None:
        return response.status_code in BUSY
    return any(one.__name__ in ("TransportError", "ConnectionError", "Timeout") for one in type(error).mro())


def _again(why: str, retry_number: int, log: logging.Logger) -> dg.RetryRequested:
    seconds = WAIT_SECONDS * LONGER**retry_number
    if retry_number < RETRIES:
        log.warning(f"{why}; again in {seconds} s ({retry_number + 1} of {RETRIES})")
    return dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=seconds)
