"""Shared by all tests: no progress bars, few threads, and the tiny world, made once a session."""

import os
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="session")
def object_store(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The variables by which a running S3 server is reached."""
    import object_server

    with object_server.running(tmp_path_factory.mktemp("objects")) as variables:
        yield variables


@pytest.fixture
def machine(object_store, tmp_path, monkeypatch) -> Iterator[Callable[[str], Path]]:
    """Makes this process, and those it starts, another machine, which shares nothing with the others but the
    bucket: its copies lie in a folder of their own. Gives the path that stands for this test's place there.
    """
    from store import file_system, objects

    for name, value in object_store.items():
        monkeypatch.setenv(name, value)
    objects._bucket.cache_clear()

    def become(name: str) -> Path:
        monkeypatch.setattr(objects, "CACHE", tmp_path / name)
        monkeypatch.setenv("FINEFACE_CACHE", str(tmp_path / name))
        return file_system.place(f"s3://bucket/{tmp_path.name}")

    yield become
    objects._bucket.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def environment_of_this_module() -> Iterator[None]:
    """A command called in this process leaves its options (profile, home, experiments) in the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def no_instance_of_another_test() -> Iterator[None]:
    """Dagster keeps the instance in use in a variable of the process, and leaves it set where an instance was
    entered a second time (a sensor does): whatever then loads definitions asks an instance that is gone.
    """
    from dagster._core.storage.defs_state.base import set_defs_state_storage

    with set_defs_state_storage(None):
        yield


def pytest_runtest_setup(item):
    """Tests marked with an environment run where it is."""
    from inference import environments

    for marker in item.iter_markers("environment"):
        try:
            environments.python(*marker.args)
        except environments.EnvironmentUnavailable as absent:
            pytest.skip(str(absent))
