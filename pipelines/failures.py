"""Who is told of a run that failed, besides the log: the user's own program, the user's own address."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Mapping

from settings.automation import Failure

SECONDS = 30
"""How long a program or an address may take."""


def tell(failure: Failure, what: Mapping[str, object], say: Callable[[str], None]) -> None:
    """Tell whom `failure` names of `what`, as JSON. What does not work is said through `say`, not raised: the
    other is told all the same."""
    text = json.dumps(what, default=str)
    if failure.command is not None:
        try:
            done = subprocess.run(
                failure.command, input=text, text=True, capture_output=True, timeout=SECONDS, check=False
            )
            if done.returncode:
                say(f"{failure.command[0]} ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
        except (OSError, subprocess.TimeoutExpired) as error:
            say(f"{failure.command[0]} did not run: {error}")
    if failure.webhook is not None:
        request = urllib.request.Request(
            failure.webhook, text.encode(), {"Content-Type": "application/json"}, method="POST"
        )
        try:
            urllib.request.urlopen(request, timeout=SECONDS).close()
        except OSError as error:  # URLError and HTTPError are
            say(f"{failure.webhook} was not reached: {error}")
