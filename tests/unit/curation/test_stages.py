"""Resolution and photorealism: who stays, and in which words the others go."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from told import told

from curation import photorealism, resolution


def sized(*sizes):
    return pl.DataFrame(sizes, schema={"width": pl.Int64, "height": pl.Int64}, orient="row")


def test_both_sides_must_reach_the_minimum():
    table = resolution.apply(sized((64, 64), (63, 64), (64, 63), (10, 20), (None, 70)), 64)
    assert table["keep"].to_list() == [True, False, False, False, False]
    assert told(table) == [
        None,
        "too_small: width 63 < 64",
        "too_small: height 63 < 64",
        "too_small: width 10 < 64, height 20 < 64",
        "too_small: width unknown",
    ]


def test_exact_sides_pass_only_where_they_may():
    sizes = sized((512, 512), (512, 513), (513, 512), (513, 513))
    assert resolution.apply(sizes, 512)["keep"].to_list() == [True] * 4
    assert resolution.apply(sizes, 512, inclusive=False)["keep"].to_list() == [False, False, False, True]
    # the reference code: width >= 512, height > 512
    reference = resolution.apply(sizes, 512, inclusive_height=False)
    assert reference["keep"].to_list() == [False, True, False, True]
    assert told(reference)[0] == "too_small: height 512 <= 512"


def test_rows_dropped_before_stay_dropped_and_bad_input_is_refused():
    table = sized((9, 9), (99, 99)).with_columns(
        keep=pl.lit(False), reason_code=pl.lit("empty_file"), reason_detail=pl.lit("a")
    )
    assert_frame_equal(resolution.apply(table, 64), table)
    assert resolution.apply(sized(), 64).is_empty()
    with pytest.raises(ValueError, match="without column height"):
        resolution.apply(sized((9, 9)).drop("height"), 64)
    with pytest.raises(ValueError, match="min_side is at least 1"):
        resolution.apply(sized((9, 9)), 0)


def answered(*rows):
    return pl.DataFrame(
        rows,
        schema={
            "cartoon_answer": pl.String,
            "cartoon_score": pl.Float64,
            "real_answer": pl.String,
            "real_score": pl.Float64,
        },
        orient="row",
    )


def test_cartoons_and_unreal_pictures_go_with_question_answer_and_score():
    table = photorealism.judge(
        answered(
            ("no", 0.1, "yes", 0.9),
            ("yes", 0.934, "yes", 0.9),
            ("no", 0.1, "no it is\nnot", 0.2),
            ("no", 0.49, "yes", 0.5),
            ("yes", 0.5, "no", 0.49),
        )
    )
    assert table["keep"].to_list() == [True, False, False, True, False]
    assert told(table) == [
        None,
        "not_photorealistic: answered 'yes' to 'Is this a cartoon?' (0.93)",
        "not_photorealistic: answered 'no it is not' to 'Is this photo real?' (0.2)",
        None,
        "not_photorealistic: answered 'yes' to 'Is this a cartoon?' (0.5)",
    ]
    assert table["real_answer"][2] == "no it is\nnot"  # verbatim
    assert table["vouched_by"].null_count() == 5


def test_thresholds_and_questions_are_settings():
    rows = answered(("no", 0.4, "yes", 0.9), ("no", 0.1, "yes", 0.7))
    asked = {"cartoon": "Drawn?", "real": "Real?"}
    table = photorealism.judge(rows, {"cartoon": 0.3, "real": 0.8}, asked)
    assert told(table) == [
        "not_photorealistic: answered 'no' to 'Drawn?' (0.4)",
        "not_photorealistic: answered 'yes' to 'Real?' (0.7)",
    ]
    for bad in ({"cartoon": 0.3}, {"cartoon": 2, "real": 0.5}):
        with pytest.raises(ValueError, match="threshold"):
            photorealism.judge(rows, bad)


def test_a_row_without_an_answer_is_not_judged_and_goes():
    table = photorealism.judge(answered((None, None, "yes", 0.9), ("no", 0.1, "", float("nan"))))
    assert told(table) == [
        "not_judged: no answer to 'Is this a cartoon?'",
        "not_judged: no answer to 'Is this photo real?'",
    ]
    with pytest.raises(ValueError, match="without column real_score"):
        photorealism.judge(answered().drop("real_score"))


def test_a_person_can_vouch_instead_of_a_model():
    table = photorealism.vouch(pl.DataFrame({"sample_id": ["a", "b"]}), "Ada, who took them ")
    assert table["keep"].all() and table["vouched_by"].to_list() == ["Ada, who took them"] * 2
    judged = photorealism.judge(answered(("no", 0.1, "yes", 0.9)))
    shared = [
        "cartoon_answer",
        "cartoon_score",
        "real_answer",
        "real_score",
        "vouched_by",
        "keep",
        "reason_code",
    ]
    assert_frame_equal(table.select(shared).clear(), judged.select(shared).clear())
    with pytest.raises(ValueError, match="give a name"):
        photorealism.vouch(table, " ")
