"""A home of some 1,500 samples with every table of the data set, as the benchmark of the audit makes it."""

import importlib.util
import sys
from pathlib import Path

import pytest

from store import Store


@pytest.fixture(scope="session")
def audited(tmp_path_factory) -> Store:
    path = Path(__file__).parents[3] / "benchmarks" / "audit.py"
    spec = importlib.util.spec_from_file_location("benchmarks_audit", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.build(tmp_path_factory.mktemp("audited") / "home", rows=1500, versions=2)
