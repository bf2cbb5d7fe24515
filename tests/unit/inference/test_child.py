"""Programs run as children: their lines, their failures, and that none outlives its parent."""

import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from inference import child

PROJECT = Path(__file__).parents[3]
PYTHON = [sys.executable, "-u", "-c"]


def gone(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_lines_come_as_they_are_written(tmp_path):
    code = "import time; print('one'); time.sleep(30)"
    lines = child.lines([*PYTHON, code], tmp_path / "log")
    began = time.monotonic()
    assert next(lines) == "one"
    lines.close()
    assert time.monotonic() - began < 20


def test_standard_error_goes_to_the_log_and_the_environment_is_ours(tmp_path):
    code = "import os, sys; print('said', file=sys.stderr); print(os.environ['WORD'])"
    lines = child.lines([*PYTHON, code], tmp_path / "log", os.environ | {"WORD": "hello"})
    assert list(lines) == ["hello"]
    assert (tmp_path / "log").read_text() == "said\n"


def test_a_failure_has_its_code_and_the_last_words_of_this_run(tmp_path):
    (tmp_path / "log").write_text("an older run\n")
    with pytest.raises(child.ChildFailed, match="the reason") as failed:
        list(child.lines([*PYTHON, "raise SystemExit('the reason')"], tmp_path / "log"))
    assert failed.value.code == 1 and "an older run" not in str(failed.value)


def test_lines_go_both_ways_and_reading_goes_on_where_it_was_left(tmp_path):
    code = "import sys\nfor line in sys.stdin: print(line.strip().upper())"
    with closing(child.Child([*PYTHON, code], tmp_path / "log")) as talker:
        heard = []
        for word in ("one", "two", "three"):
            talker.write(word)
            heard.append(next(talker.lines()))
    assert heard == ["ONE", "TWO", "THREE"]


def test_a_program_that_has_ended_says_so_to_who_reads_not_to_who_writes(tmp_path):
    with closing(child.Child([*PYTHON, "raise SystemExit(3)"], tmp_path / "log")) as gone:
        gone._process.wait()
        gone.write("a word")
        with pytest.raises(child.ChildFailed) as failed:
            next(gone.lines())
    assert failed.value.code == 3 and not failed.value.killed
    assert str(pickle.loads(pickle.dumps(failed.value))) == str(failed.value)


def test_who_stops_reading_ends_the_child_and_what_it_started(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(p.pid); time.sleep(60)"
    )
    lines = child.lines([*PYTHON, code], tmp_path / "log")
    grandchild = int(next(lines))
    lines.close()
    assert gone(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_the_child_dies_with_its_parent_even_by_kill_9(tmp_path):
    inner = "import os, time; print(os.getpid()); time.sleep(60)"
    code = (
        "import sys; from pathlib import Path; from inference import child\n"
        f"command, log = [sys.executable, '-u', '-c', {inner!r}], Path({str(tmp_path / 'log')!r})\n"
        "for line in child.lines(command, log):\n"
        "    print(line, flush=True)"
    )
    parent = subprocess.Popen([*PYTHON, code], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(pid)
