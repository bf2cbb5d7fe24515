"""The whole graph in the tiny world with its home in a bucket, on a real S3 server."""

import os
import subprocess
from pathlib import Path

import dagster as dg
import object_server
import pytest
import tiny_world
from tiny_world import finished, tables

from assets import fitting
from store import Store, file_system

pytestmark = pytest.mark.timeout(1800)


def test_a_training_goes_on_from_the_checkpoint_that_came_furthest_wherever_it_was_made(
    machine, tmp_path, monkeypatch
):
    def training(command, log, environment):
        for step in ("step-4", "step-8"):
            checkpoint = Path(command[-1]).parent / "output" / "checkpoints" / step
            checkpoint.mkdir(parents=True)
            (checkpoint / "parameters").write_text(step)
            yield f'{{"step": {step[-1]}, "loss": 1, "samples_per_second": 1, "eta": 1}}'
        raise RuntimeError("the machine is gone")

    monkeypatch.setattr(fitting.child, "lines", training)
    kept = machine("one") / "files/adapters/key"
    with pytest.raises(RuntimeError):
        fitting._run(dg.build_asset_context(), file_system.own(kept), kept, 100)
    kept = machine("two") / "files/adapters/key"
    here = file_system.own(kept) / "output"
    fitting._take_over(kept / "output", here)
    assert (here / "checkpoints/step-8/parameters").read_text() == "step-8"
    (here / "checkpoints/step-9").mkdir()
    (here / "checkpoints/step-8/parameters").write_text("this machine's own")
    fitting._take_over(kept / "output", here)
    assert (here / "checkpoints/step-8/parameters").read_text() == "this machine's own"


@pytest.mark.graph
def test_two_whole_runs_at_once_end_with_the_tables_of_a_local_home_and_again_no_model_is_asked(
    world, first_run, machine, tmp_path
):
    """One of them with raw data in the bucket; the third on a machine that has no copy of anything."""
    bucket = f"s3://bucket/{tmp_path.name}"
    machine("uploading")
    file_system.publish(world.raw, file_system.place(f"{bucket}/raw"))
    far = tiny_world.write_profile(tmp_path / "far.yaml", world.models, Path(f"{bucket}/raw"))
    both = []
    for cache, profile in (("one", world.profile), ("two", far)):
        machine(cache)
        both.append(tiny_world.start(profile, f"{bucket}/home", log=subprocess.PIPE))
    outputs = [finished(process) for process in both]
    assert sum("training steps: 12" in output for output in outputs) == 1, "one trained, the other waited"
    assert f"report: {bucket}/home/report.html" in outputs[0]
    machine("three")
    again = finished(tiny_world.start(far, f"{bucket}/home", log=subprocess.PIPE))
    assert "model calls: 0 made" in again and "training steps: 0" in again, again
    home = machine("four") / "home"
    store = Store(home)
    assert all(store.version(stage) == 0 for stage in store.stages())
    _, local = first_run
    assert tables(home) == tables(local)
    endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").encode()
    for path in file_system.local(home).rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert object_server.KEYS["secretKey"].encode() not in content and endpoint not in content, path
