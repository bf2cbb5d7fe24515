"""The results table: every measure once, pairs against the competitor, text that fits a terminal."""

import math
import re

import numpy as np
import polars as pl
import pytest
import tiny_protocol

import facs
from curation import corrections
from evaluation import partners, protocol, realism, seeds, tables, through_recipe
from evaluation.metrics import MEASURED

PROTOCOL = tiny_protocol.build()
LABELLED = pl.DataFrame({name: [float(v) for v in range(6)] for name in facs.COLUMNS})
FITTED = corrections.fit(LABELLED, "paper").statistics
WITH_NEUTRAL = pl.concat([PROTOCOL, protocol.no_au_samples(PROTOCOL)])


def scored(gain: float, offset: float = 0.0, noise: float = 0.3, seed: int = 0) -> pl.DataFrame:
    """Made-up scores: AUs follow their prompts `gain`-fold, all are raised by `offset`."""
    rng = np.random.default_rng(seed)
    target = WITH_NEUTRAL.select(facs.COLUMNS).to_numpy()
    measured = np.clip(target * gain + offset + rng.normal(0, noise, target.shape), 0, 5)
    return WITH_NEUTRAL.with_columns(pl.Series(n, c) for n, c in zip(MEASURED, measured.T, strict=True))


def clipped(scores: pl.DataFrame, value: float) -> pl.DataFrame:
    cosines = dict.fromkeys(partners.CLIP_METRICS, pl.lit(value))
    return scores.filter(pl.col("kind") != "no_au").with_columns(**cosines)


@pytest.fixture(scope="module")
def au_scores():
    return {"fineface": scored(0.9), "raiser": scored(0.0, 2.5, seed=1), "sd": scored(0.0, seed=2)}


@pytest.fixture(scope="module")
def results(au_scores):
    clip_scores = {"fineface": clipped(au_scores["fineface"], 0.9), "sd": clipped(au_scores["sd"], 0.8)}
    recipe_scores = {name: through_recipe.apply(frame, "paper", FITTED) for name, frame in au_scores.items()}
    return tables.results(au_scores, clip_scores, "sd", recipe_scores)


def value(results: pl.DataFrame, experiment: str, kind: str, metric: str) -> dict:
    return results.filter(experiment=experiment, kind=kind, metric=metric).row(0, named=True)


def test_the_table_is_tidy(results):
    assert results.schema == tables.RESULTS
    assert not results.select("experiment", "kind", "metric").is_duplicated().any()
    identity = {*partners.IDENTITY_METRICS, "control_and_identity"}
    elsewhere = {*identity, *realism.METRICS, *partners.PIXEL_METRICS}
    assert set(results["metric"]) == set(tables.DEFINITIONS) - elsewhere
    bounded = results.drop_nulls()
    assert (bounded["low"] <= bounded["value"] + 1e-9).all() and (
        bounded["value"] <= bounded["high"] + 1e-9
    ).all()


def test_no_au_samples_do_not_count(results):
    assert value(results, "fineface", "individual", "face_failure_rate")["n"] == 900
    assert value(results, "fineface", "combination", "face_failure_rate")["n"] == 750


def test_the_ratio_is_that_of_the_means(results):
    for kind in tables.KINDS:
        ours, theirs = (value(results, e, kind, "au_mse_prompted")["value"] for e in ("fineface", "sd"))
        assert value(results, "fineface", kind, "au_mse_prompted_ratio")["value"] == pytest.approx(
            ours / theirs
        )


def test_a_method_that_raises_everything_does_not_look_good(results):
    """It halves the error on what was asked for, and the control says that it followed nothing."""
    for kind in tables.KINDS:
        assert value(results, "raiser", kind, "au_mse_prompted_ratio")["value"] < 0.6
        assert abs(value(results, "raiser", kind, "gain_over_control")["value"]) < 0.2
        assert value(results, "fineface", kind, "gain_over_control")["low"] > 5


def test_the_competitor_is_not_compared_with_itself(results):
    assert results.filter(experiment="sd", metric="gain_over_control").is_empty()


def test_clip_i_only_where_it_was_measured(results):
    assert value(results, "fineface", "individual", "clip_i")["value"] == pytest.approx(0.9)
    assert results.filter(experiment="raiser", metric="clip_i").is_empty()


def test_what_needs_more_than_the_samples_is_left_out_without_it(au_scores):
    alone = tables.results({"a": au_scores["fineface"].filter(pl.col("kind") != "no_au")})
    assert not {"confusion_rate", "au_mse_prompted_change", "au_mse_prompted_recipe"} & set(alone["metric"])


def test_a_method_that_raises_everything_changes_nothing_that_was_asked_for(results):
    """Its partners are raised alike: the judge of changes sees faces without expression."""
    assert value(results, "raiser", "individual", "au_mse_prompted_change")["value"] == pytest.approx(
        11, abs=0.5
    )
    assert value(results, "fineface", "individual", "au_mse_prompted_change")["value"] < 0.5
    assert value(results, "fineface", "individual", "confusion_rate")["value"] < 0.1
    assert value(results, "raiser", "individual", "confusion_rate")["value"] > 0.8


def test_through_the_recipe_stands_beside_as_read(results, au_scores):
    found = value(results, "fineface", "individual", "au_mse_prompted_recipe")
    assert found["n"] == 900
    assert found["value"] != value(results, "fineface", "individual", "au_mse_prompted")["value"]
    ratio = value(results, "fineface", "individual", "au_mse_prompted_recipe_ratio")["value"]
    assert ratio == pytest.approx(
        found["value"] / value(results, "sd", "individual", "au_mse_prompted_recipe")["value"]
    )
    recipe_scores = {name: through_recipe.apply(frame, "paper", FITTED) for name, frame in au_scores.items()}
    bent = tables.per_au(au_scores, recipe_scores).filter(metric="au_mse_prompted_recipe")
    assert bent.height == 36 and bent["value"].null_count() == 0


def test_spearman_over_the_aus(results):
    assert value(results, "fineface", "individual", "spearman_mean")["value"] > 0.9
    assert value(results, "fineface", "individual", "aus_ordered")["value"] == 12
    assert abs(value(results, "sd", "individual", "spearman_mean")["value"]) < 0.2
    assert value(results, "sd", "individual", "aus_ordered")["value"] == 0


def test_an_au_that_never_changes_counts_as_unordered():
    still = tables.results({"still": scored(0.0, 2.0, noise=0.0)})
    assert value(still, "still", "individual", "spearman_mean")["value"] == 0.0
    assert value(still, "still", "individual", "aus_ordered")["n"] == 12
    assert (
        tables.per_au({"still": scored(0.0, 2.0, noise=0.0)}).filter(metric="spearman")["value"].null_count()
        == 12
    )


def test_an_unsupported_au_is_null_and_not_in_the_mean(au_scores):
    blind = au_scores["fineface"].with_columns(measured_au9=pl.lit(None, dtype=pl.Float64))
    found = tables.per_au({"blind": blind}).filter(au=9)
    assert found["value"].null_count() == found.height == 8
    assert set(found["n"]) == {0}
    assert value(tables.results({"blind": blind}), "blind", "individual", "spearman_mean")["n"] == 11


def test_lost_faces_count_as_expressionless_and_both_errors_are_told(au_scores):
    lost = pl.col("sample_id").str.starts_with("individual/00/")
    part = au_scores["fineface"].with_columns(
        pl.when(lost).then(None).otherwise(pl.col(m)).alias(m) for m in MEASURED
    )
    found = tables.results({"part": part, "sd": au_scores["sd"]}, competitor="sd")
    assert value(found, "part", "individual", "face_failure_rate")["value"] == pytest.approx(60 / 900)
    every = value(found, "part", "individual", "au_mse_prompted")
    seen = value(found, "part", "individual", "au_mse_prompted_found")
    assert (every["n"], seen["n"]) == (900, 840)
    assert every["value"] == pytest.approx((840 * seen["value"] + 60 * 11) / 900)
    assert value(found, "part", "individual", "au_mse_prompted_ratio")["n"] == 900
    assert value(found, "sd", "individual", "au_mse_prompted")["n"] == 900


def test_a_kind_without_any_face_is_read_like_the_others():
    """The judge has no AU9, as the other kind shows: it is not charged for it here."""
    blind = scored(0.5).with_columns(measured_au9=pl.lit(None, dtype=pl.Float64))
    gone = pl.col("kind") == "combination"
    lost = blind.with_columns(pl.when(gone).then(None).otherwise(pl.col(m)).alias(m) for m in MEASURED)
    found = tables.results({"lost": lost})
    asked = PROTOCOL.filter(kind="combination").select(pl.col(facs.COLUMNS) > 0).sum().row(0)
    assert value(found, "lost", "combination", "au_mse_prompted")["n"] == sum(asked) - asked[5]


def test_nothing_measured_is_null(au_scores):
    blind = au_scores["sd"].with_columns(pl.lit(None, dtype=pl.Float64).alias(m) for m in MEASURED)
    found = tables.results({"blind": blind})
    assert value(found, "blind", "individual", "au_mse_prompted_found") == {
        "experiment": "blind", "judge": "labeller", "kind": "individual", "metric": "au_mse_prompted_found",
        "value": None, "low": None, "high": None, "n": 0,
    }  # fmt: skip
    assert value(found, "blind", "individual", "au_mse_prompted")["value"] == 11.0
    assert "undefined" in tables.text(found)


def test_bad_comparisons_are_refused(au_scores):
    with pytest.raises(ValueError, match="'base' is none of fineface"):
        tables.results({"fineface": au_scores["fineface"]}, competitor="base")
    with pytest.raises(ValueError, match="same samples"):
        tables.results({"a": au_scores["fineface"].head(100), "sd": au_scores["sd"]}, competitor="sd")


def test_per_au(au_scores):
    found = tables.per_au(au_scores)
    assert found.schema == tables.PER_AU
    assert found.height == 3 * 12 * 8
    fineface = found.filter(experiment="fineface")
    assert (fineface.filter(metric="au_mse_prompted")["value"] < 0.5).all()
    assert (fineface.filter(metric="au_mse_prompted")["n"] == 75).all()
    bias = found.filter(experiment="sd", metric="au_bias")["value"]
    assert bias.to_numpy() == pytest.approx(np.full(12, -2.88), abs=0.1)


def test_the_mean_of_the_aus_is_the_whole(au_scores, results):
    per_au = tables.per_au(au_scores).filter(experiment="fineface", metric="au_mse_prompted")
    whole = value(results, "fineface", "individual", "au_mse_prompted")["value"]
    assert per_au["value"].mean() == pytest.approx(whole)


def test_curves_start_at_the_partner_and_follow(au_scores):
    found = tables.curves(au_scores["fineface"])
    assert found.schema == tables.CURVES
    assert found["intensity"].to_list() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] * 12
    assert (found["n"] == 15).all()
    for _, curve in found.group_by("au"):
        assert curve.sort("intensity")["value"].is_sorted()


def test_curves_without_partners_start_at_one(au_scores):
    found = tables.curves(au_scores["fineface"].filter(pl.col("kind") != "no_au"))
    assert found["intensity"].min() == 1.0


def test_the_papers_numbers():
    paper = tables.paper()
    assert paper.height == 12 * 4
    first = {(e, k, m): v for t, e, k, m, v in paper.iter_rows() if t == "Table 1"}
    assert first["FineFace", "individual", "au_mse_prompted"] == 4.71
    assert first["SD", "combination", "clip_i"] == 0.71
    assert (
        round(
            first["FineFace", "combination", "au_mse_prompted"]
            / first["SD", "combination", "au_mse_prompted"],
            2,
        )
        == 0.85
    )


def test_the_text_is_aligned_and_small(results):
    text = tables.text(results, {"fineface": "FineFace", "sd": "SD"})
    first, others, individual, *_ = text.split("\n\n")
    lines = individual.splitlines()
    assert lines[0].split() == ["individual", "fineface", "raiser", "sd"]
    assert max(map(len, text.splitlines())) <= 170
    column = lines[0].index("sd")
    assert all(line[column - 2 : column] == "  " for line in lines[1:5])
    assert "12 of 12" in text
    beside = {line.split()[0]: line for line in (first + "\n" + others).splitlines()}
    assert first.split()[:3] == ["Table", "1", "individual"] and others.startswith("experiment  ")
    assert beside["fineface"].endswith("0.83") and "4.71" in beside["fineface"]
    assert "6.98" in beside["sd"] and "0.71" in beside["sd"]
    assert not re.search(r"4\.71|6\.98", beside["raiser"]), "no row of the paper's is its own"


def test_the_papers_tables_each_hold_its_method_and_trainings_of_one_are_one_row(results):
    """In the paper's order; the mean over seeds has an interval of its own, by hand."""
    one = results.filter(experiment="sd")
    names = ["fineface", "fineface.seed1", "mlp", "sd", "db", "none", "mine"]
    found = pl.concat([one.with_columns(experiment=pl.lit(name)) for name in names])
    at = (pl.col("kind") == "individual") & (pl.col("metric") == "au_mse_prompted")
    for name, value in {"fineface": 1.0, "fineface.seed1": 2.0}.items():
        here = at & (pl.col("experiment") == name)
        found = found.with_columns(value=pl.when(here).then(value).otherwise("value"))
    rows = {"fineface": "FineFace", "fineface.seed1": "FineFace"}
    rows |= {"mlp": "MLP", "sd": "SD", "db": "DB", "none": "none"}
    over_seeds = seeds.over_seeds(found, {"fineface": ["fineface", "fineface.seed1"]})
    table = tables.beside_paper(found, rows, over_seeds)
    assert list(table.select("table", "experiment").iter_rows()) == [
        *(("Table 1", "sd"), ("Table 1", "db"), ("Table 1", "fineface × 2")),
        *(("Table 2", "none"), ("Table 2", "mlp"), ("Table 2", "fineface × 2")),
        ("", "mine"),
    ]
    half = 12.706 * 0.5**0.5 / 2**0.5
    ours, papers = table.filter(experiment="fineface × 2").row(1)[2:4]
    assert ours == f"1.50 [{tables.short(1.5 - half)}, {tables.short(1.5 + half)}]" and papers == "4.71"


def test_many_experiments_stand_below_each_other(results):
    one = results.filter(experiment="sd")
    found = pl.concat([one.with_columns(experiment=pl.lit(f"number{i}")) for i in range(6)])
    blocks = tables.text(found).split("\n\n")
    assert [block.split()[0] for block in blocks] == ["experiment", *["individual"] * 2, *["combination"] * 2]
    assert blocks[2].splitlines()[0].split() == ["individual", "number4", "number5"]


def test_an_estimate_in_print():
    row = {"value": -0.001, "low": -1.234, "high": 2.0, "n": 3}
    assert tables.format_estimate("au_bias", row) == "0.00 [−1.23, 2.00]"
    assert tables.format_estimate("clip_i", row | {"low": None, "high": None}) == "0.00"
    assert tables.format_estimate("clip_i", None) == ""


def test_every_definition_says_something():
    for definition in tables.DEFINITIONS.values():
        assert definition.label and definition.text.endswith(".") and definition.better in (-1, 0, 1)


def test_an_experiment_with_individual_samples_only():
    found = tables.results({"a": scored(0.9).filter(kind="individual")})
    assert set(found["kind"]) == {"individual"}
    assert "combination" not in tables.text(found)
    assert not any(math.isnan(v) for v in found["value"].drop_nulls())


def test_control_and_what_was_kept_by_hand():
    """Every sample reaches half of what it is asked for: control 1 - ¼; two of three faces are kept."""
    target = PROTOCOL.select(facs.COLUMNS)
    half = PROTOCOL.with_columns(target.select((pl.all() / 2).name.prefix("measured_")))
    same = [1.0, 1.0, 0.0] * (PROTOCOL.height // 3)
    beside = PROTOCOL.with_columns(
        clip_i=pl.lit(0.9), same_person=pl.Series(same), identity_distance=pl.lit(0.3)
    )
    found = tables.results({"half": half}, {"half": beside})
    said = found.filter(kind="individual", metric="control_and_clip_i").row(0, named=True)
    assert said["value"] == pytest.approx(2 * 0.75 * 0.9 / 1.65) and said["judge"] == "labeller"
    said = found.filter(kind="individual", metric="control_and_identity").row(0, named=True)
    assert said["value"] == pytest.approx(2 * 0.75 * (2 / 3) / (0.75 + 2 / 3))
    said = found.filter(kind="individual", metric="same_person").row(0, named=True)
    assert said["value"] == pytest.approx(2 / 3) and said["judge"] == "identity"


def test_distances_of_whole_sets_are_rows_like_others():
    row = ("sd", "individual", "kid", 0.1, 0.0, 0.2, 9, 4, "clip", "f")
    scores = pl.DataFrame([row], schema=realism.SCORES, orient="row")
    found = tables.of_whole_sets(scores)
    assert found.schema == tables.RESULTS and found.row(0) == (
        "sd",
        "clip",
        "individual",
        "kid",
        0.1,
        0.0,
        0.2,
        9,
    )
