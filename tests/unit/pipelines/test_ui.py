"""What `fineface ui` started ends with it, whatever ends it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).parents[3]
DAEMON = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
HEEDS = f"""
import subprocess, sys, time
daemon = subprocess.Popen([sys.executable, "-c", {DAEMON!r}])
print(daemon.pid, flush=True)
try:
    time.sleep(600)
finally:
    daemon.kill()
"""
FORGETS = HEEDS.replace("daemon.kill()", "pass")


def started(body):
    """A process that serves `body`, and the process id of the daemon that this has started."""
    call = f"serve([sys.executable, '-c', {body!r}], patience=5)"
    code = f"import sys; from pipelines.command.ui import serve; {call}"
    serving = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert serving.stdout is not None
    return serving, int(serving.stdout.readline())


def gone(pid):
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            psutil.Process(pid).kill()
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("body", [HEEDS, FORGETS], ids=["heeds", "forgets"])
def test_a_signal_ends_all_of_it(how, body):
    serving, daemon = started(body)
    serving.send_signal(how)
    assert serving.wait(30) == 0
    assert gone(daemon)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells nobody elsewhere")
def test_a_kill_ends_all_of_it():
    serving, daemon = started(HEEDS)
    serving.kill()
    assert gone(daemon)


def test_a_server_that_ends_by_itself_gives_its_code():
    call = "serve([sys.executable, '-c', 'exit(7)'])"
    code = f"import sys; from pipelines.command.ui import serve; sys.exit({call})"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 7
