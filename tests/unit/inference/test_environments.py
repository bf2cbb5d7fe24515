"""Environments of their own: where they are looked for, when they count as whole, and how they are made.

`pip` and `venv` are stood in for; that a real one can be made is tested where one is (test_libreface.py).
"""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inference import environments
from inference.environments import EnvironmentUnavailable
from pipelines.command import app

PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No environment of this machine is seen."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in environments.NAMES:
        monkeypatch.delenv(environments.variable(name), raising=False)


@pytest.fixture
def commands(monkeypatch):
    """Commands in place of being run; `venv` leaves a python behind."""
    ran = []

    def run(command):
        ran.append(command)
        if "venv" in command:
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.write_text("")
            python.chmod(0o755)

    monkeypatch.setattr(environments, "_interpreter", lambda: "python3.11")
    monkeypatch.setattr(environments, "_run", run)
    return ran


def make(name="libreface", path=None):
    said = []
    return environments.create(name, path, say=said.append), said


def test_it_is_looked_for_where_the_variable_says_else_in_the_cache(tmp_path, monkeypatch):
    assert environments.folder("lavis") == tmp_path / "cache" / "fineface" / "environments" / "lavis"
    monkeypatch.setenv("FINEFACE_LAVIS_ENVIRONMENT", str(tmp_path / "mine"))
    assert environments.folder("lavis") == tmp_path / "mine"


def test_a_missing_environment_names_the_command_and_the_variable():
    with pytest.raises(EnvironmentUnavailable) as missing:
        environments.python("libreface")
    assert "'fineface environment create libreface'" in str(missing.value)
    assert "FINEFACE_LIBREFACE_ENVIRONMENT" in str(missing.value)


def test_creation_installs_torch_first_and_the_rest_by_hash(commands):
    folder, said = make()
    assert environments.python("libreface") == folder / "bin" / "python"
    installed = [command[command.index("--no-input") + 1 :] for command in commands[1:]]
    assert installed[:2] == [["torch==2.13.0"], ["--no-deps", "torchvision==0.16.2"]]
    assert "--require-hashes" in installed[2] and installed[2][-1].endswith("libreface.txt")
    assert said[-1].startswith(f"made {folder}")
    again, said = make()
    assert again == folder and len(commands) == 4 and said == [f"{folder} is whole and current"]


def test_an_interrupted_creation_is_no_environment_and_is_begun_anew(commands, monkeypatch):
    run = environments._run

    def interrupted(command):
        run(command)
        if "--require-hashes" in command:
            raise KeyboardInterrupt

    monkeypatch.setattr(environments, "_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make()
    with pytest.raises(EnvironmentUnavailable, match="unfinished: run 'fineface environment create"):
        environments.python("libreface")
    monkeypatch.setattr(environments, "_run", run)
    folder, _ = make()
    assert environments.python("libreface").is_relative_to(folder)


def test_other_requirements_or_a_lost_python_make_it_outdated(commands, monkeypatch):
    folder, _ = make()
    (folder / "bin" / "python").unlink()
    with pytest.raises(EnvironmentUnavailable, match="lost its python"):
        environments.python("libreface")
    make()
    monkeypatch.setattr(environments, "TORCHVISION", "torchvision==9.9")
    with pytest.raises(EnvironmentUnavailable, match="other requirements"):
        environments.python("libreface")


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path, commands):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds something else"):
        make(path=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists() and not commands


def test_two_makers_take_turns_and_the_second_finds_it_made(commands):
    makers = [threading.Thread(target=make) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len(commands) == 4


def test_what_pip_says_is_passed_on():
    with pytest.raises(EnvironmentUnavailable, match=r"(?s)-c .* failed:\n.*no such wheel"):
        environments._run([sys.executable, "-c", "raise SystemExit('no such wheel')"])


def test_the_wheels_python_is_asked_for_when_it_is_not_there(monkeypatch):
    monkeypatch.setattr(environments, "PYTHON", "python2.9")
    with pytest.raises(EnvironmentUnavailable, match=r"python2\.9"):
        environments.create("libreface", say=print)


@pytest.mark.parametrize("name", [n for n in environments.NAMES if (environments.HERE / f"{n}.txt").exists()])
def test_every_requirement_is_pinned_and_hashed_and_torch_is_not_among_them(name):
    text = (environments.HERE / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=[a-z])", text.split("\n", 2)[2])
    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[a-z0-9_.-]+==\S+ ", entry) and "--hash=sha256:" in entry, entry
    pins = environments.pins(name)
    assert not {"torch", "torchvision", "torchaudio"} & set(pins)


@pytest.mark.parametrize("script", sorted(environments.HERE.glob("*.py")), ids=lambda path: path.name)
def test_what_runs_in_foreign_environments_imports_nothing_of_this_project(script):
    if script.name == "__init__.py":
        return
    code = f"import sys; sys.path[:0] = [{str(script.parent)!r}]; import {script.stem}"
    environment = {"PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, "-I", "-c", code], env=environment, cwd="/", check=True)


def test_the_commands_say_where_things_are_and_what_is_wrong(tmp_path, commands):
    runner = CliRunner()
    listed = runner.invoke(app, ["environment", "list"]).output
    assert re.search(r"libreface is not in .*libreface\n", listed) and "lavis is not in" in listed
    made = runner.invoke(app, ["environment", "create", "libreface", "--path", str(tmp_path / "here")])
    assert f"FINEFACE_LIBREFACE_ENVIRONMENT={tmp_path / 'here'}" in made.output
    runner.invoke(app, ["environment", "create", "libreface"])
    assert "libreface is ready in" in runner.invoke(app, ["environment", "list"]).output
    refused = runner.invoke(app, ["environment", "create", "openface"])
    assert refused.exit_code == 1 and "there are lavis, libreface" in refused.output
