"""Pages of docs/ that are made from declarations: `python -m pipelines.documentation` writes them."""

from pathlib import Path

import stages
from pipelines.profiles import keys
from reasons import Reason
from stages import Columns, Stage

DOCS = Path(__file__).resolve().parents[1] / "docs"

PREFACE = """\
# Tables

Made from `stages.py` and `reasons.py` by `python -m pipelines.documentation`.

Each stage has one table, a stage of an experiment one an experiment (`<stage>/<experiment>`). A blocking
check holds every table to its types, ranges and words. The settings that a stage reads decide its code
version, and go into its metadata and into its table's commits.
"""


def tables() -> str:
    """docs/tables.md: every stage's table, and the reasons."""
    return "\n".join([PREFACE, *(line for stage in stages.STAGES for line in _stage(stage)), *_reasons(), ""])


def profiles() -> str:
    """docs/profiles.md: its text, and every key of the settings."""
    return keys.page(DOCS / "profiles.md")


PAGES = {"tables.md": tables, "profiles.md": profiles}


def _stage(stage: Stage) -> list[str]:
    each = " One table an experiment." if stage.per_experiment else ""
    reads = f" Reads {', '.join(f'`{read}`' for read in stage.reads)}." if stage.reads else ""
    lines = [f"## {stage.name}", "", f"{stage.table}{each}{reads}", ""]
    lines += ["| column | type | null | what it holds |", "|---|---|---|---|"]
    return [*lines, *_columns(stage.columns), *_columns(stage.optional, " Some recipes only."), ""]


def _columns(columns: Columns, more: str = "") -> list[str]:
    """A line a column; those of the twelve AUs are one line."""
    rows = {}
    for name, column in columns.items():
        shown = column.metadata or {"name": name, "description": column.description}
        null = "yes" if column.nullable else ""
        rows[shown["name"]] = (
            f"| `{shown['name']}` | {column.dtype} | {null} | {shown['description']}{more} |"
        )
    return list(rows.values())


def _reasons() -> list[str]:
    lines = [
        "## Reasons",
        "",
        "A dropped row stays: `keep` is false, `reason_code` says why, `reason_detail`",
    ]
    lines += ["names file, line or number.", ""]
    lines += ["| `reason_code` | kind | what it says |", "|---|---|---|"]
    return [*lines, *(f"| `{reason}` | {reason.kind} | {reason.description} |" for reason in Reason)]


if __name__ == "__main__":
    for name, made in PAGES.items():
        (DOCS / name).write_text(made(), encoding="utf-8")
