"""A few injections into the data half of the graph; the long campaign is a command (docs/failures.md)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.mark.graph
@pytest.mark.timeout(900)
def test_a_short_campaign_ends_with_the_tables_of_the_undisturbed_graph(tmp_path):
    log = tmp_path / "campaign.jsonl"
    command = [sys.executable, "-m", "faults.campaign", "--seed", "16", "--injections", "3"]
    done = subprocess.run(
        [*command, "--select", "data_set", "--log", str(log)],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 injections of seed 16: 3 ended with the tables of the undisturbed graph" in done.stdout
    assert len(log.read_text().splitlines()) == 3
