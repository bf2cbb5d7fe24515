"""The annotator audit: its pictures' plan, and tables whose right answer is known in advance."""

import numpy as np
import polars as pl
import pytest

from evaluation import annotator_audit as audit
from evaluation import tables
from facs import ACTION_UNITS, COLUMNS
from miniature import audit_set


@pytest.fixture(scope="module")
def plan() -> pl.DataFrame:
    return audit_set.plan(people=24)


def readings(plan: pl.DataFrame, read) -> pl.DataFrame:
    """What an annotator answers that makes readings [N, 12] of true intensities [N, 12]."""
    found = read(plan.select(audit.TRUTH).to_numpy())
    columns = {name: pl.Series(found[:, k]).fill_nan(None) for k, name in enumerate(COLUMNS)}
    return pl.DataFrame({"picture_id": plan["picture_id"], "faces": [1] * len(plan), **columns})


def table(plan: pl.DataFrame, read) -> pl.DataFrame:
    return audit.joined(plan, readings(plan, read))


def test_the_plan_shows_every_unit_alone_at_each_intensity_to_a_balanced_group(plan):
    alone = plan.filter(kind="alone")
    assert len(alone) == 24 * 60
    people = plan.unique("person")
    assert people.group_by("skin").len()["len"].to_list() == [6] * 4
    assert people.group_by("gender").len()["len"].to_list() == [12] * 2
    assert plan.filter(kind="pair").select(audit.TRUTH).to_numpy().astype(bool).sum(1).min() == 2
    assert plan.filter(kind="asymmetric")["lean"].unique().sort().to_list() == [-1, 1]
    assert plan["picture_id"].is_unique().all()


def test_a_perfect_annotator(plan):
    perfect = table(plan, lambda true: true.astype(float))
    slope = audit.gains(perfect)
    np.testing.assert_allclose(slope["gain"], 1.0, atol=1e-9)
    np.testing.assert_allclose(slope["offset"], 0.0, atol=1e-9)
    np.testing.assert_allclose(audit.monotonicity(perfect)["spearman"], 1.0)
    np.testing.assert_allclose(audit.cross_talk(perfect), np.eye(12), atol=1e-12)
    assert audit.errors(perfect, "skin")["mae"].max() == 0
    assert audit.failures(perfect, "pose")["share"].max() == 0


def test_gain_offset_and_cross_talk_are_found(plan):
    def read(true):
        found = 0.5 * true + 1.0
        found[:, 1] += 0.25 * true[:, 0]  # AU1 leaks into AU2
        return found

    found = table(plan, read)
    slope = audit.gains(found)
    np.testing.assert_allclose(slope["gain"], 0.5, atol=1e-9)
    np.testing.assert_allclose(slope["offset"], 1.0, atol=1e-9)
    talk = audit.cross_talk(found)
    np.testing.assert_allclose(np.diag(talk), 0.5)
    assert talk[0, 1] == pytest.approx(0.25)
    assert np.abs(talk - np.diag(np.diag(talk))).sum() == pytest.approx(0.25)


def test_an_annotator_that_never_moves_scores_nothing_and_one_that_falls_less(plan):
    rank = audit.monotonicity(table(plan, lambda true: np.full(true.shape, 2.0)))
    assert rank["spearman"].to_list() == [0.0] * 12
    assert rank["rising"].to_list() == [0.0] * 12
    assert audit.monotonicity(table(plan, lambda true: -true))["spearman"].max() == pytest.approx(-1.0)


def test_an_unread_unit_stays_null_everywhere(plan):
    def read(true):
        found = true.astype(float)
        found[:, 5] = np.nan
        return found

    found = table(plan, read)
    assert audit.supported(found) == tuple(unit for unit in ACTION_UNITS if unit != 9)
    assert audit.monotonicity(found).filter(au=9)["spearman"].item() is None
    assert audit.gains(found).filter(au=9)["gain"].item() is None
    assert np.isnan(audit.cross_talk(found)[:, 5]).all()
    assert "9    not read" in audit.text(found)


def test_errors_and_failures_are_told_by_skin(plan):
    worse = (plan["skin"] == "dark").to_numpy()
    found = readings(plan, lambda true: true + 0.5 * worse[:, None])
    by_skin = audit.errors(audit.joined(plan, found), "skin")
    assert dict(zip(by_skin["value"], by_skin["mae"], strict=True))["dark"] == pytest.approx(0.5)
    assert by_skin.filter(value="pale")["mae"].item() == 0
    lost = found.filter(pl.Series(~worse))
    share = audit.failures(audit.joined(plan, lost), "skin")
    assert dict(zip(share["value"], share["share"], strict=True)) == {
        "brown": 0,
        "dark": 1,
        "pale": 0,
        "tan": 0,
    }


def test_intervals_hold_the_value_and_are_drawn_over_people(plan):
    rng = np.random.default_rng(1)
    found = audit.errors(table(plan, lambda true: true + rng.normal(0, 1, true.shape)), "age")
    assert (found["low"] <= found["mae"]).all() and (found["mae"] <= found["high"]).all()
    assert found["people"].to_list() == [8, 8, 8]


def test_what_does_not_fit_is_named(plan):
    good = readings(plan, lambda true: true.astype(float))
    with pytest.raises(ValueError, match="faces"):
        audit.joined(plan, good.drop("faces"))
    with pytest.raises(ValueError, match="twice"):
        audit.joined(plan, pl.concat([good, good]))
    with pytest.raises(ValueError, match="unknown pictures"):
        audit.joined(plan.head(5), good)
    with pytest.raises(ValueError, match="by must be one of"):
        audit.errors(table(plan, lambda true: true.astype(float)), "height")


def test_pictures_are_the_same_by_one_process_and_by_two(plan):
    few = plan.filter(pl.col("kind").is_in(["neutral", "resolution"])).head(26).tail(4).to_dicts() * 9
    one, two = (list(audit_set.Renderer(processes=processes).render(few)) for processes in (1, 2))
    assert [picture.shape[0] for picture in one] == [row["resolution"] for row in few]
    assert all(np.array_equal(first, second) for first, second in zip(one, two, strict=True))
    assert audit_set.Renderer(seed=1).fingerprint != audit_set.Renderer().fingerprint


def test_curves_are_those_of_the_perfect_annotator(plan):
    found = audit.curves(table(plan, lambda true: true.astype(float)))
    assert found.schema == tables.CURVES and found["value"].to_list() == found["intensity"].to_list()
    assert (found["low"] == found["high"]).all(), "nobody differs"
