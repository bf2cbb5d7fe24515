"""The vocabulary of reasons: what a member is."""

import ast
import re
from pathlib import Path

import polars as pl
import pytest

import reasons
from reasons import Kind, Reason

PROJECT = Path(__file__).parents[2]
CODES = set(Reason) - {"link", "no_face", "overruled", "forgotten"}
"""All but a word of its own, the name of a limit, of a column and of a table."""


def test_a_reason_is_its_code_with_a_kind_and_a_sentence():
    assert Reason.TOO_SMALL == "too_small" and f"{Reason.TOO_SMALL}" == "too_small"
    assert Reason.of("too_small").kind == Kind.BY_RULE
    assert Reason.CORRUPT_IMAGE.kind == Kind.UNUSABLE
    assert Reason.of("too_small") is Reason.TOO_SMALL
    with pytest.raises(KeyError):
        Reason.of("too small")


@pytest.mark.parametrize("reason", Reason)
def test_every_code_is_its_name_and_has_a_sentence(reason):
    assert reason.value == reason.name.lower() and re.fullmatch("[a-z_]+", reason.value)
    assert reason.description.endswith(".") and reason.description[0].isupper()


def test_kinds_part_the_vocabulary():
    assert sorted(code for kind in Kind for code in reasons.of_kind(kind)) == sorted(Reason)
    assert reasons.of_kind(Kind.NO_FACE)[0] == "no_face"


def test_a_reason_is_plain_text_in_a_table():
    table = pl.select(pl.lit(Reason.NO_FACE).alias("reason_code"))
    assert table.schema == {"reason_code": pl.String} and table.item() == "no_face"


def produced() -> set[str]:
    """Members that the code names outside of the vocabulary and the tests, and codes that the worker of a
    python too old for it writes as text."""
    found = set()
    for path in PROJECT.rglob("*.py"):
        parts = path.relative_to(PROJECT).parts
        if parts[0] in ("tests", "benchmarks", "reasons.py") or parts[0].startswith("."):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Attribute(value=ast.Name(id="Reason"), attr=name) if name.isupper():
                    found.add(name.lower())
    worker = (PROJECT / "inference" / "environments" / "libreface_worker.py").read_text(encoding="utf-8")
    return found | set(re.findall(r'"reason_code": "(\w+)"', worker))


def test_every_reason_is_given_somewhere_and_none_that_is_not_declared():
    assert produced() == set(Reason)


def test_no_code_is_written_as_text():
    """A misspelt one would be no member; only the vocabulary, the worker and tests spell codes."""
    written = []
    for room in ("assets", "curation", "evaluation", "inference", "methods", "pipelines", "provenance"):
        for path in (PROJECT / room).rglob("*.py"):
            if path.name != "libreface_worker.py":
                tree = ast.parse(path.read_text(encoding="utf-8"))
                texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
                written += [(path.name, text) for text in texts if text in CODES]
    assert written == []
