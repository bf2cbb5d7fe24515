"""Runs by command: selections, runs whose process died, raw data that is absent."""

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import dagster as dg
import polars as pl
import psutil
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from pipelines import definitions, profiles, runs
from store import Store
from store.lock import process_name


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return definitions.build(profiles.load("miniature", home), home)


@pytest.fixture
def instance(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")
    with runs.instance(tmp_path) as opened:
        yield opened


def names(keys):
    return {key.to_user_string() for key in keys}


@pytest.mark.parametrize(
    ("select", "wanted"),
    [
        ("captions", {"captions"}),
        ("raw_disfa, captions", {"raw_disfa", "captions"}),
        ("results", {"results"}),
        ("held_out_comparisons", {"held_out_comparisons"}),
        (
            "latents+",
            {
                "latents",
                "trained_model",
                "guidance_curve",
                "generated_samples",
                "au_scores",
                *("clip_scores", "identity_scores", "realism_scores"),
                "comparisons",
                "results",
            },
        ),
        (
            "+photorealism",
            {
                *("raw_affectnet", "raw_disfa", "raw_folder", "raw_rendered", "face_crop", "resolution"),
                *("forgotten", "overrides", "photorealism"),
            },
        ),
        (
            "experiment",
            {
                *("class_images", "trained_model", "guidance_curve", "generated_samples"),
                *("au_scores", "clip_scores", "identity_scores", "realism_scores"),
            },
        ),
        (
            "group:experiment and not key:trained_model",
            {
                *("class_images", "guidance_curve", "generated_samples"),
                *("au_scores", "clip_scores", "identity_scores", "realism_scores"),
            },
        ),
    ],
)
def test_selections(built, select, wanted):
    found = names(runs.selected(built, select))
    assert found == wanted if select != "results" else found >= wanted


def test_no_selection_is_everything_but_what_is_asked_for_by_name(built):
    everything = built.resolve_asset_graph().get_all_asset_keys()
    editing = {"trained_editors", "edited_samples", "edit_scores", "edit_fidelity", "edit_results"}
    editing |= {"edit_identity", "edit_realism"}
    held_out = {"openings", "held_out_comparisons"}
    assert names(everything - runs.selected(built, None)) == {"annotator_audit", *held_out, *editing}
    assert names(runs.selected(built, "annotators")) == {"annotator_audit"}
    assert names(runs.selected(built, "editing")) == editing
    assert not names(runs.selected(built, '* and not key:"openings"')) & held_out, "nobody named them"
    with pytest.raises(runs.NothingSelected, match="`fineface held-out --reason …` opens"):
        runs.selected(built, "group:held_out")


@pytest.mark.parametrize("select", ["nonsense", "((", "group:nobody"])
def test_selections_of_nothing_are_refused(built, select):
    with pytest.raises(runs.NothingSelected):
        runs.selected(built, select)


def test_an_unknown_experiment_is_refused(tmp_path):
    profile = profiles.load("miniature", tmp_path)
    with pytest.raises(runs.NothingSelected, match="no experiment 'nobody'; there are fineface, sd"):
        runs.plan(profile, tmp_path, experiments=["nobody"])


def test_dagster_keeps_to_its_home(instance, tmp_path):
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "dagster")
    assert not instance.telemetry_enabled
    assert instance.global_op_concurrency_default_limit == 1
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    runs.dagster_home(tmp_path)
    assert (tmp_path / "dagster" / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_processes_are_known_by_start_time_too():
    assert runs.alive(runs.this_process())
    host, pid, _ = runs.this_process().rsplit(":", 2)
    assert not runs.alive(f"{host}:{pid}:1.00"), "the same number, another process"
    assert runs.alive("some-other-host:1:1.00"), "nothing is known of other hosts"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not runs.alive(f"{host}:{ended.pid}:1.00")


def test_runs_of_dead_processes_are_closed_and_others_left_alone(instance):
    host, pid, _ = runs.this_process().rsplit(":", 2)

    def started(**tags):
        return create_run_for_test(instance, job_name="x", status=DagsterRunStatus.STARTED, tags=tags).run_id

    dead = started(**{runs.PROCESS_TAG: f"{host}:{pid}:1.00"})
    mine = started(**{runs.PROCESS_TAG: runs.this_process()})
    by_ui = started()
    assert runs.close_dead_runs(instance) == [dead]
    assert instance.get_run_by_id(dead).status == DagsterRunStatus.FAILURE
    for left in (mine, by_ui):
        assert instance.get_run_by_id(left).status == DagsterRunStatus.STARTED
    assert runs.close_dead_runs(instance) == []


def test_a_dead_run_gives_back_its_place_in_the_pool(instance):
    host, pid, _ = runs.this_process().rsplit(":", 2)
    tags = {runs.PROCESS_TAG: f"{host}:{pid}:1.00"}
    dead = create_run_for_test(instance, job_name="x", status=DagsterRunStatus.STARTED, tags=tags).run_id
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default("gpu")
    assert storage.claim_concurrency_slot("gpu", dead, "step").is_claimed
    assert not storage.claim_concurrency_slot("gpu", "another", "step").is_claimed
    storage.free_concurrency_slot_for_step("another", "step")
    runs.close_dead_runs(instance)
    assert storage.claim_concurrency_slot("gpu", "another", "step").is_claimed


def test_a_run_killed_while_another_waits_gives_its_place_up(tmp_path, instance, monkeypatch):
    """The other process holds the pool and dies only after this run has begun to wait."""
    monkeypatch.setattr(runs, "WATCH_SECONDS", 0.2)
    holder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    tags = {runs.PROCESS_TAG: process_name(psutil.Process(holder.pid))}
    run_id = create_run_for_test(instance, job_name="x", status=DagsterRunStatus.STARTED, tags=tags).run_id
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default("gpu")
    assert storage.claim_concurrency_slot("gpu", run_id, "step").is_claimed
    assert runs.others(instance) == [run_id]
    with runs._closing_dead_runs(instance):
        assert not storage.claim_concurrency_slot("gpu", "mine", "step").is_claimed
        holder.kill()
        holder.wait()
        deadline = time.monotonic() + 60
        while not storage.claim_concurrency_slot("gpu", "mine", "step").is_claimed:
            assert time.monotonic() < deadline, "the dead run still holds the pool"
            time.sleep(0.1)
    assert runs.others(instance) == []
    assert instance.get_run_by_id(run_id).status == DagsterRunStatus.FAILURE


def test_what_hinders_the_watch_over_dead_runs_is_told_once_by_the_run(instance, monkeypatch):
    monkeypatch.setattr(runs, "WATCH_SECONDS", 0.01)
    looked, said = [], []
    monkeypatch.setattr(threading, "excepthook", said.append)

    def look(opened):
        looked.append(opened)
        if len(looked) == 2:
            raise OSError("disk I/O error")

    monkeypatch.setattr(runs, "close_dead_runs", look)
    with runs._closing_dead_runs(instance):
        deadline = time.monotonic() + 20
        while len(looked) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(looked) >= 4 and said == []


def test_absent_raw_data_is_written_once(tmp_path, monkeypatch):
    called = []

    def write_raw(above):
        called.append(above)

    write_raw.__module__ = "miniature.testing"
    monkeypatch.setitem(sys.modules, "miniature.testing", SimpleNamespace(write_raw=write_raw))
    (tmp_path / "raw" / "disfa").mkdir(parents=True)
    profile = profiles.load("miniature", tmp_path).model_copy(
        update={"raw_writer": "miniature.testing:write_raw"}
    )
    assert runs.write_raw_data(profile) == [tmp_path / "raw" / "affectnet"]
    assert called == [tmp_path / "raw"]
    (tmp_path / "raw" / "affectnet").mkdir()
    assert runs.write_raw_data(profile) == [] and len(called) == 1


@pytest.mark.parametrize(
    "name",
    [
        *("shutil:rmtree", "os:system", "miniature.raw:rmtree", "miniature.raw:nothing"),
        *("miniature.raw:write_raw.__globals__", "miniature.nowhere:write_raw", "minature.raw:write_raw"),
    ],
)
def test_a_profile_runs_no_function_but_the_projects_own_writers(tmp_path, name):
    (tmp_path / "raw").mkdir()
    profile = profiles.load("miniature", tmp_path).model_copy(update={"raw_writer": name})
    with pytest.raises(profiles.ProfileError, match="none of the project's own"):
        runs.write_raw_data(profile)
    assert (tmp_path / "raw").exists()


def test_a_writer_that_another_module_lends_is_refused(monkeypatch):
    lent = SimpleNamespace(write_down=os.remove)
    monkeypatch.setitem(sys.modules, "miniature.testing", lent)
    with pytest.raises(profiles.ProfileError):
        runs.writer("miniature.testing:write_down")


def test_without_a_writer_nothing_is_written(tmp_path):
    profile = profiles.load("miniature", tmp_path).model_copy(update={"raw_writer": None})
    assert runs.write_raw_data(profile) == []


def test_a_failed_stage_ends_the_run_by_name(tmp_path, instance):
    """The raw folder is empty: the first stage says so, and nothing after it runs."""
    (tmp_path / "raw" / "affectnet").mkdir(parents=True)
    heard = []

    def listener(job, partition):
        return lambda entry: heard.append(entry)

    profile = profiles.load("miniature", tmp_path)
    planned = runs.plan(profile, tmp_path, "raw_affectnet,face_crop")
    outcome = runs.run(planned, instance, listener)
    assert outcome.failed == ["data_set"] and not outcome.succeeded
    failures = [entry for entry in heard if entry.dagster_event and entry.dagster_event.is_step_failure]
    assert [entry.step_key for entry in failures] == ["raw_affectnet"]
    record = instance.get_runs()[0]
    assert record.status == DagsterRunStatus.FAILURE and isinstance(record, dg.DagsterRun)


def test_an_interrupted_experiment_is_the_last(tmp_path, instance, monkeypatch):
    """Somebody pressed Ctrl-C in the first of two: the second is not begun."""
    from assets.experiment import trained_model

    def interrupted(*_):
        raise dg.DagsterExecutionInterruptedError

    planned = runs.plan(profiles.load("miniature", tmp_path), tmp_path, "trained_model")
    for table in ("training_set", "latents", "class_images/fineface", "class_images/sd"):
        Store(tmp_path).write(table, pl.DataFrame({"sample_id": ["a"]}))
    monkeypatch.setattr(trained_model.gate, "refuse_on_failed", interrupted)
    outcome = runs.run(planned, instance)
    assert outcome.interrupted and outcome.failed == ["experiment fineface"]
    assert not outcome.succeeded
