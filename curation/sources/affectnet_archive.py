"""AffectNet 2017's RAR parts: which members the lists name, what they are, and those large enough as files.

The RAR format is `rar`'s business; lists and labels are `affectnet`'s.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from curation import probing
from curation.sources import rar
from curation.sources.rar import Content, Fault
from reasons import Reason
from store import Store
from store.files import Files
from store.hashing import hash_bytes

STEM = "Manually_Annotated"
MEMBER_SCHEMA = pl.Schema({"content_hash": pl.String(), **probing.SCHEMA})
_FOUND = pl.Schema(
    {
        "listed": pl.String,
        "path": pl.String,
        "content_hash": pl.String,
        "width": pl.Int64,
        "height": pl.Int64,
        "fault": pl.String,
        "damage": pl.String,
    }
)
CHUNK = 2048
"""Members read between two writes of the memo: what a kill can lose."""

_BATCH, _BATCH_BYTES = 64, 64 << 20
_PREFIX = r"^(?:.*/)?Manually_Annotated_Images/"
_SUFFIX = r"(\.[A-Za-z0-9]{1,5})$"
_OUTSIDE = r"^/|^[A-Za-z]:|(^|/)\.\.(/|$)"


def pictures(
    parts: list[Path],
    listed: pl.Series,
    store: Store | None,
    min_side: int,
    progress: Callable[[Any], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Read the members that `listed` names; those with both sides ≥ `min_side` become files in the store.

    Returns `listed`, `path` (null for smaller ones), `content_hash`, `width`, `height`, `fault` and `damage`
    (a reason's code and detail, null for sound ones), one row a member found; members that are links or point
    outside, as rows of a frames table; and the names of parts that cannot be read to their end. A member that
    was read before is not read again, unless it is large enough now and was not then. Without a `store` only
    headers are read: no member has a hash or a size.
    """
    headers = rar.read_headers(parts, store.memo("archive_parts", rar.PART_SCHEMA) if store else None)
    broken = [path.name for path, cut in zip(parts, headers["cut"], strict=True) if cut is not None]
    members = rar.members(parts, headers).with_columns(
        pl.col("name").str.replace(_PREFIX, "").str.strip_prefix("./").alias("listed"),
        pl.col("name").str.contains(_OUTSIDE).alias("outside"),
    )
    refused = members.filter(pl.col("link") | pl.col("outside"))
    found = (
        members.join(refused, on="position", how="anti", maintain_order="left")
        .join(listed.to_frame("listed"), on="listed", how="semi", maintain_order="left")
        .unique("listed", keep="last", maintain_order=True)
        .with_columns(
            pl.col("name").str.extract(_SUFFIX).str.to_lowercase().fill_null("").alias("suffix"),
            pl.format(
                "{}-{}-{}-{}", "name", "size", pl.col("check").fill_null(""), pl.lit(probing.JUDGE)
            ).alias("key"),
        )
    )
    about = f"{len(parts)} RAR parts: {members.height:,} members, {found.height:,} of them in the lists"
    if store is None:
        say(f"{about}; how large they are is known once they are read")
        nothing = [pl.lit(None, kind).alias(name) for name, kind in _FOUND.items() if name != "listed"]
        return found.select("listed", *nothing), _refusals(refused), broken
    memo = store.memo("archive_members", MEMBER_SCHEMA)
    files = store.files("affectnet")
    known = _placed(found.join(memo.read(found["key"]), on="key", how="left"), files, min_side)
    unknown = known.filter(pl.col("content_hash").is_null() | pl.col("lost"))
    new = found.join(unknown, on="key", how="semi", maintain_order="left")
    say(f"{about}; {new.height:,} to read, {refused.height:,} refused")
    faults: dict[str, Fault] = {}
    stream = _judged(rar.contents(parts, members, set(new["position"])), new, files, min_side, faults)

    def compute(chunk: pl.DataFrame) -> pl.DataFrame:
        awaited, rows = set(chunk["key"]), []
        while awaited:
            row = next(stream)
            if row["key"] in awaited:
                awaited.remove(row["key"])
                rows += [row] if row["key"] not in faults else []
        return pl.DataFrame(rows, schema={"key": pl.String, **MEMBER_SCHEMA})

    memo.get_or_compute(new, compute, chunk=CHUNK, progress=progress, partial=True)
    for _ in stream:  # remembered, but their files are new
        pass
    read = _placed(found.join(memo.read(found["key"]), on="key", how="left"), files, min_side)
    unread = pl.DataFrame(
        [(key, *fault) for key, fault in faults.items()],
        schema=dict.fromkeys(("key", "fault", "damage"), pl.String),
        orient="row",
    )
    read = (
        read.drop("fault", "damage")
        .join(unread, on="key", how="left", maintain_order="left")
        .with_columns(
            pl.coalesce("fault", "reason_code").alias("fault"),
            pl.coalesce("damage", pl.format("{} ({} in {})", "reason_detail", "name", "part")).alias(
                "damage"
            ),
        )
    )
    return read.select(*_FOUND), _refusals(refused), broken


def _placed(members: pl.DataFrame, files: Files, min_side: int) -> pl.DataFrame:
    """`path`, null for a picture too small or bad; `lost` where its file is not there or damaged."""
    large = (
        (pl.col("width") >= min_side) & (pl.col("height") >= min_side) & pl.col("reason_code").is_null()
    ).fill_null(False)
    names = members.select(pl.when(large).then(pl.col("content_hash") + pl.col("suffix"))).to_series()
    lost = set(files.lost(names.drop_nulls().unique()))
    paths = [None if name is None else files.path(name) for name in names]
    return members.with_columns(
        pl.Series("path", [None if path is None else str(path) for path in paths], dtype=pl.String),
        names.is_in(lost).fill_null(False).alias("lost"),
    )


def _judged(
    contents: Iterator[tuple[int, Content]],
    members: pl.DataFrame,
    files: Files,
    min_side: int,
    faults: dict[str, Fault],
) -> Iterator[dict]:
    """What each member is (`key` and MEMBER_SCHEMA), in order; unreadable ones also go into `faults`."""
    about = {row[0]: row[1:] for row in members.select("position", "key", "suffix").iter_rows()}

    def judge(item: tuple[int, Content]) -> dict:
        position, content = item
        key, suffix = about[position]
        if isinstance(content, Fault):
            faults[key] = content
            return {"key": key}
        probe = probing.probe_content(content)
        row = {"key": key, "content_hash": hash_bytes(content)} | vars(probe)
        sides = probe.width, probe.height
        if not probe.reason_code and None not in sides and min(filter(None, sides)) >= min_side:
            files.put(content, suffix)
        return row

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in _batches(contents):
            yield from pool.map(judge, batch)


def _batches(contents: Iterator[tuple[int, Content]]) -> Iterator[list[tuple[int, Content]]]:
    batch, size = [], 0
    for item in contents:
        batch.append(item)
        size += len(item[1])
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _refusals(members: pl.DataFrame) -> pl.DataFrame:
    origin = pl.format("{}:{}", "part", "position")
    code = pl.when("outside").then(pl.lit(Reason.POINTS_OUTSIDE)).otherwise(pl.lit(Reason.LINK))
    return members.select(
        pl.format("affectnet/{}#{}", "name", origin).alias("sample_id"),
        pl.lit("affectnet").alias("source"),
        origin.alias("origin"),
        pl.lit(False).alias("keep"),
        code.alias("reason_code"),
        pl.format("member {} of {} is not unpacked", "name", "part").alias("reason_detail"),
    )
