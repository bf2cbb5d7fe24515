"""The whole graph in the tiny world with its models in actors of Ray."""

import subprocess

import pytest
import tiny_world
import yaml
from tiny_world import finished, tables

from store import Store

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = [pytest.mark.graph, pytest.mark.timeout(1800)]


def test_every_table_is_that_of_a_run_without_and_again_no_ray_begins(world, tmp_path):
    profile = tiny_world.write_small(tmp_path, world.models)
    far = tmp_path / "ray.yaml"
    engine = {"kind": "ray", "actors": 2, "cpus": 1}
    far.write_text(yaml.safe_dump(yaml.safe_load(profile.read_text()) | {"engine": engine}))
    homes = {profile: tmp_path / "here", far: tmp_path / "actors"}
    for made, home in homes.items():
        finished(tiny_world.start(made, home, log=subprocess.PIPE))
    here, actors = homes.values()
    assert len(tables(here)) > 25 and tables(actors) == tables(here)
    for memo in sorted(folder.name for folder in (here / "memo").iterdir()):
        keys = [set(Store(home).memo(memo).read()["key"]) for home in (here, actors)]
        assert keys[0] == keys[1], memo
    again = finished(tiny_world.start(far, actors, log=subprocess.PIPE))
    assert "model calls: 0 made" in again and "training steps: 0" in again, again
