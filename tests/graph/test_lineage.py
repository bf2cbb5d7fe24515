"""Every stage's commit names every table that was read for it, and its version: nothing by a side door."""

import json

import pytest

import stages
from pipelines import labels, profiles, resources, runs
from store import Store
from store.delta import Delta

pytestmark = [pytest.mark.graph, pytest.mark.timeout(1800)]


@pytest.fixture
def asked(monkeypatch):
    """What was read from Delta until a stage's table was written, as {stage: {table: version}}."""
    reads, written, scan = {}, {}, Delta.scan
    output = resources.StageTables.handle_output

    def scanned(self, table, **given):
        if self.what.startswith("stage "):
            reads[self.what.split("'")[1]] = table.version()
        return scan(self, table, **given)

    def handled(self, context, obj):
        stage = "/".join(context.asset_key.path)
        written[f"{stage}/{context.partition_key}" if context.has_asset_partitions else stage] = dict(reads)
        reads.clear()
        return output(self, context, obj)

    load = resources.StageTables.load_input

    def loaded(self, context):
        step = context.step_context.run_id, context.step_context.step.key
        if (
            step not in seen
        ):  # another step: what checks read is not the stage's, nor what runs look at between
            seen.append(step)
            reads.clear()
        return load(self, context)

    seen = []
    monkeypatch.setattr(Delta, "scan", scanned)
    monkeypatch.setattr(resources.StageTables, "handle_output", handled)
    monkeypatch.setattr(resources.StageTables, "load_input", loaded)
    written["seen"] = seen
    return written


def test_upstream_is_what_the_store_was_asked_for(world, tmp_path, asked, monkeypatch):
    home = tmp_path / "home"
    profile = profiles.load(str(world.profile), home)
    with runs.instance(home) as opened:
        assert not runs.run(runs.plan(profile, home), opened).failed
    store = Store(home)
    sample = store.read("photorealism").filter("keep")["sample_id"][0]
    labels.add(store, sample, "photorealism", "drop", "Ada", "a wax figure")
    asked["seen"].clear()
    with runs.instance(home) as opened:
        assert not runs.run(runs.plan(profile, home, "photorealism"), opened).failed
    seen = asked.pop("seen")
    assert seen
    for stage in store.stages():
        if stage == "overrides":
            continue
        upstream = json.loads(store.history(stage)[0]["metadata"]["upstream"])
        assert upstream == asked[stage], stage
    assert json.loads(store.history("photorealism")[0]["metadata"]["upstream"]) == {
        "resolution": 0,
        "overrides": 0,
    }
    assert set(stages.FUNNEL) <= set(json.loads(store.history("results")[0]["metadata"]["upstream"]))
    assert set(json.loads(store.history("trained_model/fineface")[0]["metadata"]["upstream"])) == {
        "training_set",
        "latents",
        "class_images/fineface",
    }
