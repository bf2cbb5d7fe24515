"""What a home does by itself, on the whole graph: its sensors and schedules look, and each run that they ask
for is made in this process. A daemon does the same, by the clock.
"""

import json
import os
import shlex
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import tiny_world

from evaluation import figures, report
from miniature import raw
from pipelines import automation, definitions, profiles, runs
from provenance import lineage
from store import Store, file_system

pytestmark = [pytest.mark.graph, pytest.mark.timeout(1800)]
DATA_SET = ("read_raw_data", "data_set")


class Home:
    """A home of the tiny world, smaller still and with one experiment, and whoever looks after it."""

    def __init__(self, folder: Path, models: Path):
        self.raw, self.place, self.told = folder / "raw", folder / "home", folder / "told.json"
        told = ["sh", "-c", f"cat > {shlex.quote(str(self.told))}"]
        looking = {"look_every": 10, "on_failure": {"command": told}}
        path = tiny_world.write_small(folder, models, ("fineface",), automation=looking)
        self.definitions = definitions.build(profiles.load(str(path), self.place), self.place)
        self.store, self._cursors = Store(self.place), {}

    def tick(self, opened, name):
        """A sensor or schedule looks once: the runs that came of it, made; or why there are none."""
        repository = self.definitions.get_repository_def()
        if name in automation.SCHEDULES:
            asking = repository.get_schedule_def(name)
            hour = datetime.now(UTC)
            context = dg.build_schedule_context(opened, hour, repository_def=repository)
        else:
            asking = repository.get_sensor_def(name)
            context = dg.build_sensor_context(opened, self._cursors.get(name), repository_def=repository)
        with context:
            found = asking.evaluate_tick(context)
        self._cursors[name] = getattr(found, "cursor", None)
        made = [self._run(opened, repository, asking, request) for request in found.run_requests or ()]
        return made or found.skip_message

    def _run(self, opened, repository, asking, request):
        job = repository.get_job(request.job_name or asking.job_name)
        key = {"dagster/run_key": request.run_key} if request.run_key else {}
        result = job.execute_in_process(instance=opened, tags={**request.tags, **key}, raise_on_error=False)
        return opened.get_run_by_id(result.run_id)

    def until_at_rest(self, opened):
        """`new_data` looks until nothing more comes of it: the names of the runs, which ended well."""
        made = []
        for _ in range(12):
            found = self.tick(opened, automation.NEW_DATA)
            if isinstance(found, list):
                made += found
            elif found.startswith("nothing new"):
                assert all(run.is_success for run in made), [run.status for run in made]
                return [run.job_name for run in made]
        raise AssertionError(f"no rest after {[run.job_name for run in made]}: {found}")

    def asked(self, memo):
        """How many answers of a model are kept."""
        return len(self.store.memo(memo))

    def versions(self):
        """Of every table."""
        return {table: self.store.version(table) for table in self.store.stages()}


@pytest.fixture(scope="module")
def home(world, tmp_path_factory):
    return Home(tmp_path_factory.mktemp("automation"), world.models)


@pytest.fixture
def opened(home, monkeypatch):
    monkeypatch.setattr(figures, "_png", lambda figure: b"")  # they cost more than the models
    monkeypatch.setattr(report, "write", lambda path, data: file_system.write(path, data.subtitle))
    with runs.instance(home.place) as opened:
        yield opened


def test_by_the_clock_the_data_set_is_made_then_models_then_the_comparison(home, opened):
    assert home.tick(opened, automation.FOLLOWS).startswith("Initiating")
    (run,) = home.tick(opened, automation.NIGHTLY)
    assert run.job_name == "data_set" and run.is_success
    (run,) = home.tick(opened, automation.WEEKLY)
    assert run.job_name == "experiment" and run.tags["dagster/partition"] == "fineface" and run.is_success
    (run,) = home.tick(opened, automation.FOLLOWS)
    assert run.job_name == "comparison" and run.is_success
    assert lineage.torn(home.store, "results") == {}
    assert home.tick(opened, automation.WEEKLY) == "every model is of the training set as it is"


def test_one_arrival_is_one_chain(home, opened):
    assert home.until_at_rest(opened) == ["read_raw_data"], "the first look finds all as it was read"
    before, known, scores = home.versions(), home.asked("captions"), home.store.read("results")
    raw.add_images(home.raw / "affectnet", images=6)
    assert home.until_at_rest(opened) == [*DATA_SET, "experiment", "comparison"]
    arrived = home.store.read("raw_affectnet").height - home.store.read("raw_affectnet", version=0).height
    assert 0 < home.asked("captions") - known <= arrived == 6, "only they were asked about"
    moved = {table for table, version in home.versions().items() if version != before.get(table)}
    assert {"raw_affectnet", "training_set", "trained_model/fineface", "results"} <= moved
    assert all(home.store.version(table) == before[table] + 1 for table in moved), "each was made once"
    assert lineage.torn(home.store, "results") == {} and not scores.equals(home.store.read("results"))


def test_what_is_only_touched_moves_nothing(home, opened):
    before = home.versions()
    for path in home.raw.rglob("*.jpg"):
        os.utime(path)
    assert home.until_at_rest(opened) == ["read_raw_data"]
    assert home.versions() == before


def test_a_run_that_failed_is_told(home, opened):
    assert home.tick(opened, automation.FAILED).startswith("Initiating")
    (home.raw / "disfa").rename(home.raw / "elsewhere")
    (run,) = home.tick(opened, automation.NIGHTLY)
    assert run.is_failure
    home.tick(opened, automation.FAILED)
    told = json.loads(home.told.read_text())
    assert told["run_id"] == run.run_id and told["stages"] == ["raw_disfa"]
    assert str(home.raw / "disfa") in told["error"]
