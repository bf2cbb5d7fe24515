"""What a home does by itself: one arrival is one chain, in order, and nothing is begun twice."""

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest
from dagster import DagsterRunStatus
from dagster._core.storage.tags import RUN_KEY_TAG
from dagster._core.test_utils import create_run_for_test

from pipelines import automation, definitions, failures, profiles, runs, staleness
from pipelines.automation import Memory
from settings.automation import Automation, Failure
from settings.profile import Raw
from store import Store

LOOK = 30
THEN = 1_700_000_000
"""When the files of these tests were written; long ago."""


@dataclass
class Due:
    """In the place of what a job makes: it has something to do."""

    name: str
    state: str

    @property
    def job(self):
        return self.name.partition(" ")[0]

    @property
    def partition(self):
        return self.name.partition(" ")[2] or None

    def outdated(self):
        return {self.name: "made with other code or settings"}

    def attempt(self):
        return f"{self.name} of {self.state}"


class Home:
    """Raw folders, a Dagster instance, and a sensor that looks when told to."""

    def __init__(self, folder, instance, **settings):
        self.folder, self.instance, self.due, self.state = folder, instance, (), "0"
        self.memory, self.clock = Memory(), THEN + 1000.0
        self.profile = SimpleNamespace(
            raw=Raw(folder=folder), automation=Automation(look_every=LOOK, **settings)
        )

    def file(self, name, text="a picture", when=THEN):
        path = self.folder / name
        path.write_text(text)
        os.utime(path, (when, when))

    def look(self):
        """One look; the run that came of it, under way, or why there is none."""
        self.clock += LOOK
        parts = [Due(name, self.state) for name in self.due]
        step = automation.look(self.profile, parts, self.instance, self.memory, self.clock)
        self.memory = Memory.of(json.dumps(step.memory.__dict__))
        if step.run is None:
            return step.reason
        tags = {RUN_KEY_TAG: step.run.run_key}
        if step.run.partition_key:
            tags["dagster/partition"] = step.run.partition_key
        self.run = create_run_for_test(
            self.instance, job_name=step.run.job_name, status=DagsterRunStatus.STARTED, tags=tags
        )
        return " ".join(filter(None, (step.run.job_name, step.run.partition_key)))

    def ends(self, status=DagsterRunStatus.SUCCESS, due=(), state=None):
        """The run under way ends; then these jobs are due."""
        self.instance.delete_run(self.run.run_id)
        self.run = create_run_for_test(
            self.instance, job_name=self.run.job_name, status=status, tags=self.run.tags
        )
        self.due = due
        if state is not None:
            self.state = state


@pytest.fixture
def home(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        found = Home(raw, instance)
        found.file("a.jpg")
        yield found


def settle(home):
    """Two looks that see the same, and the reading that comes of it; nothing is due then."""
    assert [home.look(), home.look()][-1] == "read_raw_data"
    home.ends()


def test_one_arrival_is_one_chain_in_order(home):
    settle(home)
    assert home.look() == "nothing new: 1 raw files"
    home.file("b.jpg", when=THEN + 5)
    assert home.look().startswith("files are arriving")
    assert home.look() == "read_raw_data"
    home.ends(due=["data_set", "experiment a", "experiment b", "comparison"], state="1")
    assert home.look() == "data_set"
    home.ends(due=["experiment a", "experiment b", "comparison"], state="2")
    assert home.look() == "experiment a"
    home.ends(due=["experiment b", "comparison"], state="3")
    assert home.look() == "experiment b"
    home.ends(due=["comparison"], state="4")
    assert home.look() == "comparison"
    home.ends(state="5")
    assert home.look() == "nothing new: 2 raw files"
    assert len(home.instance.get_runs()) == 6, "the first reading, and five runs of the chain"


def test_the_same_files_touched_run_nothing_past_raw(home):
    settle(home)
    home.file("a.jpg", when=THEN + 99)
    assert [home.look(), home.look()][-1] == "read_raw_data"
    home.ends()
    assert home.look() == "nothing new: 1 raw files"


def test_a_file_that_is_being_copied_is_waited_for(home):
    settle(home)
    for size in range(1, 5):
        home.file("b.jpg", "x" * size, when=THEN + size)
        assert home.look().startswith("files are arriving"), size
    assert home.look() == "read_raw_data"


def test_what_changed_before_it_was_switched_on_is_seen_at_the_first_look(home):
    home.clock = time.time() + 10 * LOOK  # the files are older than a look
    assert home.look() == "read_raw_data"


def test_at_the_first_look_fresh_files_wait_for_the_second(home):
    home.clock = time.time() - LOOK
    assert home.look().startswith("files are arriving")
    assert home.look() == "read_raw_data"


def test_what_arrives_while_a_chain_runs_is_read_after_it(home):
    settle(home)
    home.file("b.jpg", when=THEN + 5)
    assert [home.look(), home.look()][-1] == "read_raw_data"
    assert home.look().startswith("waits for run ")
    home.file("c.jpg", when=THEN + 6)
    assert home.look().startswith("waits for run ")
    home.ends(due=["data_set", "comparison"], state="1")
    assert home.look() == "data_set", "the chain goes on"
    home.ends(due=["comparison"], state="2")
    assert home.look() == "comparison"
    home.ends(state="3")
    assert home.look() == "read_raw_data", "and only then what came meanwhile"


def test_it_waits_for_runs_that_others_began(home):
    settle(home)
    other = create_run_for_test(home.instance, job_name="experiment", status=DagsterRunStatus.STARTING)
    home.file("b.jpg", when=THEN + 5)
    assert home.look() == home.look() == f"waits for run {other.run_id[:8]} (experiment)"
    home.instance.delete_run(other.run_id)
    assert home.look() == "read_raw_data"


@pytest.mark.parametrize("status", [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED])
def test_what_failed_is_tried_again_when_something_changed_and_not_before(home, status):
    settle(home)
    home.ends(due=["data_set", "experiment a"])
    assert home.look() == "data_set"
    home.ends(status, due=["data_set", "experiment a"])
    assert "ended with" in home.look() and "ended with" in home.look(), "nothing after it either"
    home.state = "accepted"
    assert home.look() == "data_set"
    home.ends(status, due=["data_set"])
    home.file("b.jpg", when=THEN + 5)
    assert [home.look(), home.look()][-1] == "read_raw_data", "new data may help"


def test_a_failed_experiment_stops_no_other_but_the_comparison(home):
    settle(home)
    home.ends(due=["experiment a", "experiment b", "comparison"])
    assert home.look() == "experiment a"
    home.ends(DagsterRunStatus.FAILURE, due=["experiment a", "experiment b", "comparison"])
    assert home.look() == "experiment b"
    home.ends(due=["experiment a", "comparison"])
    assert "(experiment a) ended with failure" in home.look()


def test_raw_data_that_could_not_be_read_begin_no_chain(home):
    assert "read_raw_data" in (home.look(), home.look())
    home.ends(DagsterRunStatus.FAILURE, due=["data_set"])
    assert "did not read the raw data" in home.look()
    home.file("a.jpg", "mended", when=THEN + 7)
    assert [home.look(), home.look()][-1] == "read_raw_data"
    home.ends(due=["data_set"])
    assert home.look() == "data_set"


def test_it_reaches_as_far_as_the_profile_says(home):
    home.profile.automation = Automation(look_every=LOOK, reach="data_set")
    settle(home)
    home.ends(due=["data_set", "experiment a"])
    assert home.look() == "data_set"
    home.ends(due=["experiment a", "comparison"], state="1")
    assert home.look().startswith("nothing new")


def test_an_absent_raw_folder_is_waited_for(home):
    home.folder.rename(home.folder.with_name("elsewhere"))
    assert home.look() == f"waits for the raw folder {home.folder}"


def test_the_sensor_of_the_definitions_keeps_its_memory_in_the_cursor(tmp_path, monkeypatch):
    (tmp_path / "raw" / "affectnet").mkdir(parents=True)
    (tmp_path / "raw" / "disfa").mkdir()
    (tmp_path / "raw" / "disfa" / "fresh.txt").touch()
    built = definitions.build(profiles.load("miniature", tmp_path), tmp_path)
    sensor = built.resolve_sensor_def(automation.NEW_DATA)
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, definitions=built)
        looked = sensor(context)
        assert looked.skip_reason.skip_message.startswith("files are arriving")
        context = dg.build_sensor_context(instance=instance, definitions=built, cursor=looked.cursor)
        (request,) = sensor(context).run_requests
        assert request.job_name == "read_raw_data"


def test_the_week_asks_for_all_experiments_at_once(tmp_path):
    built = definitions.build(profiles.load("miniature", tmp_path), tmp_path)
    weekly, repository = built.resolve_schedule_def(automation.WEEKLY), built.get_repository_def()
    with runs.instance(tmp_path) as instance:
        hour = datetime(2026, 1, 3, 4, tzinfo=UTC)
        context = dg.build_schedule_context(instance, hour, repository_def=repository)
        asked = weekly.evaluate_tick(context).run_requests
    assert [one.partition_key for one in asked] == ["fineface", "sd"] and len(
        {one.run_key for one in asked}
    ) == 2


def test_the_real_graph_says_what_is_due(tmp_path):
    """Nothing was made: everything is due, in order; an experiment each."""
    profile = profiles.load("miniature", tmp_path)
    store = Store(tmp_path)
    parts = [*staleness.parts(definitions.build(profile, tmp_path), profile, store)]
    assert [one.name for one in parts] == ["data_set", "experiment fineface", "experiment sd", "comparison"]
    due = [one.outdated() for one in parts]
    assert not {"overrides", "acceptances", "forgotten"} & set(due[0]), "no run makes what people write"
    assert due[0]["latents"] == "never made"
    assert next(iter(due[1])) == "class_images/fineface"
    before = parts[0].attempt()
    store.write("overrides", pl.DataFrame({"x": [1]}))
    assert parts[0].attempt() != before, "a person's word may help"
    assert parts[1].attempt() != parts[2].attempt()


def test_a_failure_is_told_to_a_program(tmp_path):
    told, said = tmp_path / "told.json", []
    failure = Failure(command=["sh", "-c", f"cat > {told}"])
    failures.tell(failure, {"run": "run 1 (data_set)", "error": "no face"}, said.append)
    assert json.loads(told.read_text()) == {"run": "run 1 (data_set)", "error": "no face"} and not said


def test_a_program_that_fails_and_an_address_that_is_closed_are_said(tmp_path):
    said = []
    failure = Failure(command=["sh", "-c", "echo no >&2; exit 3"], webhook="http://127.0.0.1:9/")
    failures.tell(failure, {}, said.append)
    assert said[0] == "sh ended with code 3: no" and said[1].startswith("http://127.0.0.1:9/ was not reached")
    failures.tell(Failure(command=["/no/such"]), {}, said.append)
    assert said[2].startswith("/no/such did not run")


def test_a_failure_is_told_to_an_address():
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    said = []
    failures.tell(Failure(webhook=f"http://127.0.0.1:{server.server_port}/"), {"run": "run 1"}, said.append)
    thread.join(10)
    server.server_close()
    assert got == [{"run": "run 1"}] and not said
