"""Which sample somebody means: by its id, the path or name of its file, or the hash of its content."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

import stages
from provenance.moments import Moment
from settings import nearest
from store import hash_file

RAW = tuple(stage.name for stage in stages.STAGES if stage.name.startswith("raw_"))
BY_SAMPLE = tuple(
    stage.name
    for stage in stages.STAGES
    if stage.group == stages.Group.DATA_SET and {"sample_id", "keep"} <= set(stage.columns)
)
HASH = re.compile(r"[0-9a-f]{32}(-[0-9a-f]{32})?")
CANDIDATES, PIECES, SHORTEST = 3000, 4, 3
"""Ids compared for a near miss (difflib is slow), chosen by having one of so many pieces of what was said."""
SHOWN = 5


class UnknownSample(LookupError):
    """A sample of which no stage table has a row, or one of several that were meant."""


@dataclass(frozen=True)
class Found:
    """A sample, and by what it was found: "id", "file", "file name", "content hash"."""

    sample_id: str
    by: str


def find(moment: Moment, said: str) -> Found:
    """The sample that `said` names at `moment`: an id, a path (of a file that is there, or as a table has
    it), a file's name, a content hash. Raises UnknownSample, naming what is near, for none and for
    several."""
    ids = every(moment, said)
    if not ids:
        raise UnknownSample(f"no stage of {moment.store.home} has the sample {said!r}{_looked(moment, said)}")
    by, found = ids
    if len(found) > 1:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UnknownSample(f"{said!r} is the {by} of {', '.join(found[:SHOWN])}{more}: say which")
    return Found(found[0], by)


def every(moment: Moment, said: str) -> tuple[str, list[str]] | None:
    """All samples that `said` names, sorted, and by what; None for none."""
    own = [stage for stage in RAW if stage == f"raw_{said.split('/')[0]}"]
    for tables in (own, [one for one in BY_SAMPLE if one not in own]):
        if ids := _ids(moment, pl.col("sample_id") == said, tables):
            return "id", ids
    if HASH.fullmatch(said):
        return _named("content hash", _ids(moment, pl.col("content_hash") == said))
    path = Path(said).expanduser()
    if path.is_file() and (ids := _ids(moment, pl.col("content_hash") == hash_file(path))):
        if len(same := [one for one in ids if said.endswith(one.partition("/")[2])]) == 1:
            return "file", same
        return "file", ids
    name = said.lstrip("./")
    if not name:
        return None
    inside = pl.lit(said).str.ends_with(pl.concat_str(pl.lit("/"), "file"))
    file = (pl.col("file") == name) | pl.col("file").str.ends_with(f"/{name}") | inside
    if ids := _ids(moment, file):
        return ("file name" if "/" not in name else "file"), ids
    return _named("name", _ids(moment, pl.col("sample_id").str.ends_with(f"/{name}")))


def _named(by: str, ids: list[str]) -> tuple[str, list[str]] | None:
    return (by, ids) if ids else None


def _ids(moment: Moment, where: pl.Expr, tables: Sequence[str] = RAW) -> list[str]:
    found: set[str] = set()
    for stage in tables:
        rows = moment.where(stage, where, ["sample_id"])
        found |= set() if rows is None else set(rows["sample_id"])
    return sorted(found)


def _looked(moment: Moment, said: str) -> str:
    looked = [stage for stage in BY_SAMPLE if moment.version(stage) is not None]
    close = near(moment, said)
    return close or f"; looked in {', '.join(looked) or 'none, no stage is written yet'}"


def near(moment: Moment, said: str) -> str:
    """ "; did you mean 'affectnet/3/ab12.jpg'?", or "" where nothing is near."""
    folder, _, name = said.rpartition("/")
    stem = name.partition(".")[0] or said
    length = max(SHORTEST, -(-len(stem) // PIECES))
    # two strings that differ in fewer places than there are pieces have a piece in common
    pieces = [
        piece
        for start in range(0, len(stem), length)
        if len(piece := stem[start : start + length]) >= SHORTEST
    ]
    sample = pl.col("sample_id")
    alike = sample.str.contains_any(pieces) if pieces else sample.is_null()
    candidates: list[str] = []
    for stage in RAW:
        together = sample.str.starts_with(f"{folder}/") if folder else sample.is_null()
        rows = moment.where(stage, alike | together, ["sample_id"])
        if rows is not None:
            ids = rows.sort(alike, descending=True, maintain_order=True)["sample_id"]
            candidates += ids.head(CANDIDATES).to_list()
    return nearest.hint(said, dict.fromkeys(candidates))
