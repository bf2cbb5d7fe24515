"""The balanced set's plan: what is even, what nobody else has, and that the faces are the plan's."""

import itertools
from collections import Counter

import numpy as np
import polars as pl
import pytest

from curation.frames import LABELS
from facs import ACTION_UNITS
from miniature import audit_set, balanced_set
from miniature.balanced_set import EACH, INTENSITIES
from miniature.rendered.people import AGES, draw_person
from miniature.train import judge

FIVE = INTENSITIES * EACH


def active(table: pl.DataFrame) -> np.ndarray:
    """How many AUs each row shows."""
    return (table.select(LABELS).to_numpy() > 0).sum(1)


@pytest.fixture(scope="module")
def plan() -> pl.DataFrame:
    return balanced_set.plan(2 * FIVE, seed=3)


def test_every_unit_has_every_intensity_equally_often_alone_and_with_others(plan):
    assert plan.height == 270
    for part in (plan[:FIVE], plan[FIVE:]):
        sizes = active(part)
        assert Counter(sizes.tolist()) == {0: 10, 1: 60, 2: 30, 3: 20, 4: 15}
        for size, label in itertools.product((1, 2, 3, 4), LABELS):
            shown = part.filter(pl.Series(sizes == size))[label]
            assert sorted(shown.filter(shown > 0)) == [1, 2, 3, 4, 5], (size, label)


def test_six_and_nine_are_seen_alone(plan):
    """The paper's method "struggles with AU6 and AU9, as these are rarely seen individually"."""
    alone = plan.filter(pl.Series(active(plan) == 1))
    assert sorted(alone["label_au6"].filter(alone["label_au6"] > 0)) == sorted([1, 2, 3, 4, 5] * 2)
    assert sorted(alone["label_au9"].filter(alone["label_au9"] > 0)) == sorted([1, 2, 3, 4, 5] * 2)


def test_everybody_shows_every_unit_four_times_so_none_goes_with_a_look(plan):
    for _, part in plan.group_by("person"):
        assert part.height == 27
        assert [int((part[label] > 0).sum()) for label in LABELS] == [4] * 12


def test_after_55_people_every_pair_of_units_was_shown_five_times():
    seen = Counter()
    for person in range(55):
        shown = balanced_set.expressions(person)
        assert shown == balanced_set.expressions(person) and len(shown) == EACH
        seen.update(tuple(face) for face in shown if len(face) == 2)
    assert seen == dict.fromkeys(itertools.combinations(ACTION_UNITS, 2), 5)


def test_after_24_people_skins_ages_and_sexes_are_even():
    people = balanced_set.plan(24 * EACH).unique("person")
    for column, each in (("skin", 6), ("age", 8), ("gender", 12)):
        assert set(people.group_by(column).len()["len"]) == {each}
    assert people.select("skin", "age", "gender").is_unique().all()


def test_a_longer_plan_begins_with_the_shorter_one_and_a_seed_makes_another(plan):
    assert balanced_set.plan(40, seed=3).equals(plan[:40])
    assert not balanced_set.plan(40, seed=4).equals(plan[:40])
    assert plan["picture_id"].is_sorted() and plan["picture_id"].is_unique().all()


def test_captions_name_the_person_and_never_the_expression(plan):
    words = " ".join(plan["caption"]).lower()
    for told in ("smil", "frown", "brow ", "brows", "mouth", "lip", "jaw", "nose", "cheek", "expression"):
        assert told not in words
    sexes = plan.select(pl.col("caption").str.contains(pl.col("gender"))).to_series()
    assert sexes.all() and plan["caption"].n_unique() > 200


def test_its_people_occur_in_no_other_part():
    """The judge's calibration and the audit draw theirs from other seeds, first person included."""
    ours = {balanced_set._person(person, 0).shapes for person in range(30)}
    assert len(ours) == 30
    for other in (judge.PEOPLE_SEED, audit_set._PEOPLE_SEED):
        theirs = {draw_person(np.random.default_rng([0, other, index])).shapes for index in range(30)}
        assert not ours & theirs
    assert judge.PEOPLE_SEED != balanced_set.PEOPLE_SEED != audit_set._PEOPLE_SEED


def test_a_picture_is_its_row_s_and_another_intensity_is_another_picture():
    renderer = balanced_set.Renderer(pictures=EACH, side=24, processes=1)
    rows = renderer.plan().to_dicts()
    smile = next(row for row in rows if row["label_au26"] >= 1)
    (first, again) = renderer.render([smile, smile])
    assert first.shape == (24, 24, 3) and first.dtype == np.uint8 and (first == again).all()
    (closed,) = renderer.render([smile | {"label_au26": 0.0}])
    assert (first != closed).any()
    assert {row["age"] for row in rows} <= {age or "middle" for age in AGES}


def test_the_fingerprint_says_size_and_seed_and_not_how_many():
    def mark(**changed):
        return balanced_set.Renderer(**{"pictures": 27, "side": 64, "seed": 0} | changed).fingerprint

    assert mark() == mark(pictures=54) == mark(processes=1)
    assert len({mark(), mark(side=32), mark(seed=1)}) == 3
