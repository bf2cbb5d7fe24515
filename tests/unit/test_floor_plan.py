"""The floor plan: who may import whom. The contracts stand in pyproject.toml."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
MODEL_PACKAGES = {"torch", "diffusers", "transformers", "peft", "accelerate"}


def imported(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_rooms_import_from_the_floors_below_only():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 7 kept, 0 broken." in done.stdout


@pytest.mark.parametrize("module", ["facs.py", "reasons.py"])
def test_vocabularies_import_the_standard_library_only(module):
    tree = ast.parse((PROJECT / module).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize(
    "statement",
    [
        "import facs, reasons, stages, store",
        "import settings.profile, settings.providers, settings.view",
        "import curation.corrections, curation.training_set, curation.photorealism",
        "import curation.sources.affectnet, curation.sources.disfa, curation.sources.folder",
        "import provenance.why, provenance.story",
        "import exports.cards, exports.formats, exports.samples",
        "import methods, methods.registry, methods.wording, inference.au_encoders",
    ],
)
def test_these_import_without_torch_and_dagster(statement):
    assert not imported(statement) & (MODEL_PACKAGES | {"dagster"})


@pytest.mark.parametrize(
    "statement",
    [
        "import inference.pipeline, inference.blip2, inference.clip, inference.autoencoder",
        "import training.loop, training.dataset, training.job",
        "import methods.fineface.model",
        "import evaluation.report, evaluation.protocol",
        "import miniature.raw",
    ],
)
def test_pure_rooms_import_without_dagster(statement):
    assert "dagster" not in imported(statement)


def test_definitions_load_without_a_model_package():
    """The UI and every command wait for this import."""
    loaded = imported("import pipelines.definitions as d; d.definitions()")
    assert "dagster" in loaded and not loaded & MODEL_PACKAGES
