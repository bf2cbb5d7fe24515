"""Shared by all tests: no progress bars, few threads, and the tiny world, made once a session."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine must not fail a property.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

os.environ |= {"TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}


@dataclass(frozen=True)
class World:
    """Where the tiny world lies. Its raw data is shared: a test that changes it copies it first."""

    models: Path
    raw: Path
    profile: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    import tiny_world

    folder = tmp_path_factory.mktemp("world")
    models, raw = tiny_world.write_models(folder / "models"), tiny_world.write_raw(folder / "raw")
    return World(models, raw, tiny_world.write_profile(folder / "tiny.yaml", models, raw))


def pytest_runtest_setup(item):
    """Tests marked with an environment run where it is."""
    from inference import environments

    for marker in item.iter_markers("environment"):
        try:
            environments.python(*marker.args)
        except environments.EnvironmentUnavailable as absent:
            pytest.skip(str(absent))
