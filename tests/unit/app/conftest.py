"""The small home of `app_home`, a new one each test."""

import app_home
import pytest

from store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    return app_home.write(tmp_path)
