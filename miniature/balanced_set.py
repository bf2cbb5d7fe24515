"""Rendered pictures to train with: which there are, with exact and balanced action units, captions, and the
faces themselves. How they are mixed with photographs lives in `curation.training_set`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from functools import cache, cached_property, partial

import numpy as np
import polars as pl

from curation.frames import LABELS
from facs import ACTION_UNITS
from inference.needs import Need, package
from miniature.identities import BACKGROUNDS, CLOTHES, COLOURS, SKINS, caption
from miniature.rendered.many import drawn
from miniature.rendered.people import AGES, Person, draw_person, draw_shot
from miniature.rendered.picture import render
from miniature.rig.head import FILE
from store.hashing import fingerprint, hash_file

CODE_VERSION = "1"
PEOPLE_SEED = 9_000
"""Of these people, who occur nowhere else: no raw data, training, audit or calibration draws from it."""
_EXPRESSIONS_SEED, _WORDS_SEED, _CAPTIONS_SEED = 9_001, 9_002, 9_003
TOGETHER = (1, 2, 3, 4)
"""How many AUs a picture shows: each person shows every AU once alone, in a pair, in a three and in a
four."""
NEUTRAL = 2
"""Pictures of each person that show none."""
INTENSITIES = 5
EACH = sum(len(ACTION_UNITS) // size for size in TOGETHER) + NEUTRAL
"""Pictures of each person: 27."""


def plan(pictures: int, seed: int = 0) -> pl.DataFrame:
    """The first `pictures` of the balanced set, a row each: picture_id, person (from 0), number (from 1, of
    the person's pictures), gender, age, skin, caption, and the exact intensities label_au1 … (whole, 0-5).

    Every person shows every AU equally often, so no AU goes with a skin, an age or a sex. What the first EACH
    pictures have of every AU, the first 5 × EACH have at every intensity 1-5; after 24 people skins, ages and
    sexes are even, after 55 all pairs of AUs. A longer plan begins with the shorter one.
    """
    rows = []
    for person in range(-(-pictures // EACH)):
        for number, shown in enumerate(expressions(person, seed), start=1):
            seen, _ = _seen(person, number, seed)
            rows.append(
                {
                    "picture_id": f"{person:06d}/{number:02d}",
                    "person": person,
                    "number": number,
                    "gender": seen.gender,
                    "age": seen.age or "middle",
                    "skin": seen.skin,
                    "caption": caption(seen, np.random.default_rng([seed, _CAPTIONS_SEED, person, number])),
                    **{
                        label: float(shown.get(au, 0)) for au, label in zip(ACTION_UNITS, LABELS, strict=True)
                    },
                }
            )
    return pl.DataFrame(rows[:pictures])


def expressions(person: int, seed: int = 0) -> list[dict[int, int]]:
    """What one person shows, EACH times: the intensity 1-5 of each AU that is active.

    Five people in a row share a drawing lots in which each AU takes the five intensities once alone, once in
    a pair, and so on. Pairs go round as in a tournament, threes and fours are drawn.
    """
    five, turn = divmod(person, INTENSITIES)
    count = len(ACTION_UNITS)
    rng = np.random.default_rng([seed, _EXPRESSIONS_SEED, five])
    levels = rng.permuted(np.tile(np.arange(1, INTENSITIES + 1), (len(TOGETHER), count, 1)), axis=2)
    orders = rng.permuted(np.tile(np.arange(count), (len(TOGETHER), INTENSITIES, 1)), axis=2)
    shown = []
    for size, level, order in zip(TOGETHER, levels[..., turn], orders[:, turn], strict=True):
        groups = _tournament(person, count) if size == 2 else order.reshape(-1, size).tolist()
        shown += [{ACTION_UNITS[unit]: int(level[unit]) for unit in sorted(group)} for group in groups]
    return [*shown, *({} for _ in range(NEUTRAL))]


def _tournament(day: int, count: int) -> list[tuple[int, int]]:
    """`count` (even) numbers in pairs; after count - 1 days each has met each other once (the circle
    method)."""
    places = count - 1
    meetings = [((day + step) % places, (day - step) % places) for step in range(1, count // 2)]
    return [(day % places, places), *meetings]


@cache
def _person(person: int, seed: int) -> Person:
    """A person of the set; skins, ages and sexes go round."""
    kinds = list(itertools.product(SKINS, AGES, ("woman", "man")))
    order = np.random.default_rng([seed, _WORDS_SEED]).permutation(len(kinds))
    skin, age, gender = kinds[order[person % len(kinds)]]
    return draw_person(_accidents(person, 0, seed), skin=skin, age=age, gender=gender)


def _seen(person: int, number: int, seed: int) -> tuple[Person, np.random.Generator]:
    """The person as one picture shows them, in other clothes and elsewhere in each; and the generator of the
    rest of its accidents."""
    rng = _accidents(person, number, seed)
    dressed = dataclasses.replace(
        _person(person, seed),
        clothing=CLOTHES[rng.integers(len(CLOTHES))],
        clothing_colour=tuple(COLOURS)[rng.integers(len(COLOURS))],
        background=tuple(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))],
        wall_colour=tuple(COLOURS)[rng.integers(len(COLOURS))],
    )
    return dressed, rng


def _accidents(person: int, number: int, seed: int) -> np.random.Generator:
    """Of the person (`number` 0) or of one of their pictures (from 1)."""
    return np.random.default_rng([seed, PEOPLE_SEED, person, number])


def picture(row: dict, side: int, seed: int = 0) -> np.ndarray:
    """The picture of one row of `plan`, uint8 [side, side, 3]."""
    seen, rng = _seen(row["person"], row["number"], seed)
    return render(seen, draw_shot(rng), [row[label] for label in LABELS], (side, side))


class Renderer:
    """Renders the plan's pictures of `side` pixels, on all cores; see `inference.abilities.FaceRenderer`."""

    name = "rendered faces"

    def __init__(self, pictures: int, side: int, seed: int = 0, processes: int | None = None):
        self.pictures, self.side, self.seed, self.processes = pictures, side, seed, processes

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the rig, size, seed and code version; not of how many there are. Loads nothing."""
        return fingerprint(
            kind="balanced", code=CODE_VERSION, rig=hash_file(FILE), side=self.side, seed=self.seed
        )

    def needs(self) -> Iterator[Need]:
        """What casts the rays."""
        yield package("embreex", "make environment")

    def plan(self) -> pl.DataFrame:
        """The rows of `plan`."""
        return plan(self.pictures, self.seed)

    def render(self, rows: Sequence[dict]) -> Iterator[np.ndarray]:
        """The picture of each row, in order: uint8 [side, side, 3]."""
        yield from drawn(partial(picture, side=self.side, seed=self.seed), rows, self.processes)
