"""The threat page names tests that exist."""

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_every_test_that_the_threat_page_names_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (PROJECT / "docs" / "security.md").read_text())
    assert len(named) > 20
    absent = [
        (file, test)
        for file, test in named
        if not (PROJECT / file).is_file() or f"def {test}" not in (PROJECT / file).read_text()
    ]
    assert absent == []
