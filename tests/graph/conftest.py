"""What several tests of the whole graph begin with; none of them changes it."""

import subprocess

import pytest
import tiny_world


@pytest.fixture(scope="session")
def first_run(world, tmp_path_factory):
    """What a first run of the tiny world printed, and its home."""
    home = tmp_path_factory.mktemp("first") / "home"
    return tiny_world.finished(tiny_world.start(world.profile, home, log=subprocess.PIPE)), home
