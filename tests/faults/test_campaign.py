"""A few injections into the data half of the graph; the long campaign is a command (docs/failures.md)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
FIRST, FAULTS = 22, ["kill", "interpreter"]
"""What seed 16 draws."""


@pytest.mark.graph
@pytest.mark.timeout(1800)
def test_killed_and_without_an_interpreter_the_data_set_ends_as_if_undisturbed(tmp_path):
    log, seed = tmp_path / "campaign.jsonl", ["--seed", "16", "--first", str(FIRST), "--injections", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "faults.campaign", *seed, "--select", "data_set", "--log", str(log)],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 injections of seed 16: 2 ended with the tables of the undisturbed graph" in done.stdout
    assert [json.loads(line)["fault"] for line in log.open()] == FAULTS
