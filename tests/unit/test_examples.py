"""The worked examples of CONTRIBUTING.md: each applies to this code, and does what the page says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "docs" / "examples"
LEFT = ("models", "tests", "docs", ".*", "__pycache__", "*.egg-info")

STAGE = """
import polars as pl
from assets.data_set.caption_words import caption_words
from pipelines import definitions
import dagster as dg
said = pl.DataFrame({"caption": ["A man, smiling", "a woman", "a cat"], "keep": [True, True, False]})
made = caption_words(captions=said)
assert made.value.rows() == [("a", 2), ("woman", 1), ("smiling", 1), ("man", 1)], made.value
assert made.check_results[0].passed, made.check_results
graph = definitions.definitions().resolve_asset_graph()
assert graph.get(dg.AssetKey("caption_words")).parent_keys == {dg.AssetKey("captions")}
"""
ANNOTATOR = """
import polars as pl
from pathlib import Path
from PIL import Image
from inference import asking, questions
from pipelines import profiles
from store import Store
from store.hashing import hash_file
Image.new("RGB", (8, 8)).save("a.png")
Path("mine.yaml").write_text("extends: miniature\\nau_estimator: {provider: expressionless}\\n")
chosen = profiles.load("mine.yaml", Path("home")).au_estimator.chosen
picture = pl.DataFrame({"path": ["a.png"], "content_hash": [hash_file(Path("a.png"))]})
for asked in (1, 0):
    answers = asking.ask(Store("home"), questions.action_units(chosen), picture, chunk=4)
    assert answers.frame["au12"].to_list() == [0.0] and answers.asked == asked, answers
"""
METHOD = """
from pathlib import Path
from methods import registry
from pipelines import profiles
Path("mine.yaml").write_text("extends: miniature\\nexperiments: {degrees: {train: {method: sd_degrees}}}\\n")
train = profiles.load("mine.yaml", Path("home")).experiments["degrees"].train
asked = registry.wording(train)(["a man"] * 2, [[0, 0, 0, 0, 4, 0, 5, 0, 0, 0, 1, 0], [0] * 12])
strong = "a man, strongly cheek raiser, strongly lip corner puller, slightly lips part"
assert asked == registry.Requests([strong, "a man"], None), asked
"""


@pytest.mark.parametrize(("name", "does"), [("stage", STAGE), ("annotator", ANNOTATOR), ("method", METHOD)])
def test_an_example_applies_and_works(tmp_path, name, does):
    copy = shutil.copytree(PROJECT, tmp_path / "copy", ignore=shutil.ignore_patterns(*LEFT))
    patch = EXAMPLES / f"{name}.patch"
    applied = subprocess.run(["git", "apply", str(patch)], cwd=copy, capture_output=True, text=True)
    assert applied.returncode == 0, (
        f"{patch} no longer applies: apply it by hand, renew it by git diff -U2\n{applied.stderr}"
    )
    environment = os.environ | {"PYTHONPATH": str(copy), "FINEFACE_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", does], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_page_shows_the_examples_as_they_are():
    page = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = re.findall(r"docs/examples/(\w+)\.patch\): (\d+) lines in (\d+) files", page)
    assert {name for name, *_ in shown} == {path.stem for path in EXAMPLES.glob("*.patch")}
    for name, lines, files in shown:
        text = (EXAMPLES / f"{name}.patch").read_text(encoding="utf-8")
        assert (len(re.findall(r"^\+(?!\+\+)", text, re.M)), text.count("\ndiff ") + 1) == (
            int(lines),
            int(files),
        ), name
