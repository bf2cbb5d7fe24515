"""Which samples are generated: 15 prompts × (12 AUs × 5 intensities + 50 combinations). Nothing is measured.

Seven of the prompts are hand-written, eight drawn from the captions of the training set. A protocol is a
table; `version` names its content. Nothing in it is drawn from a random generator whose stream a library
could change: captions and intensities are drawn by hash.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import yaml

import facs
from stages import RENDERED
from store.hashing import hash_frame

FOLDER = Path(__file__).parent / "protocols"
INTENSITIES = (1, 2, 3, 4, 5)
BEYOND = (-3.0, 7.0)
"""Intensities outside of the scale; the paper shows that both mean something to its method."""
COMBINATIONS_PER_PROMPT = 50
VALIDATION_INTENSITIES = (2, 4)
DRAWN = "training caption"
"""The source of a prompt that was drawn."""
HELD_OUT_PROMPTS = 50
"""Of the second set of prompts, which is opened once, at the end."""
HELD_OUT_COMBINATIONS = 10
_HELD_OUT_INDEX = 200  # likewise
_VALIDATION_INDEX = 100  # validation prompts count from here: no index, and so no seed, is shared with the 15

SCHEMA = pl.Schema(
    {
        "sample_id": pl.String,
        "kind": pl.String,  # individual | combination | validation | beyond | no_au | base
        "prompt_index": pl.Int64,
        "prompt": pl.String,
        "prompt_source": pl.String,  # paper | ours | training caption
        **dict.fromkeys(facs.COLUMNS, pl.Float64),  # 0 where not prompted
        "prompted": pl.String,  # "6+12"; "" where nothing is prompted
        "seed": pl.Int64,  # of the initial noise
        "partner_id": pl.String,  # the no-AU sample of the same prompt and noise; null for a no-AU sample
    }
)


@dataclass(frozen=True)
class Prompts:
    """The prompts of one protocol: texts with their sources, and those on which guidance is chosen."""

    texts: tuple[str, ...]
    sources: tuple[str, ...]
    """Of each text: "paper", "ours" or DRAWN."""
    validation_texts: tuple[str, ...]
    seed: int
    drawn: int
    """How many more a whole protocol draws from the training captions."""


def names() -> list[str]:
    """The protocols there are: `["miniature", "paper"]`."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != "combinations")


def prompts(name: str) -> Prompts:
    """The hand-written prompts of the protocol `name`. Raises ValueError if there is none of that name."""
    if name not in names():
        raise ValueError(f"unknown protocol {name!r}; there are {', '.join(names())}")
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    texts = tuple(entry["text"] for entry in content["prompts"])
    validation_texts = tuple(entry["text"] for entry in content["validation_prompts"])
    every = texts + validation_texts
    if len(set(map(_wording, every))) != len(every):
        raise ValueError(f"protocol {name!r}: a prompt stands twice")
    sources = tuple(entry["source"] for entry in content["prompts"])
    return Prompts(texts, sources, validation_texts, content["seed"], content["drawn"])


def with_captions(asked: Prompts, captions: Iterable[str], count: int | None = None) -> Prompts:
    """`asked` with prompts drawn from `captions` after the hand-written ones; the first `count` of them all.

    Distinct captions are put in an order that depends on nothing but the seed and their own wording, and the
    first ones are taken: another order of the training set changes nothing, a few captions more hardly
    anything. Captions that differ only in case or spaces are one, and those that are a hand-written or a
    validation prompt are none. Raises ValueError if there are too few.
    """
    wanted = len(asked.texts) + asked.drawn if count is None else count
    missing = max(0, wanted - len(asked.texts))
    if missing > asked.drawn:
        raise ValueError(f"{wanted} prompts asked for; the protocol has {len(asked.texts) + asked.drawn}")
    taken = set(map(_wording, asked.texts + asked.validation_texts))
    distinct = {_wording(text): " ".join(text.split()) for text in sorted(captions)}
    free = sorted(distinct.keys() - taken - {""}, key=lambda wording: hash_of(asked.seed, "caption", wording))
    if len(free) < missing:
        raise ValueError(
            f"the protocol draws {missing} prompts from the training captions, but only {len(free)} are "
            f"distinct; evaluation.prompts: {len(asked.texts)} uses the hand-written ones only"
        )
    texts = asked.texts + tuple(distinct[wording] for wording in free[:missing])
    sources = asked.sources + (DRAWN,) * missing
    return replace(asked, texts=texts[:wanted], sources=sources[:wanted])


def training_captions(training_set: pl.DataFrame) -> list[str]:
    """The captions of the samples that are trained on: kept, in the split "train"; as often as they occur.

    Not those of rendered pictures: with these and without, the prompts are the same.
    """
    return _captions(training_set, pl.col("split") == "train")


def other_captions(training_set: pl.DataFrame) -> list[str]:
    """Those of the kept samples of the other splits, else as `training_captions`."""
    return _captions(training_set, pl.col("split") != "train")


def _captions(training_set: pl.DataFrame, wanted: pl.Expr) -> list[str]:
    taken = training_set.filter("keep", wanted, pl.col("source") != RENDERED)
    return taken["caption"].drop_nulls().to_list()


def build(name: str, captions: Iterable[str] = (), count: int | None = None) -> pl.DataFrame:
    """The 1650 samples of the protocol `name` (900 individual, 750 combinations): SCHEMA, sorted by id.

    The prompts are those of `with_captions`: `captions` are the training set's, `count` keeps the first so
    many prompts. The five intensities of one (prompt, AU) share one seed, so a sweep varies nothing else.
    Every prompt is asked for the same 50 AU vectors, so that prompts differ by the prompt alone and can be
    resampled as clusters; combination k of a prompt reuses the seed of the prompt's AU number k mod 12.
    Raises ValueError for an unknown name or too few captions. Source: the paper's evaluation protocol; which
    prompts and combinations are the paper's and which ours stands in the files under `protocols/`.
    """
    asked = with_captions(prompts(name), captions, count)
    vectors = combinations()
    rows = []
    for index, prompt in enumerate(zip(asked.texts, asked.sources, strict=True)):
        for au in facs.ACTION_UNITS:
            for intensity in INTENSITIES:
                sample_id = f"individual/{index:02d}/au{au:02d}/{intensity}"
                rows.append(_row(sample_id, "individual", index, prompt, {au: intensity}, au, asked.seed))
        for k, vector in enumerate(vectors):
            sample_id = f"combination/{index:02d}/{k:02d}"
            noise = facs.ACTION_UNITS[k % len(facs.ACTION_UNITS)]
            rows.append(_row(sample_id, "combination", index, prompt, vector, noise, asked.seed))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("sample_id")


def no_au_samples(protocol: pl.DataFrame) -> pl.DataFrame:
    """The distinct no-AU partners of the samples of `protocol` (SCHEMA): 15 × 12 = 180 for a whole protocol.

    Their AUs are 0, their kind is "no_au"; `sample_id` is what `partner_id` of the samples names.
    """
    return (
        protocol.filter(pl.col("partner_id").is_not_null())
        .unique("partner_id")
        .with_columns(
            *[pl.lit(0.0).alias(column) for column in facs.COLUMNS],
            sample_id=pl.col("partner_id"),
            kind=pl.lit("no_au"),
            prompted=pl.lit(""),
            partner_id=pl.lit(None, dtype=pl.String),
        )
        .select(list(SCHEMA))
        .sort("sample_id")
    )


def beyond_samples(protocol: pl.DataFrame) -> pl.DataFrame:
    """Each AU of the first prompt of `protocol` alone at BEYOND, outside of the scale of labels: shown, and
    counted in no measure. Kind "beyond"; noise and partner are those of the AU's sweep."""
    sweeps = protocol.filter(pl.col("prompt_index") == pl.col("prompt_index").min(), kind="individual")
    one = sweeps.filter(pl.max_horizontal(facs.COLUMNS) == facs.MAXIMUM)
    moved = [
        one.with_columns(
            *[
                pl.when(pl.col(column) > 0).then(value).otherwise(0.0).alias(column)
                for column in facs.COLUMNS
            ],
            sample_id=pl.col("sample_id").str.replace(r"^individual/(.*)/\d+$", f"beyond/${{1}}/{value:+g}"),
            kind=pl.lit("beyond"),
        )
        for value in BEYOND
    ]
    return pl.concat(moved).select(list(SCHEMA)).sort("sample_id")


def base_samples(protocol: pl.DataFrame) -> pl.DataFrame:
    """What the untouched base is to be drawn with: `no_au_samples`, of kind "base" and ids of their own."""
    return no_au_samples(protocol).with_columns(
        sample_id=pl.col("sample_id").str.replace("^no_au/", "base/"), kind=pl.lit("base")
    )


def validation_samples(name: str, count: int | None = None) -> pl.DataFrame:
    """The 60 samples on which guidance is chosen: 5 other prompts × 12 AUs, intensities 2 and 4 alternating.
    `count` keeps the first so many prompts.

    Neither a prompt nor a seed is shared with `build(name, ...)`, whatever captions were drawn. Kind
    "validation"; in SCHEMA, sorted by sample_id.
    """
    asked = prompts(name)
    rows = []
    for offset, prompt in enumerate(asked.validation_texts[:count]):
        index = _VALIDATION_INDEX + offset
        for position, au in enumerate(facs.ACTION_UNITS):
            intensity = VALIDATION_INTENSITIES[(offset + position) % len(VALIDATION_INTENSITIES)]
            sample_id = f"validation/{index}/au{au:02d}/{intensity}"
            said = (prompt, "ours")
            rows.append(_row(sample_id, "validation", index, said, {au: intensity}, au, asked.seed))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("sample_id")


def held_out_samples(
    name: str,
    captions: Iterable[str],
    others: Iterable[str] = (),
    count: int | None = None,
    held_out: int = HELD_OUT_PROMPTS,
) -> pl.DataFrame:
    """The samples of `held_out` further prompts, each with the twelve AUs alone, one intensity each, and ten
    of the combinations: 1100 for 50 prompts, all intensities and combinations alike often. In SCHEMA, sorted
    by id.

    Prompts are captions that neither `build(name, captions, count)` nor `validation_samples` uses, drawn by
    hash: first those that only stand in `others`, of pictures that nothing was trained on. No seed is shared
    either. Raises ValueError if there are too few.
    """
    captions, asked = list(captions), prompts(name)
    used = with_captions(asked, captions, count)
    taken = set(map(_wording, used.texts + used.validation_texts))
    trained = set(map(_wording, captions))
    distinct = {_wording(text): " ".join(text.split()) for text in sorted([*captions, *others])}
    free = sorted(
        distinct.keys() - taken - {""},
        key=lambda wording: (wording in trained, hash_of(asked.seed, "held out", wording)),
    )
    if len(free) < held_out:
        raise ValueError(
            f"{held_out} held-out prompts are asked for, only {len(free)} captions are used by nobody"
        )
    vectors, rows = combinations(), []
    for offset, wording in enumerate(free[:held_out]):
        index, prompt = _HELD_OUT_INDEX + offset, (distinct[wording], DRAWN)
        for position, au in enumerate(facs.ACTION_UNITS):
            intensity = INTENSITIES[(offset + position) % len(INTENSITIES)]
            sample_id = f"held_out/individual/{index}/au{au:02d}/{intensity}"
            rows.append(_row(sample_id, "individual", index, prompt, {au: intensity}, au, asked.seed))
        for turn in range(HELD_OUT_COMBINATIONS):
            k = (offset * HELD_OUT_COMBINATIONS + turn) % len(vectors)
            noise = facs.ACTION_UNITS[k % len(facs.ACTION_UNITS)]
            sample_id = f"held_out/combination/{index}/{k:02d}"
            rows.append(_row(sample_id, "combination", index, prompt, vectors[k], noise, asked.seed))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("sample_id")


def version(protocol: pl.DataFrame) -> str:
    """32 hex digits that name the content of `protocol`: every column, every row, their order."""
    return hash_frame(protocol.select(list(SCHEMA)))


@functools.cache
def patterns() -> tuple[tuple[int, ...], ...]:
    """The 25 AU combinations, those known from the paper first."""
    content = _combinations_file()
    return tuple(tuple(pattern) for pattern in content["known"] + content["ours"])


@functools.cache
def combinations() -> tuple[dict[str | int, float], ...]:
    """The 50 AU vectors `{au: intensity}`: each pattern twice, all distinct.

    Of each AU's occurrences as many as possible have each of the intensities 2-5; which one has which is
    shuffled by hash.
    """
    low, high = _combinations_file()["intensities"]
    asked = [patterns()[k % len(patterns())] for k in range(COMBINATIONS_PER_PROMPT)]
    salt = 0
    while True:
        vectors: list[dict[str | int, float]] = [{} for _ in asked]
        for position, au in enumerate(facs.ACTION_UNITS):
            users = sorted(
                (k for k, pattern in enumerate(asked) if au in pattern), key=lambda k: hash_of(salt, au, k)
            )
            for rank, k in enumerate(users):
                vectors[k][au] = low + (rank + position) % (high - low + 1)
        if len({tuple(vector.items()) for vector in vectors}) == len(vectors):
            return tuple(vectors)
        salt += 1


@functools.cache
def _combinations_file() -> dict:
    return yaml.safe_load((FOLDER / "combinations.yaml").read_text(encoding="utf-8"))


def _wording(text: str) -> str:
    return " ".join(text.casefold().split())


def hash_of(*key: int | str) -> bytes:
    """Eight bytes that nothing but `key` decides: what is drawn by hash is sorted by them."""
    return hashlib.blake2b(repr(key).encode(), digest_size=8).digest()


def _row(
    sample_id: str,
    kind: str,
    index: int,
    prompt: tuple[str, str],
    aus: Mapping[str | int, float],
    noise_au: int,
    seed: int,
) -> Sequence[object]:
    return (
        sample_id,
        kind,
        index,
        *prompt,
        *facs.parse(aus),
        "+".join(str(au) for au in aus),
        seed + 100 * index + noise_au,
        f"no_au/{index:02d}/au{noise_au:02d}",
    )
