"""One page of two experiments or editors: it says what was tested, and refuses what cannot be compared."""

import json

import numpy as np
import polars as pl
import pytest
import tiny_protocol
from tiny_editing import measured_edits

import facs
from evaluation import comparison_page, comparisons
from evaluation.metrics import MEASURED

PROTOCOL = tiny_protocol.build()


def scored(gain: float, seed: int, **columns) -> pl.DataFrame:
    """By two judges, of which the second does not read AU9."""
    target = PROTOCOL.select(facs.COLUMNS).to_numpy()
    measured = np.clip(target * gain + np.random.default_rng(seed).normal(0, 0.3, target.shape), 0, 5)
    read = PROTOCOL.with_columns(pl.Series(n, c) for n, c in zip(MEASURED, measured.T, strict=True))
    said = {"guidance": 5.0, "model": "net", "fingerprint": "f"} | columns
    one = read.with_columns(**{name: pl.lit(value) for name, value in said.items()})
    both = [
        one.with_columns(judge=pl.lit("labeller")),
        one.with_columns(judge=pl.lit("second"), measured_au9=pl.lit(None, dtype=pl.Float64)),
    ]
    return pl.concat(both)


def cosines(value: float, **columns) -> pl.DataFrame:
    noise = np.random.default_rng(7).normal(0, 0.01, PROTOCOL.height)
    said = {"fingerprint": "clip"} | columns
    return PROTOCOL.with_columns(
        clip_i=pl.Series(value + noise), **{name: pl.lit(text) for name, text in said.items()}
    )


SCORES = {"good": scored(0.9, 0), "sd": scored(0.1, 1, guidance=3.0)}
NEAR_AND_FAR = {"near": (0.9, 0.99), "far": (0.8, 0.7)}
CLIP = {"good": cosines(0.8), "sd": cosines(0.9)}


@pytest.fixture(scope="module")
def found():
    return comparison_page.page("good", "sd", SCORES, CLIP)


def test_the_measures_are_those_of_the_comparison(found):
    judged = {
        judge: {name: frame.filter(judge=judge) for name, frame in SCORES.items()}
        for judge in ("labeller", "second")
    }
    assert found.differences.equals(comparisons.compare(judged, CLIP, [("good", "sd")]))
    assert (found.prompts, found.guidance) == (15, (5.0, 3.0))
    assert found.samples == {"individual": 900, "combination": 750}


def test_each_au_is_tested_and_the_aus_are_a_family_of_their_own(found):
    assert found.aus.schema == comparisons.AUS and found.aus.height == 24
    read = found.aus.drop_nulls("difference")
    assert read.height == 23, "the second judge does not read AU9"
    assert read["p_holm"].to_list() == pytest.approx([min(1, p * 23) for p in read["p"]])
    row = found.aus.row(by_predicate=(pl.col("au") == 12) & (pl.col("judge") == "labeller"), named=True)
    part = SCORES["good"].filter(judge="labeller", kind="individual", prompted="12")
    by_hand = float(((part["measured_au12"] - part["au12"]) ** 2).mean())
    assert row["first_value"] == pytest.approx(by_hand) and row["better"] == "good"
    assert row["difference"] == pytest.approx(row["first_value"] - row["second_value"])


def test_it_says_plainly_who_is_better_on_what(found):
    said = comparison_page.text(found)
    assert "900 individual and 750 combination samples of 15 prompts" in said
    assert "good at 5, sd at 3" in said
    assert "good is better: AU-MSE prompted (individual, combination)" in said
    assert "sd is better: CLIP-I (individual, combination)." in said
    assert "AU by AU: 12 of 12 AUs by labeller, 11 of 11 AUs by second." in said
    assert "no face (individual, combination)" in said.partition("No difference stands: ")[2]
    assert "AU9 Nose Wrinkler" in said and "not read" in said


def test_a_judge_that_does_not_see_it_is_named():
    blind = scored(0.9, 0).with_columns(
        pl.when(judge="second").then(other).otherwise(own).alias(name)
        for name in MEASURED
        for own, other in [(pl.col(name), SCORES["sd"][name])]
    )
    found = comparison_page.page("good", "sd", {"good": blind, "sd": SCORES["sd"]}, CLIP)
    assert "AU-MSE prompted (individual by labeller, combination by labeller)" in found.better_on("good")
    assert "AU-MSE prompted (individual by second, combination by second)" in found.better_on(None)


def test_machines_get_all_of_it(found):
    plain = json.loads(json.dumps(found.as_plain()))
    assert plain["prompts"] == 15 and plain["judges"] == {"labeller": "net", "second": "net"}
    assert len(plain["differences"]) == found.differences.height and len(plain["aus"]) == 24
    assert plain["better"]["good"] == found.better_on("good")


def test_what_differs_in_sign_is_the_other_way_round(found):
    other = comparison_page.page("sd", "good", SCORES, CLIP)
    assert other.differences["p"].equals(found.differences["p"])
    assert other.better_on("good") == found.better_on("good")


def test_few_prompts_are_said_to_show_nothing():
    """The smallest p of 9 prompts is 1 / 256: 22 times that, by Holm's correction, is above 0.05."""
    few = {name: frame.filter(pl.col("prompt_index") < 9) for name, frame in SCORES.items()}
    clip = {name: frame.filter(pl.col("prompt_index") < 9) for name, frame in CLIP.items()}
    found = comparison_page.page("good", "sd", few, clip)
    assert found.differences["better"].null_count() == found.differences.height == 22
    said = comparison_page.text(found)
    assert "22 tests of 9 prompts cannot show that a difference stands" in said and "is better" not in said


def test_what_another_model_measured_is_refused():
    other = {**SCORES, "sd": scored(0.1, 1, fingerprint="g")}
    with pytest.raises(comparison_page.NotComparable, match="labeller was one model for good and another"):
        comparison_page.page("good", "sd", other, CLIP)
    with pytest.raises(comparison_page.NotComparable, match="CLIP was one model"):
        comparison_page.page("good", "sd", SCORES, {**CLIP, "sd": cosines(0.9, fingerprint="g")})


def test_other_samples_and_no_judge_in_common_are_refused():
    with pytest.raises(comparison_page.NotComparable, match="same samples"):
        comparison_page.page("good", "sd", {**SCORES, "sd": SCORES["sd"].filter(kind="individual")}, CLIP)
    apart = {"good": SCORES["good"].filter(judge="second"), "sd": SCORES["sd"].filter(judge="labeller")}
    with pytest.raises(comparison_page.NotComparable, match="no judge measured both good and sd"):
        comparison_page.page("good", "sd", apart, CLIP)


def test_a_judge_of_only_one_is_left_out():
    one = {"good": SCORES["good"], "sd": SCORES["sd"].filter(judge="labeller")}
    assert set(comparison_page.page("good", "sd", one, CLIP).differences["judge"]) == {"labeller", "clip"}


def test_editors_are_exchanged_source_picture_by_source_picture():
    found = comparison_page.page_of_editors("near", "far", *measured_edits(12, NEAR_AND_FAR))
    assert found.samples == {"individual": 12 * 60, "combination": 12 * 50, "transferred": 12}
    said = comparison_page.text(found)
    assert said.startswith(
        "near beside far: 720 individual, 600 combination and 12 transferred samples of 12 source"
    )
    assert "guidance" not in said and found.as_plain()["guidance"] is None
    row = found.differences.row(
        by_predicate=(pl.col("metric") == "au_mse_prompted") & (pl.col("kind") == "individual"), named=True
    )
    # at strength 1 a tenth of what was asked for is missing, or a fifth: 11 / 100 and 44 / 100
    assert row["first_value"] == pytest.approx(0.11) and row["difference"] == pytest.approx(-0.33)
    assert row["p"] == pytest.approx(2 / 2**12) and row["better"] == "near"
    assert {"clip_i", "identity_distance", "outside_l1"} <= {*found.differences["metric"]}
    assert "L1 outside the face" in said.partition("No difference stands: ")[2]
    assert "identity distance (individual, combination, transferred)" in said.partition("near is better: ")[2]


def test_few_source_pictures_show_nothing_and_say_so():
    scores, beside, _ = measured_edits(4, NEAR_AND_FAR)
    found = comparison_page.page_of_editors("near", "far", scores, beside)
    assert "of 4 source pictures cannot show that a difference stands" in comparison_page.text(found)
    assert "same_person" not in found.differences["metric"]


def test_an_editor_that_is_not_there_is_told():
    with pytest.raises(comparison_page.NotComparable, match="no judge measured both near and nobody"):
        comparison_page.page_of_editors("near", "nobody", *measured_edits(4, NEAR_AND_FAR))
