"""Golden values worked out by hand, and what the measures must not reward."""

import math

import numpy as np
import polars as pl
import pytest
import tiny_protocol
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import facs
from evaluation import metrics, protocol
from evaluation.bootstrap import Sums
from evaluation.metrics import MEASURED, Scores

PROTOCOL = tiny_protocol.build()
INDIVIDUAL = PROTOCOL.filter(kind="individual")


def scored(frame: pl.DataFrame, measured: np.ndarray) -> pl.DataFrame:
    """`frame` with these intensities measured ([N, 12], NaN = not measured)."""
    return frame.with_columns(
        pl.Series(name, column).fill_nan(None)
        for name, column in zip(MEASURED, np.asarray(measured).T, strict=True)
    )


def small(asked: list[dict], measured: list[dict | None], prompt=None) -> Scores:
    """A few hand-written samples; None = no face."""
    rows = pl.DataFrame(
        {"sample_id": [f"s{i}" for i in range(len(asked))], "prompt_index": prompt or list(range(len(asked)))}
    ).with_columns(
        pl.Series(c, v) for c, v in zip(facs.COLUMNS, zip(*map(facs.parse, asked), strict=True), strict=True)
    )
    nothing = (math.nan,) * 12
    return Scores.of(scored(rows, np.array([nothing if m is None else facs.parse(m) for m in measured])))


def value(sums: Sums) -> float:
    return sums.total.sum() / sums.count.sum()


def test_an_all_zero_prediction_scores_eleven_on_the_individual_samples():
    scores = Scores.of(scored(INDIVIDUAL, np.zeros((900, 12))))
    assert value(metrics.au_mse_prompted(scores)) == 11.0
    assert value(metrics.au_mse_all(scores)) == pytest.approx(11 / 12, abs=1e-12)
    assert round(value(metrics.au_mse_all(scores)), 4) == 0.9167
    assert value(metrics.au_mse_unprompted(scores)) == 0.0
    assert value(metrics.au_mse_mismatched(scores)) == pytest.approx(11.0)
    assert metrics.au_mse_prompted(scores).n == 900
    assert metrics.au_mse_all(scores).n == 900 * 12


def test_a_perfect_prediction_scores_zero_and_its_mismatch_eleven():
    scores = Scores.of(scored(INDIVIDUAL, INDIVIDUAL.select(facs.COLUMNS).to_numpy()))
    assert value(metrics.au_mse_prompted(scores)) == 0.0
    assert value(metrics.au_mse_all(scores)) == 0.0
    assert value(metrics.au_mse_mismatched(scores)) == pytest.approx(11.0)


def test_two_samples_by_hand():
    # asked 6=4, 12=2; measured 6=3, 12=2, 25=2:   prompted errors 1, 0; unprompted 4 and nine zeros
    # asked 4=5;       measured 4=2, 26=1:         prompted error 9;     unprompted 1 and ten zeros
    scores = small([{6: 4, 12: 2}, {4: 5}], [{6: 3, 12: 2, 25: 2}, {4: 2, 26: 1}])
    assert value(metrics.au_mse_prompted(scores)) == pytest.approx(10 / 3)  # three entries, not two samples
    assert value(metrics.au_mse_unprompted(scores)) == pytest.approx(5 / 21)
    assert value(metrics.au_mse_all(scores)) == pytest.approx(15 / 24)
    assert value(metrics.au_bias(scores)) == pytest.approx((-1 + 0 - 3) / 3)
    # first: 4 against (2, nine 0s): (4 + 9·16)/10 = 14.8; 2 against the same: (0 + 9·4)/10 = 3.6
    # second: 5 against (1, ten 0s): (16 + 10·25)/11 = 24.1818…
    assert value(metrics.au_mse_mismatched(scores)) == pytest.approx((14.8 + 3.6 + 266 / 11) / 3)


def test_raising_everything_gains_nothing_over_the_mismatched_control():
    for level in (0.0, 1.7, 5.0):
        scores = Scores.of(scored(PROTOCOL, np.full((1650, 12), level)))
        prompted, control = metrics.au_mse_prompted(scores), metrics.au_mse_mismatched(scores)
        assert value(prompted) == pytest.approx(value(control))
        assert (prompted.count == control.count).all()


def test_the_control_is_the_expectation_of_moving_the_targets_at_random():
    rng = np.random.default_rng(3)
    target = facs.parse({1: 2, 4: 5, 9: 3})
    measured = rng.uniform(0, 5, 12)
    scores = small([{1: 2, 4: 5, 9: 3}], [dict(zip(facs.ACTION_UNITS, measured, strict=True))])
    others = [i for i in range(12) if target[i] == 0]
    drawn = [np.mean((measured[rng.permutation(others)[:3]] - [2, 5, 3]) ** 2) for _ in range(20_000)]
    assert value(metrics.au_mse_mismatched(scores)) == pytest.approx(np.mean(drawn), rel=0.02)


def test_a_picture_without_a_face_counts_as_a_face_without_expression():
    scores = small([{6: 4}, {4: 5}, {1: 3}], [{6: 3}, None, {1: 3}])
    assert value(metrics.face_failure_rate(scores)) == pytest.approx(1 / 3)
    assert value(metrics.au_mse_prompted(scores)) == pytest.approx((1 + 25 + 0) / 3)
    assert value(metrics.au_mse_all(scores)) == pytest.approx((1 + 25 + 0) / 36)
    assert value(metrics.au_mse_mismatched(scores)) == pytest.approx((16 + 25 + 9) / 3)
    assert value(metrics.au_mse_prompted(scores.found)) == 0.5
    assert metrics.au_mse_prompted(scores.found).n == 2
    assert metrics.au_mse_all(scores.found).n == 24
    assert metrics.au_mse_prompted(scores.found).prompts == (0, 1, 2)


def test_a_lost_face_is_no_leak():
    """The slope of AU12 is 1 in the faces found; the lost one does not pull it to zero."""
    scores = small([{12: v} for v in (1, 3, 5)], [{12: 1}, {12: 3}, None], prompt=[0, 0, 0])
    assert metrics.leakage(scores)[6, 6] == pytest.approx(1.0)
    assert value(metrics.spearman_within(scores)) == pytest.approx(-0.5), "1, 3, 0 is out of order"


def test_an_unsupported_au_is_never_a_zero():
    """MediaPipe has no AU9: neither asked-for nor stray AU9 may enter an error."""
    measured = np.zeros((900, 12))
    measured[:, facs.ACTION_UNITS.index(9)] = math.nan
    scores = Scores.of(scored(INDIVIDUAL, measured))
    assert metrics.au_mse_prompted(scores).n == 900 - 75
    assert metrics.au_mse_all(scores).n == 900 * 11
    assert value(metrics.face_failure_rate(scores)) == 0.0
    # what asking for it does to the others can still be seen
    assert np.isnan(metrics.leakage(scores)[:, facs.ACTION_UNITS.index(9)]).all()
    assert np.isnan(metrics.leakage(scores)).sum() == 12


def test_a_pair_keeps_the_pictures_without_a_face():
    first = small([{6: 4}, {4: 5}], [{6: 3}, None])
    second = small([{6: 4}, {4: 5}], [{6: 1}, {4: 5}])
    a, b = metrics.paired(first, second.take(np.array([1, 0])))
    assert list(a.sample_id) == list(b.sample_id) == ["s0", "s1"]
    assert metrics.au_mse_prompted(a).n == metrics.au_mse_prompted(b).n == 2
    assert metrics.au_mse_prompted(a).total.tolist() == [1, 25]
    assert metrics.au_mse_prompted(b).total.tolist() == [9, 0]


def test_a_pair_of_different_samples_is_refused():
    with pytest.raises(ValueError, match="same samples"):
        metrics.paired(small([{6: 4}], [{6: 3}]), small([{6: 3}], [{6: 3}]))
    with pytest.raises(ValueError, match="same samples"):
        metrics.paired(small([{6: 4}], [{6: 3}]), small([{6: 4}, {1: 1}], [{6: 3}, {1: 1}]))


def test_leakage_by_hand():
    # AU12 asked 1…5: AU12 follows at 0.8 a point from a habit of 0.5, AU6 at 0.3, the rest stays.
    asked = [{12: v} for v in range(1, 6)]
    scores = small(asked, [{12: 0.5 + 0.8 * v, 6: 1 + 0.3 * v, 1: 2} for v in range(1, 6)], prompt=[7] * 5)
    row = metrics.leakage(scores)[facs.ACTION_UNITS.index(12)]
    assert dict(zip(facs.ACTION_UNITS, row.round(9), strict=True)) == {
        **dict.fromkeys(facs.ACTION_UNITS, 0.0), 12: 0.8, 6: 0.3
    }  # fmt: skip
    assert np.isnan(metrics.leakage(scores)[0]).all(), "AU1 was never asked for"


def test_leakage_ignores_the_habits_of_a_prompt():
    """A prompt that smiles anyway and was asked for little must not turn the slope."""
    scores = small(
        [{12: 1}, {12: 2}, {12: 4}, {12: 5}], [{12: 4}, {12: 5}, {12: 1}, {12: 2}], prompt=[0, 0, 1, 1]
    )
    assert metrics.leakage(scores)[6, 6] == pytest.approx(1.0)


def test_leakage_of_perfect_control_is_the_identity():
    scores = Scores.of(scored(INDIVIDUAL, INDIVIDUAL.select(facs.COLUMNS).to_numpy()))
    assert metrics.leakage(scores) == pytest.approx(np.eye(12))


def test_leakage_refuses_combinations():
    with pytest.raises(ValueError, match="exactly one AU"):
        metrics.leakage(small([{6: 4, 12: 2}], [{6: 3}]))


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.floats(0, 5, width=16), st.integers(0, 3)), min_size=3, max_size=30
    )
)
def test_spearman_is_scipys_on_the_repeated_sample(rows):
    x, y, repeat = map(np.array, zip(*rows, strict=True))
    ours = metrics.spearman(x, y, repeat[None].astype(float))[0] if repeat.sum() else math.nan
    x, y = np.repeat(x, repeat), np.repeat(y, repeat)
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert math.isnan(ours)
    else:
        assert ours == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)


def test_spearman_without_weights():
    assert metrics.spearman(np.array([1, 2, 3]), np.array([0.1, 0.2, 0.9])) == pytest.approx([1.0])
    assert np.isnan(metrics.spearman(np.array([1, 2, 3]), np.zeros(3))).all()


@given(st.integers(0, 2**32 - 1))
def test_all_is_the_weighted_mean_of_prompted_and_unprompted(seed):
    rng = np.random.default_rng(seed)
    measured = rng.uniform(0, 5, (40, 12))
    measured[rng.random((40, 12)) < 0.2] = math.nan
    scores = Scores.of(scored(PROTOCOL.sample(40, seed=seed % 1000), measured))
    part = [metrics.au_mse_prompted(scores), metrics.au_mse_unprompted(scores)]
    every = metrics.au_mse_all(scores)
    assert sum(p.n for p in part) == every.n
    assert sum(p.total for p in part) == pytest.approx(every.total)


def test_bad_scores_are_named():
    good = scored(INDIVIDUAL.head(3), np.zeros((3, 12)))
    with pytest.raises(ValueError, match="lack the columns measured_au9"):
        Scores.of(good.drop("measured_au9"))
    with pytest.raises(ValueError, match="more than once"):
        Scores.of(pl.concat([good, good]))
    with pytest.raises(ValueError, match="measured_au4 of sample individual/00/au01/1 is not finite"):
        Scores.of(good.with_columns(measured_au4=pl.lit(math.inf)))


def test_an_experiment_that_lost_every_face_scores_as_faces_without_expression():
    scores = Scores.of(scored(INDIVIDUAL, np.full((900, 12), math.nan)))
    assert value(metrics.au_mse_prompted(scores)) == 11.0
    assert metrics.au_mse_prompted(scores.found).n == 0
    assert value(metrics.face_failure_rate(scores)) == 1.0


@given(st.integers(0, 2**32 - 1))
def test_destroying_pictures_gains_nothing_over_the_control(seed):
    """A destroyed picture has the same error on the AUs asked for and on those that were not."""
    rng = np.random.default_rng(seed)
    measured = rng.uniform(0, 5, (40, 12))
    measured[rng.random(40) < 0.5] = math.nan
    scores = Scores.of(scored(PROTOCOL.sample(40, seed=seed % 1000), measured), np.ones(12, bool))
    lost = scores.take(~scores.face_found)
    assert metrics.au_mse_prompted(lost).total == pytest.approx(metrics.au_mse_mismatched(lost).total)


def test_columns_of_nulls_are_understood():
    nothing = INDIVIDUAL.with_columns(pl.lit(None).alias(name) for name in MEASURED)
    assert not Scores.of(nothing).face_found.any()


def test_spearman_within_sweeps_forgives_faces_that_answer_by_different_amounts():
    """Two sweeps of AU12: one answers 1, 2, 3, the other 10 more; a third falls, a fourth stays."""
    answers = {0: (1, 2, 3), 1: (11, 12, 13), 2: (3, 2, 1), 3: (2, 2, 2)}
    rows = [
        (prompt, asked, found)
        for prompt, sweep in answers.items()
        for asked, found in zip((1, 3, 5), sweep, strict=True)
    ]
    target, measured = np.zeros((2, len(rows), 12))
    place = facs.ACTION_UNITS.index(12)
    target[:, place], measured[:, place] = [row[1] for row in rows], [row[2] for row in rows]
    prompt = np.array([row[0] for row in rows])
    scores = Scores(
        np.arange(len(rows)), np.arange(len(rows)), prompt, target, measured, np.ones(len(rows), bool)
    )
    found = metrics.spearman_within(scores)
    assert found.total.tolist() == pytest.approx([1, 1, -1, 0]) and found.count.tolist() == [1, 1, 1, 1]
    measured[:, place] = np.nan
    assert metrics.spearman_within(scores).n == 0


def with_partners(asked: list[dict], measured: list[dict | None], at_rest: list[dict | None]) -> pl.DataFrame:
    """Individual samples, one a prompt, each with a no-AU partner; None = no face."""
    samples, partners = (
        pl.DataFrame(
            {
                "sample_id": [f"{name}{i}" for i in range(len(found))],
                "prompt_index": list(range(len(found))),
                "kind": kind,
                "partner_id": [f"rest{i}" if kind == "individual" else None for i in range(len(found))],
                **dict(zip(facs.COLUMNS, zip(*map(facs.parse, aus), strict=True), strict=True)),
                **dict(
                    zip(
                        MEASURED,
                        zip(*[(None,) * 12 if f is None else facs.parse(f) for f in found], strict=True),
                        strict=True,
                    )
                ),
            },
            schema_overrides={"partner_id": pl.String, **dict.fromkeys(MEASURED, pl.Float64)},
        )
        for name, kind, aus, found in (
            ("s", "individual", asked, measured),
            ("rest", "no_au", [{}] * len(at_rest), at_rest),
        )
    )
    return pl.concat([samples, partners])


def test_changes_by_hand():
    # a face that smiles at rest, AU12 3, asked for 4, measured 5: the change is 2, the error 4 and not 1;
    # a lost face changed nothing: error 9; a lost partner likewise: error 25
    frame = with_partners(
        [{12: 4}, {1: 3}, {4: 5}], [{12: 5, 6: 1}, None, {4: 5}], [{12: 3, 6: 2}, {1: 1}, None]
    )
    changes = metrics.differences(frame, "individual")
    assert changes.measured[0, [4, 6]].tolist() == [-1, 2]
    assert changes.face_found.tolist() == [True, False, False]
    assert metrics.au_mse_prompted(changes).total.tolist() == [4, 9, 25]
    with pytest.raises(ValueError, match="no-AU sample rest2 was not measured"):
        metrics.differences(frame.head(5), "individual")


def test_confusion_by_hand():
    # AU1 rises by 2, AU2 by 1: not confused; AU1 by 1, AU2 by 3: confused, though AU1 is the higher one;
    # nothing rises; no face; AU9 is not read by this judge, so asking for it is not counted
    frame = with_partners(
        [{1: 3}, {1: 3}, {1: 3}, {1: 3}, {9: 3}],
        [{1: 3, 2: 1}, {1: 5, 2: 3}, {1: 1}, None, {1: 1}],
        [{1: 1}, {1: 4}, {1: 1}, {}, {}],
    ).with_columns(measured_au9=pl.lit(None, dtype=pl.Float64))
    found = metrics.confusion_rate(metrics.differences(frame, "individual"))
    assert found.total.tolist() == [0, 1, 1, 1, 0] and found.count.tolist() == [1, 1, 1, 1, 0]
    with pytest.raises(ValueError, match="exactly one AU"):
        metrics.confusion_rate(small([{1: 1, 2: 1}], [{}]))


def test_neighbours_by_hand():
    # asked 1: 2 rises by 3 and 1, 4 by 0 and 2: the neighbour is 2, and 1 (4, 1) wins once, ties once
    # asked 12: 6 rises by 2 and 1: 12 (1, 3) loses once and wins once
    changes = small(
        [{1: 5}, {1: 2}, {12: 3}, {12: 4}],
        [{1: 4, 2: 3}, {1: 1, 2: 1, 4: 2}, {12: 1, 6: 2}, {12: 3, 6: 1}],
    )
    assert metrics.neighbours(changes) == {1: 2, 12: 6}
    assert value(metrics.wins_over_neighbour(changes)) == 2 / 4
    assert value(metrics.confusion_rate(changes)) == 2 / 4, "the second loses to 4, which is no neighbour"


def test_what_never_rises_wins_over_nobody():
    changes = small([{1: 5}, {1: 2}], [None, {1: 0}])
    assert value(metrics.wins_over_neighbour(changes)) == 0


def test_neighbours_are_defined_for_one_au_at_a_time():
    with pytest.raises(ValueError, match="exactly one AU"):
        metrics.wins_over_neighbour(small([{1: 5, 2: 3}], [{1: 5}]))


def test_the_harmonic_mean_by_hand():
    # control 1 - 2.75 / 11 = 0.75, kept 0.9: 2 × 0.75 × 0.9 / 1.65
    assert metrics.harmonic(np.float64(2.75), np.float64(11), np.float64(0.9)) == pytest.approx(1.35 / 1.65)
    assert metrics.harmonic(np.float64(0), np.float64(11), np.float64(1)) == 1
    worse_than_nothing, nothing_kept = (15.0, 11.0, 0.9), (1.0, 11.0, -0.2)
    assert metrics.harmonic(*map(np.float64, worse_than_nothing)) == 0
    assert metrics.harmonic(*map(np.float64, nothing_kept)) == 0
    assert np.isnan(metrics.harmonic(np.float64(1), np.float64(11), np.float64("nan")))


@given(st.floats(0, 20), st.floats(0.1, 20), st.floats(-1, 1))
def test_the_harmonic_mean_lies_between_and_near_the_smaller(error, expressionless, kept):
    control = min(1.0, max(0.0, 1 - error / expressionless))
    found = float(metrics.harmonic(np.float64(error), np.float64(expressionless), np.float64(kept)))
    low, high = sorted((control, max(0.0, kept)))
    assert low - 1e-12 <= found <= min(high, 2 * low) + 1e-12


def test_control_is_counted_from_faces_without_expression():
    scores = Scores.of(scored(INDIVIDUAL, np.zeros((900, 12))))
    assert value(metrics.au_mse_expressionless(scores)) == 11.0


def test_one_au_of_all_samples():
    scores = small([{6: 4}, {4: 5}], [{6: 3, 4: 2}, {4: 2, 6: 1}])
    assert value(metrics.au_mse_unprompted(scores.only(4))) == 4, "where 6 is asked for it shows 2"
    assert value(metrics.au_mse_unprompted(scores.only(6))) == 1
    assert value(metrics.au_mse_prompted(scores.only(6))) == 1


def test_monotone_by_hand():
    # sweeps of AU12: rises; rises with a stay; never moves; falls once; loses a face in the end; in the start
    sweeps = [(1, 2, 4), (1, 1, 2), (2, 2, 2), (1, 3, 2), (1, 2, None), (None, 2, 3)]
    asked = [{12: v} for _ in sweeps for v in (1, 3, 5)]
    measured = [None if v is None else {12: v} for sweep in sweeps for v in sweep]
    scores = small(asked, measured, prompt=[p for p in range(len(sweeps)) for _ in range(3)])
    assert metrics.monotone_share(scores).total.tolist() == [1, 1, 0, 0, 0, 1]
    assert metrics.monotone_share(scores).count.tolist() == [1] * 6
    assert metrics.monotone_share(scores.take(np.arange(18)[::-1])).total.tolist() == [1, 1, 0, 0, 0, 1], (
        "whatever the order of the rows"
    )


@given(st.integers(0, 2**32 - 1))
def test_perfect_control_is_monotone_and_never_confused(seed):
    part = INDIVIDUAL.filter(prompt_index=seed % 15)
    rest = protocol.no_au_samples(part)
    at_rest = np.random.default_rng(seed).uniform(0, 5, 12)
    frame = pl.concat(
        [
            scored(part, part.select(facs.COLUMNS).to_numpy() + at_rest),
            scored(rest, np.tile(at_rest, (rest.height, 1))),
        ]
    )
    changes = metrics.differences(frame, "individual")
    assert value(metrics.confusion_rate(changes)) == 0
    assert value(metrics.monotone_share(changes)) == 1
    assert value(metrics.au_mse_all(changes)) == pytest.approx(0, abs=1e-12)
