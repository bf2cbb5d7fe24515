"""The command's manners: help, and one plain line instead of a traceback for what a user can get wrong."""

import json
import os

import pytest
from tiny_raw import picture, write
from typer.testing import CliRunner

from pipelines.command import app

runner = CliRunner()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setenv("COLUMNS", "200")


def test_help_names_every_command():
    shown = runner.invoke(app, ["--help"])
    assert shown.exit_code == 0
    for command in ("run", "status", "inspect", "ui", "why", "miniature"):
        assert command in shown.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--profile", "nothing"], "no profile 'nothing'"),
        (["status", "--profile", "nothing"], "no profile 'nothing'"),
        (["run", "--select", "nonsense"], "'nonsense' selects nothing; there are annotator_agreement, "),
        (["run", "--experiment", "nobody"], "no experiment nobody; there are fineface, sd"),
        (["why", "affectnet/1/x.jpg"], "no stage of"),
        (["inspect", "/nowhere"], "no folder /nowhere"),
        (["inspect", "/", "--profile", "nothing"], "no profile 'nothing'"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
    for source in ("affectnet", "disfa"):
        (tmp_path / "raw" / source).mkdir(parents=True)
    done = runner.invoke(app, [*arguments, "--home", str(tmp_path)])
    assert done.exit_code == 1
    assert message in done.output and "Traceback" not in done.output


def test_a_failed_stage_says_why_and_that_running_again_goes_on(tmp_path):
    for source in ("affectnet", "disfa"):
        (tmp_path / "raw" / source).mkdir(parents=True)
    done = runner.invoke(app, ["run", "--home", str(tmp_path), "--select", "raw_affectnet"])
    assert done.exit_code == 1
    assert "raw_affectnet FAILED: " in done.output and str(tmp_path / "raw" / "affectnet") in done.output
    assert "failed: data_set" in done.output and "run again" in done.output
    assert "Traceback" not in done.output


def test_status_of_an_empty_home(tmp_path):
    done = runner.invoke(app, ["status", "--home", str(tmp_path)])
    assert done.exit_code == 0 and "stage  version" in done.output


def test_inspect_tells_what_is_there_and_what_a_run_would_do(tmp_path):
    """The paper's profile, without the variables that a run needs; with --home hashes are remembered."""
    for name, side in (("a.png", 600), ("again.png", 600), ("small.png", 100)):
        write(tmp_path / "portraits" / name, picture(1, side, side))
    folder, home = str(tmp_path / "portraits"), tmp_path / "home"
    done = runner.invoke(app, ["inspect", folder])
    assert done.exit_code == 0 and not home.exists(), done.output
    assert "folder of pictures" in done.output and "2 of 3 reach 512" in done.output
    assert "folder/a.png = folder/again.png" in done.output
    assert "resolution" in done.output and "1 too small" in done.output
    done = runner.invoke(app, ["inspect", folder, "--json", "--home", str(home)])
    assert json.loads(done.output)["calls"] == {"photorealism": 1, "au_annotation": 1, "captions": 1}
    assert (home / "memo" / "file_hashes").is_dir()
