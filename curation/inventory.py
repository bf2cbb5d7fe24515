"""What a raw folder holds, and what the pipeline would do with it: the readers' tables, counted.

Reads headers and content hashes; no model, no video is decoded, nothing is written. Layouts are recognised
and read in `curation.layouts`; printing lives in `pipelines`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from curation import frames, layouts, resolution, training_set
from curation.frames import LABELS, HashFiles, Memo, RawDataError
from facs import ACTION_UNITS
from store.hashing import hash_readable_files

EXPRESSIONS = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
    "none",
    "uncertain",
    "non-face",
)
"""AffectNet's expressions, 0 to 10."""

SIDES = (64, 128, 224, 256, 512, 1024)
"""Bounds, in pixels, of the histogram of shorter sides."""

EXAMPLES = 3


@dataclass(frozen=True)
class Rules:
    """What a profile says about raw data before a model is asked, and which stages ask one."""

    min_side: int = 512
    inclusive: bool = True
    inclusive_height: bool = True
    cameras: Sequence[str] = ("left",)
    exclude_faulty: bool = True
    first_frame: int | None = None
    first_label: int = 1
    no_au_share: float = 0.1
    neutral_share_of: Literal["neutral", "active"] = "neutral"
    seed: int = 0
    asks: Sequence[str] = ("photorealism", "au_annotation", "captions")
    """In order."""


@dataclass(frozen=True)
class Source:
    """One data set in the folder. Rows are those of its frames table: lines of AffectNet's lists, DISFA's
    labelled frames, pictures of a plain folder."""

    layout: str
    folder: str
    problem: str | None = None
    """Why the pipeline refuses it as a whole; all counts are then 0."""
    rows: int = 0
    usable: int = 0
    unusable: dict[str, int] = field(default_factory=dict)
    """Rows dropped while reading, by reason code."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The first details of each code."""
    shorter_sides: dict[str, int] = field(default_factory=dict)
    """Pictures by their shorter side in pixels."""
    large_enough: int = 0
    """Pictures that reach the rules' smallest width and height."""
    subjects: int = 0
    captions: int = 0
    expressions: dict[str, int] = field(default_factory=dict)
    action_units: dict[str, list[int]] = field(default_factory=dict)
    """For each action unit the number of labelled frames of intensity 0, 1, ... 5."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Step:
    """One stage: rows that come in, that go on, and the dropped ones by reason."""

    stage: str
    rows: int
    kept: int
    dropped: dict[str, int]


@dataclass(frozen=True)
class Inventory:
    """What `inspect` found. `plan`: the stages before the first model. `calls`: about how many pictures each
    model stage would be asked, at most: what the stage before it drops is not known yet."""

    folder: str
    rules: Rules
    sources: list[Source]
    compared: int
    """Pictures whose content was hashed: none inside a video or a RAR part."""
    duplicates: int
    """Pictures whose content is another one's too, beyond the first of each content."""
    duplicate_examples: list[list[str]]
    plan: list[Step]
    calls: dict[str, int]

    def as_json(self) -> str:
        """All of it, for machines."""
        return json.dumps(asdict(self), indent=2)


def inspect(
    top: Path | str,
    rules: Rules = Rules(),
    hash_files: HashFiles = hash_readable_files,
    memo: Memo | None = None,
) -> Inventory:
    """What lies in `top` and in the folders directly in it, read as the pipeline would, without its decoding.

    `hash_files` and `memo` may remember what was read before (`HashCache(store).hash_readable_files`,
    `store.memo("probes")`). Frames of DISFA's videos are counted by the videos' headers. A data set that the
    pipeline refuses is in `sources` with the sentence that says why. Raises RawDataError if there is nothing
    to recognise.
    """
    top = Path(top).absolute()
    sources, web, films = [], [frames.finished([])], [frames.finished([])]
    for layout, place in layouts.recognise(top):
        notes: list[str] = []
        try:
            table = layouts.READERS[layout](place, rules, hash_files, memo, notes.append)
        except RawDataError as error:
            sources.append(Source(layouts.called(layout, place), str(place), problem=str(error)))
            continue
        sources.append(_described(layouts.called(layout, place, table), place, table, rules, notes))
        (films if layout == "disfa" else web).append(table.drop("landmarks"))
    photographs, frames_of_films = (pl.concat(part, how="diagonal") for part in (web, films))
    stills = frames_of_films.filter(~pl.col("origin").str.contains(r"#\d+$"))
    hashed = pl.concat([photographs, stills]).drop_nulls("content_hash")
    duplicates, examples = _duplicates(hashed)
    plan, calls = _plan(photographs, frames_of_films, rules)
    return Inventory(str(top), rules, sources, hashed.height, duplicates, examples, plan, calls)


def _described(layout: str, place: Path, table: pl.DataFrame, rules: Rules, notes: list[str]) -> Source:
    examples = (
        table.filter(~pl.col("keep"))
        .group_by("reason_code")
        .agg(pl.col("reason_detail").drop_nulls().head(EXAMPLES))
    )
    sized = table.filter(pl.col("width").is_not_null())
    expressions = dict(table["expression"].drop_nulls().cast(pl.Int64).value_counts().iter_rows())
    labelled = table.drop_nulls(LABELS[0]).height
    return Source(
        layout=layout,
        folder=str(place),
        rows=table.height,
        usable=int(table["keep"].sum()),
        unusable=_counts(table),
        examples=dict(examples.sort("reason_code").iter_rows()),
        shorter_sides=_histogram(sized.select(pl.min_horizontal("width", "height")).to_series(), rules),
        large_enough=int(sized.select(resolution.large_enough(**_sides(rules)).sum()).item()),
        subjects=table["subject"].drop_nulls().n_unique(),
        captions=table.height - table["raw_caption"].null_count(),
        expressions={name: expressions[i] for i, name in enumerate(EXPRESSIONS) if i in expressions},
        action_units={
            f"AU{au}": [int((table[label] == value).sum()) for value in range(6)]
            for au, label in zip(ACTION_UNITS, LABELS, strict=True)
        }
        if labelled
        else {},
        notes=notes,
    )


def _histogram(sides: pl.Series, rules: Rules) -> dict[str, int]:
    bounds = [0, *sorted({*SIDES, rules.min_side})]
    counts = {}
    for low, high in zip(bounds, [*bounds[1:], None], strict=True):
        text = f"{low}-{high - 1}" if high else f"{low} and more"
        counts[text] = int(((sides >= low) & (sides < high if high else True)).sum())
    return counts


def _sides(rules: Rules) -> dict[str, Any]:
    return {
        "min_side": rules.min_side,
        "inclusive": rules.inclusive,
        "inclusive_height": rules.inclusive and rules.inclusive_height,
    }


def _duplicates(rows: pl.DataFrame) -> tuple[int, list[list[str]]]:
    """Pictures beyond the first of their content; the first groups of equal ones, by sample id."""
    repeated = rows.select("content_hash", "sample_id").filter(pl.col("content_hash").is_duplicated())
    repeated = repeated.sort("sample_id")
    contents = repeated["content_hash"].unique(maintain_order=True)
    examples = [
        repeated.filter(content_hash=content)["sample_id"].head(EXAMPLES + 1).to_list()
        for content in contents.head(EXAMPLES)
    ]
    return repeated.height - len(contents), examples


def _plan(photographs: pl.DataFrame, films: pl.DataFrame, rules: Rules) -> tuple[list[Step], dict[str, int]]:
    """What the stages before the first model drop, and how many pictures (contents) are left to ask about."""
    drawn = training_set.draw_no_au(films, rules.no_au_share, rules.seed, share_of=rules.neutral_share_of)
    steps = [
        _step(f"raw_{name}", photographs.filter(source=name))
        for name in ("affectnet", "folder")
        if name in photographs["source"]
    ]
    steps += [_step("raw_disfa", drawn)] if drawn.height else []
    unknown = pl.col("width", "height").fill_null(rules.min_side + 1)  # not read yet: counts as large
    large = resolution.apply(photographs.filter("keep").with_columns(unknown), **_sides(rules))
    steps += [_step("resolution", large)] if photographs.height else []
    asked = [
        table.filter("keep").select(pl.coalesce("content_hash", "sample_id")).unique()
        for table in (large, drawn)
    ]
    both = pl.concat(asked).n_unique()
    calls = {stage: both if stage == "captions" else asked[0].height for stage in rules.asks}
    return steps, calls


def _step(stage: str, table: pl.DataFrame) -> Step:
    return Step(stage, table.height, int(table["keep"].sum()), _counts(table))


def _counts(table: pl.DataFrame) -> dict[str, int]:
    return dict(frames.counts_by_reason(table).select("reason_code", "samples").iter_rows())
