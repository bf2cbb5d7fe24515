"""Forgetting a sample: its rows, pictures, answers and latents leave the home, every kept version of every
table included; a tombstone of hashes stays, and says which models were trained on it.

What lies outside the home (raw data, exports, backups) is not touched. Dagster's own log is `pipelines`'s.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from curation import forgotten
from provenance.samples import RAW, UnknownSample
from store import MissingTable, Store, file_system
from store.history import rewrite

SEEN = (*RAW, "face_crop")
ADAPTERS, LATENTS, PAGES = (
    Path("files") / "adapters",
    "latents",
    ("photorealism.html", "report.html", "editing.html"),
)
EDITED = "edited"
"""The memo of edits, and the kind of stored files that they are."""
HASH = 32
"""Digits of the hash that the name of a stored picture begins with."""
SAMPLES = ("samples.parquet", "held_out.parquet", "output/draws.parquet")
_TEXTS = (".txt", ".json", ".jsonl", ".html", ".csv", ".log", ".yaml")


@dataclass(frozen=True)
class Traces:
    """By what a sample is recognised in a home: ids, hashes of what was seen of it, files (kind, name), the
    files that editors made of its face."""

    ids: tuple[str, ...]
    hashes: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    member: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()

    @property
    def seen(self) -> tuple[str, ...]:
        """Hashes of all pictures of it that a model was asked about: an edit's name says its own."""
        return (*self.hashes, *(name[:HASH] for name in self.edits))

    @property
    def needles(self) -> tuple[str, ...]:
        """The texts that name it; the longest first, so that none is cut short by another."""
        names = {name.partition("#")[0] for _, name in self.files}
        return tuple(sorted({*self.ids, *names, *self.member}, key=lambda text: (-len(text), text)))

    def scrub(self, text: pl.Expr) -> pl.Expr:
        """`text` in which nothing names it."""
        stand_in = forgotten.pseudonym(self.ids[0])
        for needle in self.needles:
            pattern = rf"(^|[^\w./-]){re.escape(needle)}($|[^\w/-])"
            text = text.str.replace_all(pattern, f"${{1}}{stand_in}${{2}}")
        return text


@dataclass
class Forgotten:
    """What was done: samples, versions of tables that were written anew, rows of memos, files, and the keys
    of the models that were trained on it. left: files of the home that still name it, with what they are."""

    samples: tuple[str, ...]
    versions: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    trained_on: tuple[str, ...] = ()
    left: list[str] = field(default_factory=list)


def samples_of(store: Store, said: str) -> list[str]:
    """The sample of that id, at any version that is kept, and all others of the same picture. Raises
    UnknownSample."""
    rows = _raw_rows(store)
    mine = rows.filter(pl.col("sample_id") == said)
    if mine.is_empty():
        raise UnknownSample(f"no kept version of the raw tables of {store.home} has a sample {said!r}")
    same = rows.filter(pl.col("content_hash").is_in(mine["content_hash"].drop_nulls().implode()))
    return sorted({said, *same["sample_id"]})


def forget(
    store: Store,
    samples: list[str],
    reason: str,
    author: str,
    say: Callable[[str], None] = lambda text: None,
) -> Forgotten:
    """Forget these samples. Nothing else may write to the home meanwhile. Can be repeated after a kill.

    The tombstones are written first, so that no run takes the samples in again. Raises ValueError for an
    empty reason or author.
    """
    for what, text in (("reason", reason), ("author", author)):
        if not text.strip():
            raise ValueError(f"forgetting needs {'an' if what == 'author' else 'a'} {what}")
    found = traces(store, samples)
    done = Forgotten(tuple(samples), trained_on=tuple(_trained_on(store, found)))
    store.append(forgotten.TABLE, _tombstones(store, found, done.trained_on, reason.strip(), author.strip()))
    renamed = _without_latents(store, found, done)
    for stage in store.stages():
        if stage == forgotten.TABLE:
            continue
        say(f"table {stage}")
        if changed := rewrite(store, stage, lambda frame: _cleaned(frame, found, renamed)):
            done.versions[stage] = changed
    erase(store, found, done)
    _adapters(store, found, done)
    for page in PAGES:
        if file_system.remove(store.home / page):
            done.files.append(page)
    done.left = sorted(_left(store, found))
    return done


def traces(store: Store, samples: list[str], rows: pl.DataFrame | None = None) -> Traces:
    """By what these samples are recognised: of `rows`, or of all kept versions of the tables."""
    rows = _raw_rows(store, SEEN) if rows is None else rows
    mine = rows.filter(pl.col("sample_id").is_in(samples))
    hashes = {
        value
        for name in ("content_hash", "original_hash")
        if name in mine.columns
        for value in mine[name].drop_nulls()
    }
    files = set(mine.select("file_kind", "file").drop_nulls().iter_rows())
    members = store.memo("archive_members").read()
    named: list[str] = []
    if "content_hash" in members.columns:
        keys = members.filter(pl.col("content_hash").is_in(sorted(hashes)))["key"]
        named = [key.rsplit("-", 5)[0] for key in keys]
    edited = store.memo(EDITED).read()
    edits: list[str] = []
    if "content_hash" in edited.columns:
        edits = sorted(
            edited.filter(pl.col("content_hash").is_in(sorted(hashes)))["file"].drop_nulls().unique()
        )
    return Traces(tuple(samples), tuple(sorted(hashes)), tuple(sorted(files)), tuple(named), tuple(edits))


def erase(store: Store, found: Traces, done: Forgotten | None = None) -> None:
    """Remove the stored pictures of these samples, and what memos and the cache of hashes know of them."""
    done = done or Forgotten(found.ids)
    for kind, name in (*found.files, *((EDITED, name) for name in found.edits)):
        if not kind.startswith("raw_") and store.files(kind).remove(name.partition("#")[0]):
            done.files.append(f"{kind}/{name}")
    for above in ("memo", "cache"):
        for log in file_system.find(store.home / above, "*/_delta_log"):
            name = log.parent.name
            memo = store.memo(name) if above == "memo" else store.cache(name)
            if count := memo.erase(lambda rows: _known(rows, found)):
                done.answers[name] = count


def _known(rows: pl.DataFrame, found: Traces) -> pl.Series:
    """Which rows of a memo are about these samples, or name them."""
    which = pl.lit(False)
    for name, kind in rows.schema.items():
        text = pl.col(name) if kind == pl.String else None
        if name == "content_hash":
            which = which | pl.col(name).is_in(list(found.seen))
        elif text is not None:
            for needle in (*found.needles, *(found.hashes if name in ("key", "hash") else ())):
                which = which | text.str.contains(needle, literal=True)
        elif kind.is_nested() and name == "blocks":
            said = pl.Series([str(value) for value in rows[name].to_list()], dtype=pl.String)
            for needle in found.needles:
                which = which | said.str.contains(needle, literal=True)
    return rows.select(pl.repeat(False, pl.len()) | which.fill_null(False)).to_series()


def _raw_rows(store: Store, tables: Iterable[str] = RAW) -> pl.DataFrame:
    """What every kept version of these tables says of samples, files and hashes."""
    columns = ("sample_id", "file_kind", "file", "content_hash", "original_hash")
    parts = [pl.DataFrame(schema=dict.fromkeys(columns, pl.String))]
    for stage in tables:
        latest = store.version(stage)
        for version in range(0 if latest is None else latest + 1):
            try:
                rows = store.read(stage, version)
            except MissingTable:  # pruned
                continue
            parts.append(rows.select(name for name in columns if name in rows.columns))
    return pl.concat(parts, how="diagonal").unique()


def _tombstones(
    store: Store, found: Traces, trained_on: Iterable[str], reason: str, author: str
) -> pl.DataFrame:
    now = datetime.now(UTC)
    rows = [
        {
            "sample_hash": forgotten.sample_hash(sample),
            "content_hashes": list(found.hashes),
            "source": sample.split("/")[0],
            "author": author,
            "time": now,
            "reason": reason,
            "trained_on": list(trained_on),
        }
        for sample in found.ids
    ]
    return pl.DataFrame(rows, schema=forgotten.SCHEMA)


def _cleaned(frame: pl.DataFrame, found: Traces, renamed: dict[str, str]) -> pl.DataFrame:
    """A table without the rows of these samples, and without their names in other rows."""
    if "sample_id" in frame.columns:
        frame = frame.filter(~pl.col("sample_id").is_in(list(found.ids)).fill_null(False))
    if "source_hash" in frame.columns:
        frame = frame.filter(~pl.col("source_hash").is_in(list(found.hashes)).fill_null(False))
    if renamed and "file" in frame.columns:
        frame = frame.with_columns(pl.col("file").replace(renamed))
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    named = [
        name
        for name in texts
        if any(frame[name].str.contains(needle, literal=True).any() for needle in found.needles)
    ]
    return frame.with_columns(found.scrub(pl.col(name)) for name in named) if named else frame


def _trained_on(store: Store, found: Traces) -> Iterator[str]:
    for path in file_system.find(store.home / ADAPTERS, "*/samples.parquet"):
        rows = pl.read_parquet(io.BytesIO(file_system.read(path)), columns=["sample_id"])
        if rows["sample_id"].is_in(list(found.ids)).any():
            yield path.parent.name


def _adapters(store: Store, found: Traces, done: Forgotten) -> None:
    """The samples' rows in what models were trained on; what an unfinished training has learnt goes too."""
    for folder in file_system.find(store.home / ADAPTERS, "*"):
        for name in SAMPLES:
            path = folder / name
            if file_system.size(path) is None:
                continue
            rows = pl.read_parquet(io.BytesIO(file_system.read(path)))
            rest = rows.filter(~pl.col("sample_id").is_in(list(found.ids)))
            if rest.height < rows.height:
                content = io.BytesIO()
                rest.write_parquet(content)
                file_system.write(path, content.getvalue())
                done.files.append(path.relative_to(store.home).as_posix())
        if folder.name in done.trained_on and file_system.size(folder / "output" / "result.json") is None:
            file_system.remove_folder(folder / "output" / "checkpoints")
        for path in file_system.find(folder, "**/*"):
            if path.suffix in _TEXTS and file_system.size(path) is not None:
                text = file_system.read(path).decode(errors="replace")
                if any(needle in text for needle in found.needles):
                    clean = pl.select(found.scrub(pl.lit(text))).item()
                    file_system.write(path, clean)


def _without_latents(store: Store, found: Traces, done: Forgotten) -> dict[str, str]:
    """The shards that hold latents of these samples, written anew with zeros in their place; the new name of
    each."""
    from safetensors.numpy import load, save

    memo = store.memo(LATENTS)
    rows = memo.read()
    if "content_hash" not in rows.columns:
        return {}
    renamed: dict[str, str] = {}
    files = store.files(LATENTS)
    for (name,), places in rows.filter(pl.col("content_hash").is_in(list(found.hashes))).group_by("file"):
        if not files.has(str(name)):
            continue
        tensors = load(files.read(str(name)))
        tensors["moments"] = tensors["moments"].copy()
        tensors["moments"][places["row"].to_list()] = 0
        renamed[str(name)] = files.put(save(tensors), ".safetensors")
        files.remove(str(name))
        done.files.append(f"{LATENTS}/{name}")
    if renamed:
        memo.erase(
            lambda rows: rows["content_hash"].is_in(list(found.hashes)).fill_null(False),
            lambda rows: rows.with_columns(pl.col("file").replace(renamed)),
        )
        for path in file_system.find(store.home / ADAPTERS, "*/*.parquet"):
            table = pl.read_parquet(io.BytesIO(file_system.read(path)))
            moved = table.with_columns(_moved(pl.col("file"), renamed)) if "file" in table.columns else table
            if not moved.equals(table):
                content = io.BytesIO()
                moved.write_parquet(content)
                file_system.write(path, content.getvalue())
    return renamed


def _moved(file: pl.Expr, renamed: dict[str, str]) -> pl.Expr:
    """Paths of shards under their new names."""
    for old, new in renamed.items():
        file = file.str.replace(f"{old[:2]}/{old}", f"{new[:2]}/{new}", literal=True)
    return file


def _left(store: Store, found: Traces) -> Iterator[str]:
    """Files of the home that still hold a text that names the samples, Dagster's own aside."""
    needles = [needle.encode() for needle in found.needles]
    for path in file_system.find(store.home, "**/*"):
        if file_system.size(path) is None or path.is_relative_to(store.home / "dagster"):
            continue
        content = file_system.read(path)
        if any(needle in content for needle in needles):
            yield path.relative_to(store.home).as_posix()
