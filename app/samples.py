"""All samples of a home in one table: what became of each, and which a filter asks for. Pure polars."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import polars as pl

import facs
import reasons
import stages
from curation import overrides as said
from curation.frames import LABELS
from store import Store

RAW = tuple(name for name in stages.FUNNEL if name.startswith("raw_"))
SHOWN = 100
"""Samples on a page."""
READINGS, PICTURES, LAST, VERDICTS = "au_annotation", "face_crop", "training_set", "photorealism"
MEMO = "action_units"

Order = Literal["id", "disagreement", "borderline", "strongest"]
Verdict = Literal["kept", "dropped", "open"]


@dataclass(frozen=True)
class Filter:
    """Which samples are wanted; what is None does not matter.

    verdict: "kept" in the training set, "dropped" by any stage, "open" where no stage has settled it yet.
    au, low, high: samples whose intensity of that AU is in the range. disagreement: at least so many points
    of intensity between annotators. overruled: whether a person's word stands. text: part of id or caption.
    """

    source: str | None = None
    verdict: Verdict | None = None
    stage: str | None = None
    reason: str | None = None
    split: str | None = None
    au: int | None = None
    low: float = 0.0
    high: float = facs.MAXIMUM
    disagreement: float | None = None
    overruled: bool | None = None
    text: str = ""
    order: Order = "id"

    @classmethod
    def of(cls, given: dict[str, str]) -> Filter:
        """What the address of a page asks for; names that are no filter's, and empty values, are left out."""
        readers: dict[str, Any] = {
            "au": facs.number,
            "overruled": lambda text: text not in ("0", "false", "no"),
            **dict.fromkeys(("low", "high", "disagreement"), float),
        }
        known = {field.name for field in fields(cls)}
        return cls(**{n: readers.get(n, str)(v) for n, v in given.items() if n in known and v != ""})


class Overview:
    """The table of all samples of `store`, built again when one of the tables behind it has a new version."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._versions: tuple[int | None, ...] = ()
        self._frame = pl.DataFrame()

    @property
    def frame(self) -> pl.DataFrame:
        """`overview` of the latest versions."""
        versions = tuple(map(self._store.version, (*stages.FUNNEL, "disfa_readings", said.TABLE)))
        if versions != self._versions:
            self._frame, self._versions = overview(self._store), versions
        return self._frame


def overview(store: Store) -> pl.DataFrame:
    """A row a sample, sorted by id: where its picture lies, what became of it (`keep`, null while that is
    open; `stage`, the last that saw it; its reason), `split`, `caption`, au1 … au26 (as trained on; else as
    read, else as labelled), `overruled`, `margin` of the photorealism verdict, and `disagreement`.
    """
    written = [name for name in stages.FUNNEL if store.version(name) is not None]
    columns = ["sample_id", "source", "keep", *reasons.COLUMNS]
    seen = [store.read(name, columns=columns).with_columns(stage=pl.lit(name)) for name in written]
    if not any(table.height for table in seen):
        return _empty()
    table = pl.concat(seen).group_by("sample_id", maintain_order=True).last()
    settled = ~pl.col("keep") | (pl.col("stage") == LAST)
    table = table.with_columns(pl.when(settled).then(pl.col("keep")).alias("keep"))
    pictures = pl.concat(
        [
            store.read(name, columns=["sample_id", "file_kind", "file"])
            for name in (PICTURES, *RAW)
            if name in written
        ]
    )
    pictures = pictures.drop_nulls("file").unique("sample_id", keep="first", maintain_order=True)
    table = table.join(pictures, on="sample_id", how="left")
    for part in (
        _labels(store, written),
        _verdicts(store, written),
        _words(store),
        _disagreement(store, written),
    ):
        table = table.join(part, on="sample_id", how="left")
    return pl.concat([_empty(), table.select(_SCHEMA.names()).cast(_SCHEMA)]).sort("sample_id")


_SCHEMA = pl.Schema(
    {
        **dict.fromkeys(("sample_id", "source", "file_kind", "file", "stage"), pl.String()),
        "keep": pl.Boolean(),
        **dict.fromkeys((*reasons.COLUMNS, "split", "caption"), pl.String()),
        **dict.fromkeys(facs.COLUMNS, pl.Float64()),
        "overruled": pl.Boolean(),
        **dict.fromkeys(("margin", "disagreement"), pl.Float64()),
    }
)


def select(samples: pl.DataFrame, wanted: Filter) -> pl.DataFrame:
    """The rows of `overview` that `wanted` asks for, in its order."""
    states: dict[str, pl.Expr] = {
        "kept": pl.col("keep"),
        "dropped": ~pl.col("keep"),
        "open": pl.col("keep").is_null(),
    }
    found = [
        pl.col(column) == value
        for column, value in (("source", wanted.source), ("stage", wanted.stage), ("split", wanted.split))
        if value is not None
    ]
    if wanted.verdict is not None:
        found.append(states[wanted.verdict])
    if wanted.reason is not None:
        found.append(pl.col("reason_code") == wanted.reason)
    if wanted.au is not None:
        found.append(pl.col(f"au{wanted.au}").is_between(wanted.low, wanted.high))
    if wanted.disagreement is not None:
        found.append(pl.col("disagreement") >= wanted.disagreement)
    if wanted.overruled is not None:
        found.append(pl.col("overruled").fill_null(False) == wanted.overruled)
    if text := wanted.text.strip().lower():
        here = [
            pl.col(name).str.to_lowercase().str.contains(text, literal=True)
            for name in ("sample_id", "caption")
        ]
        found.append(pl.any_horizontal(one.fill_null(False) for one in here))
    orders: dict[str, tuple[pl.Expr, bool]] = {
        "disagreement": (pl.col("disagreement"), True),
        "borderline": (pl.col("margin").abs(), False),
        "strongest": (pl.col(f"au{wanted.au}") if wanted.au else pl.max_horizontal(facs.COLUMNS), True),
    }
    table = samples.filter(*found)
    if wanted.order in orders:
        by, descending = orders[wanted.order]
        table = table.sort(by, "sample_id", descending=[descending, False], nulls_last=True)
    return table


def page(samples: pl.DataFrame, number: int, size: int = SHOWN) -> pl.DataFrame:
    """Page `number` (the first is 1) of so many rows; the last one for a number beyond."""
    return samples.slice((min(max(1, number), pages(samples, size)) - 1) * size, size)


def pages(samples: pl.DataFrame, size: int = SHOWN) -> int:
    """How many pages there are, at least one."""
    return max(1, -(-samples.height // size))


def choices(samples: pl.DataFrame) -> dict[str, list[str]]:
    """The values that each filter can have in this home."""
    counted = {
        "reason": samples.filter(keep=False)
        .group_by("reason_code")
        .len()
        .sort("len", descending=True)["reason_code"]
    }
    present = {name: samples[name].drop_nulls().unique() for name in ("source", "split", "stage")}
    order = {name: place for place, name in enumerate(stages.FUNNEL)}
    return {
        "source": present["source"].sort().to_list(),
        "split": present["split"].sort().to_list(),
        "stage": sorted(present["stage"].to_list(), key=lambda name: order[name]),
        "reason": [str(code) for code in counted["reason"].drop_nulls()],
    }


def queue(store: Store, count: int = 200) -> pl.DataFrame:
    """The photorealism verdicts that were closest and that nobody has spoken about, closest first, with
    `margin`; none where no model was asked."""
    from curation import photorealism

    thresholds = _thresholds(store)
    if thresholds is None:
        return pl.DataFrame(schema={"sample_id": pl.String})
    table = store.read(VERDICTS)
    spoken = _standing(store).filter(stage=VERDICTS).select("sample_id")
    return photorealism.borderline(table.join(spoken, on="sample_id", how="anti"), thresholds, count)


def _empty() -> pl.DataFrame:
    return _SCHEMA.to_frame()


def _labels(store: Store, written: list[str]) -> pl.DataFrame:
    """sample_id and au1 … au26: the final label, else the reading, else the manual one; split and caption."""
    parts = []
    if LAST in written:
        parts.append(store.read(LAST, columns=["sample_id", "split", *facs.COLUMNS]))
    if READINGS in written:
        parts.append(store.read(READINGS, columns=["sample_id", *facs.COLUMNS]))
    parts += [
        store.read(name, columns=["sample_id", *LABELS]).rename(dict(zip(LABELS, facs.COLUMNS, strict=True)))
        for name in RAW
        if name in written
    ]
    labels = pl.concat(
        [pl.DataFrame(schema={"sample_id": pl.String, "split": pl.String}), *parts], how="diagonal"
    )
    labels = labels.unique("sample_id", keep="first", maintain_order=True)
    captions = pl.DataFrame(schema={"sample_id": pl.String, "caption": pl.String})
    if "captions" in written:
        captions = store.read("captions", columns=["sample_id", "caption"])
    return labels.join(captions, on="sample_id", how="left")


def _verdicts(store: Store, written: list[str]) -> pl.DataFrame:
    """sample_id and margin: how far the scores of the photorealism verdict lie from turning it."""
    from curation import photorealism

    thresholds = _thresholds(store) if VERDICTS in written else None
    if thresholds is None:
        return pl.DataFrame(schema={"sample_id": pl.String, "margin": pl.Float64})
    scores = store.read(VERDICTS, columns=["sample_id", "cartoon_score", "real_score"])
    return photorealism.borderline(scores, thresholds, scores.height).select("sample_id", "margin")


def _thresholds(store: Store) -> dict[str, float] | None:
    """Those that the latest verdicts were made with; None where there are none, or nobody was asked."""
    import json

    if store.version(VERDICTS) is None:
        return None
    settings = json.loads(store.history(VERDICTS)[0]["metadata"].get("settings") or "{}")
    found: dict[str, float] | None = settings.get("photorealism", {}).get("thresholds")
    return found


def _standing(store: Store) -> pl.DataFrame:
    if store.version(said.TABLE) is None:
        return said.SCHEMA.to_frame()
    rows = said.complete(store.read(said.TABLE))
    return pl.concat(said.standing(rows, stage) for stage in said.SAYS)


def _words(store: Store) -> pl.DataFrame:
    """sample_id and overruled, for those about which a person's word stands, applied yet or not."""
    return _standing(store).select("sample_id").unique().with_columns(overruled=pl.lit(True))


def _disagreement(store: Store, written: list[str]) -> pl.DataFrame:
    """sample_id and how far apart the readings of its picture lie, in points of intensity: of each AU the
    largest less the smallest of all that estimators read and coders labelled, averaged over the AUs that at
    least two of them have. Nothing for a sample that one annotator saw."""
    memo = store.memo(MEMO).read()
    pictures = [
        store.read(name, columns=["sample_id", "content_hash"]) for name in (PICTURES,) if name in written
    ]
    none = pl.DataFrame(schema={"sample_id": pl.String, "disagreement": pl.Float64})
    if not pictures or "content_hash" not in memo.columns:
        return none
    readings = (
        pictures[0].join(memo.select("content_hash", *facs.COLUMNS), on="content_hash").drop("content_hash")
    )
    if "raw_disfa" in written:
        manual = store.read("raw_disfa", columns=["sample_id", *LABELS])
        manual = manual.rename(dict(zip(LABELS, facs.COLUMNS, strict=True)))
        readings = pl.concat([readings, manual.join(readings.select("sample_id").unique(), on="sample_id")])
    several = [pl.col(column).count() > 1 for column in facs.COLUMNS]
    spread = [
        pl.when(many).then(pl.col(column).max() - pl.col(column).min()).alias(column)
        for column, many in zip(facs.COLUMNS, several, strict=True)
    ]
    table = readings.group_by("sample_id").agg(spread)
    return table.select("sample_id", disagreement=pl.mean_horizontal(facs.COLUMNS)).drop_nulls()
