"""The whole graph in the tiny world, by command, in processes of its own: again, with new data, and killed.

The tiny models are random, so numbers mean nothing here; what is computed, reused and kept is what counts.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
import tiny_world
from tiny_world import finished, tables

import stages
from miniature import raw
from reasons import Reason
from store import Store

PROJECT = tiny_world.PROJECT
PATIENCE = 900
STAGE = re.compile(r"^  (\w+) +[\d,]+ rows .*?([\d,]+) model calls, ([\d,]+) reused", re.MULTILINE)

pytestmark = [pytest.mark.graph, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Run:
    """What a run by command printed, and its model calls (made, reused) by stage; experiments add up."""

    output: str
    calls: dict[str, tuple[int, int]]

    @property
    def total(self):
        return int(re.search(r"model calls: ([\d,]+) made", self.output)[1].replace(",", ""))

    @property
    def trained(self):
        return int(re.search(r"training steps: ([\d,]+)", self.output)[1].replace(",", ""))


def run(profile, home, *options):
    return read(finished(tiny_world.start(profile, home, *options, log=subprocess.PIPE)))


def read(output):
    calls = {}
    for stage, made, reused in STAGE.findall(output):
        before = calls.get(stage, (0, 0))
        counts = int(made.replace(",", "")), int(reused.replace(",", ""))
        calls[stage] = before[0] + counts[0], before[1] + counts[1]
    return Run(output, calls)


def kill_when(moment, profile, home):
    """Start a run, kill -9 it as soon as `moment()` is true, and see that it was still running."""
    log = home.with_suffix(".log").open("w")
    process = tiny_world.start(profile, home, log=log)
    deadline = time.monotonic() + PATIENCE
    while not moment():
        assert process.poll() is None, (
            "the run ended before its moment to be killed: " + Path(log.name).read_text()
        )
        assert time.monotonic() < deadline, Path(log.name).read_text()
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def undisturbed(first_run):
    """A first run, and its home."""
    output, home = first_run
    return read(output), home


def test_one_command_ends_with_results_and_report(undisturbed):
    first, home = undisturbed
    photographs = Store(home).read("resolution").filter("keep").height
    pictures = Store(home).read("training_set").height
    assert first.calls["photorealism"] == (photographs, 0)
    assert first.calls["au_annotation"] == (photographs, 0)
    assert first.calls["captions"] == (pictures, 0) and first.calls["latents"] == (pictures, 0)
    assert first.trained == 12
    scores = Store(home).read("au_scores/fineface")
    assert scores.group_by("judge", "kind").len().sort("judge", "kind").rows() == [
        (judge, kind, count)
        for judge in ("labeller", "second")
        for kind, count in (("beyond", 24), ("combination", 50), ("individual", 60), ("no_au", 12))
    ]
    results = Store(home).read("results")
    assert set(results["experiment"]) == {"fineface", "sd"}
    assert {"kid", "fid"} <= set(results["metric"]) and "same_person" not in results["metric"]
    frames = Store(home).read("raw_disfa").filter("keep").height
    assert first.calls["disfa_readings"] == (frames, 0)
    assert first.calls["annotator_agreement"] == (photographs + frames, 0)
    agreement = Store(home).read("annotator_agreement")
    assert agreement.select("pictures", "first", "second").unique().height == 4
    (judge,) = scores.filter(judge="second")["fingerprint"].unique()
    assert judge != Store(home).read("au_annotation")["fingerprint"][0], "the labeller does not judge"
    assert "A second estimator judges" in (home / "report.html").read_text()
    assert "AU-MSE prompted" in first.output
    report = home / "report.html"
    assert f"report: {report}" in first.output and report.stat().st_size > 100_000
    assert "http://" not in (text := report.read_text()) and "data:image/png;base64" in text
    assert str(home.parent) not in text and str(PROJECT) not in text, "a path of this machine"


def test_every_commit_says_what_made_it(undisturbed):
    _, home = undisturbed
    store = Store(home)
    for stage in store.stages():
        commit = store.history(stage)[0]["metadata"]
        assert commit["run_id"] and commit["code_version"] and commit["profile"], stage
    assert '"au_annotation": 0' in store.history("au_corrections")[0]["metadata"]["upstream"]


def test_every_table_holds_what_is_declared_and_nothing_else(undisturbed):
    _, home = undisturbed
    store = Store(home)
    for table in store.stages():
        declared, frame = stages.named(table.split("/")[0]), store.read(table)
        assert declared.complaints(frame) == {} and declared.undeclared(frame) == [], table
        if "reason_code" in frame.columns:
            assert set(frame["reason_code"].drop_nulls()) <= set(Reason), table


def test_commits_hold_the_settings_that_made_the_table(undisturbed):
    _, home = undisturbed
    store = Store(home)
    settings = {
        stage: json.loads(store.history(stage)[0]["metadata"]["settings"]) for stage in store.stages()
    }
    assert settings["photorealism"]["photorealism"]["thresholds"] == {"cartoon": 1.0, "real": 0.0}
    assert settings["au_corrections"]["corrections.recipe"]["powers"][0]["gamma"] == 1.8
    assert set(settings["trained_model/sd"]["experiments"]) == {"sd"}
    assert str(home) not in json.dumps(settings)


def test_why_and_status_answer(undisturbed):
    _, home = undisturbed
    sample = Store(home).read("training_set").filter(source="affectnet")["sample_id"][0]
    for command, wanted in (
        (["why", sample], "au_corrections, version 0"),
        (["status"], "training_set"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.command", *command, "--home", str(home)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and wanted in done.stdout, done.stdout + done.stderr


def test_again_with_nothing_changed_asks_no_model(world, undisturbed):
    _, home = undisturbed
    before = tables(home)
    again = run(world.profile, home)
    assert again.total == 0 and again.trained == 0
    assert tables(home) == before
    for job in ("data_set", "experiment fineface", "experiment sd", "comparison"):
        assert f"\n{job}\n  is as the last run left it" in again.output
    assert "AU-MSE prompted" in again.output and f"report: {home / 'report.html'}" in again.output
    assert all(Store(home).version(stage) == 0 for stage in Store(home).stages())


def test_a_home_that_was_moved_with_its_raw_data_asks_no_model(world, undisturbed, tmp_path):
    _, first_home = undisturbed
    home, raw_folder = tmp_path / "elsewhere" / "home", tmp_path / "elsewhere" / "raw"
    shutil.copytree(first_home, home)
    shutil.copytree(world.raw, raw_folder)
    profile = tiny_world.write_profile(tmp_path / "tiny.yaml", world.models, raw_folder)
    moved = run(profile, home)
    assert moved.total == 0 and moved.trained == 0
    assert tables(home) == tables(first_home)
    assert all(Store(home).version(stage) == 0 for stage in Store(home).stages())


def test_no_table_names_a_path_of_the_machine(world, undisturbed):
    _, home = undisturbed
    store = Store(home)
    frames = {stage: store.read(stage) for stage in store.stages()}
    frames |= {memo.name: store.memo(memo.name).read() for memo in (home / "memo").iterdir()}
    assert len(frames) > 25
    places = [str(place) for place in (home, world.raw, world.models, Path.home(), PROJECT)]
    for name, frame in frames.items():
        texts = frame.select(pl.col(pl.String))
        for place in places:
            named = texts.filter(pl.any_horizontal(pl.all().str.contains(place, literal=True)))
            assert named.is_empty(), f"{name}: {named.row(0)}"
        commits = store.history(name) if name in store.stages() else []
        assert not any(place in str(commit) for commit in commits for place in places[:2]), name


def test_new_data_costs_only_itself(world, undisturbed, tmp_path):
    _, first_home = undisturbed
    home, raw_folder = tmp_path / "home", tmp_path / "raw"
    shutil.copytree(first_home, home)
    shutil.copytree(world.raw, raw_folder)
    profile = tiny_world.write_profile(tmp_path / "grown.yaml", world.models, raw_folder)
    raw.add_images(raw_folder / "affectnet", images=20)
    raw.add_subject(raw_folder / "disfa", "SN003", frames=tiny_world.FRAMES)
    grown = run(profile, home, "--select", "data_set")
    subject = Store(home).read("raw_disfa").filter(pl.col("keep"), subject="SN003").height
    old, new = (Store(place).read("resolution").filter("keep").height for place in (first_home, home))
    assert subject > 5 and 10 < new - old <= 20, "some of the twenty are too small"
    assert grown.calls["photorealism"] == grown.calls["au_annotation"] == (new - old, old)
    assert grown.calls["captions"][0] == grown.calls["latents"][0] == new - old + subject


def test_killed_in_annotation_training_and_generation_it_goes_on_to_the_same_tables(
    world, undisturbed, tmp_path
):
    _, first_home = undisturbed
    home = tmp_path / "home"

    kill_when(lambda: tiny_world.commits(home, "action_units") >= 2, world.profile, home)
    annotated = len(Store(home).memo("action_units"))
    assert 0 < annotated < Store(first_home).read("photorealism").filter("keep").height

    kill_when(lambda: any(home.glob("files/adapters/*/output/checkpoints/step-*")), world.profile, home)
    assert not any(home.glob("files/adapters/*/output/result.json"))
    (folder,) = home.glob("files/adapters/*")
    wait_until_unlocked(folder / "output" / ".lock")

    kill_when(lambda: tiny_world.commits(home, "generated") >= 4, world.profile, home)
    generated = len(Store(home).memo("generated"))
    assert 0 < generated < len(Store(first_home).memo("generated"))

    last = run(world.profile, home)
    assert last.calls.get("au_annotation", (0, 0))[0] == 0 and last.trained == 0
    assert last.calls["generated_samples"][1] > 0
    assert tables(home) == tables(first_home)
    shown = subprocess.run(
        [sys.executable, "-m", "pipelines.command", "status", "--home", str(home)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    ).stdout
    assert shown.count("FAILURE") == 3 and "STARTED" not in shown


def wait_until_unlocked(path, seconds=20):
    """The training dies with the run that started it: its lock comes free within moments."""
    import fcntl

    deadline = time.monotonic() + seconds
    with path.open("r") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                assert time.monotonic() < deadline, "the training outlived the run that started it"
                time.sleep(0.1)
