"""The stages on agreement and calibration, with estimators that answer by rule."""

from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

import facs
import reasons
from assets.data_set import agreement, corrections
from curation.frames import LABELS, SCHEMA
from curation.training_set import split

LABELLER, SECOND = "labeller", "second"
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def profile(second=SECOND, recipe="paper", seed=0):
    return SimpleNamespace(
        chunk=16,
        engine=None,
        au_estimator=LABELLER,
        second_au_estimator=second,
        reads_labelled_frames=second is not None or recipe == "calibrated",
        corrections=SimpleNamespace(recipe=recipe),
        split=SimpleNamespace(shares=SHARES, seed=seed),
    )


@pytest.fixture
def frames():
    """Eighty frames of four subjects, AU12 labelled 0-4 and 25 times 5, one more row dropped."""
    count = 80
    values = [i % 5 for i in range(count - 25)] + [5] * 25
    rows = {
        "sample_id": [f"disfa/SN{i % 4}/{i:05}" for i in range(count)] + ["disfa/SN0/dropped"],
        "source": ["disfa"] * (count + 1),
        "subject": [f"SN{i % 4}" for i in range(count)] + ["SN0"],
        "content_hash": [str(value) for value in values] + ["0"],
        **{label: [0.0] * (count + 1) for label in LABELS},
        "label_au12": [float(value) for value in values] + [0.0],
        "keep": [True] * count + [False],
    }
    return pl.DataFrame(rows, schema={name: SCHEMA[name] for name in rows}).with_columns(
        pl.lit(None, dtype=pl.String).alias(name) for name in ("file_kind", "file", *reasons.COLUMNS)
    )


@pytest.fixture
def asked(monkeypatch):
    """Who was asked about how many pictures. The labeller halves AU12, the second does not read AU9."""
    calls = []

    def annotate(context, store, estimator, images, profile):
        calls.append((estimator, images.height))
        value = pl.col("content_hash").cast(pl.Float64) * (0.5 if estimator == LABELLER else 1.0)
        zeros = {column: pl.lit(0.0) for column in facs.COLUMNS}
        au9 = {"au9": pl.lit(0.0 if estimator == LABELLER else None, dtype=pl.Float64)}
        no_reason = pl.lit(None, dtype=pl.String)
        who = {"model": pl.lit(estimator), "fingerprint": pl.lit(f"{estimator} 1")}
        who |= dict.fromkeys(reasons.COLUMNS, no_reason)
        read = {**zeros, **au9, "au12": value, "faces": pl.lit(1), **who}
        return images.with_columns(**read), images.height, 0

    monkeypatch.setattr(agreement, "annotate", annotate)
    return calls


def read(frames, settings):
    given = {"store": SimpleNamespace(), "profile": settings}
    return agreement.disfa_readings(dg.build_asset_context(), frames, frames, **given)


def fitted(photographs, readings, settings):
    """au_statistics of photographs that all have a caption."""
    nothing, given = photographs.clear(), {"store": SimpleNamespace(), "profile": settings}
    return corrections.au_statistics(
        dg.build_asset_context(), photographs, photographs, *[nothing] * 4, readings, **given
    )


def compared(photographs, readings, settings):
    given = {"store": SimpleNamespace(), "profile": settings}
    return agreement.annotator_agreement(dg.build_asset_context(), photographs, readings, **given)


def test_frames_are_read_only_where_something_needs_them(frames, asked):
    alone = read(frames, profile(second=None))
    assert alone.value.is_empty() and asked == [(LABELLER, 0)]
    needed = read(frames, profile(second=None, recipe="calibrated"))
    assert needed.value.height == 80 and asked[1] == (LABELLER, 80)
    assert set(needed.value["fingerprint"]) == {"labeller 1"} and needed.value["au12"].max() == 2.5


def test_annotators_are_compared_with_each_other_and_with_the_labels(frames, asked):
    settings = profile()
    readings = read(frames, settings).value
    photographs = readings.head(10)
    found = compared(photographs, readings, settings)
    assert asked == [(LABELLER, 80), (SECOND, 10), (SECOND, 80)]
    table = found.value.filter(au=12)
    assert table.select("pictures", "first", "second", "n").rows() == [
        ("photographs", "labeller", "second", 10),
        ("DISFA", "labeller", "second", 80),
        ("DISFA", "labeller", "manual", 80),
        ("DISFA", "second", "manual", 80),
    ]
    # half the scale: perfectly correlated, ICC 2 * 0.5 / (1 + 0.25) = 0.8
    assert table["pearson"].to_list() == pytest.approx([1, 1, 1, 1])
    assert table["icc"].to_list() == pytest.approx([0.8, 0.8, 0.8, 1])
    # label 1 is read 0.5: eleven of eighty frames are called absent
    assert table.row(2, named=True)["opposite"] == pytest.approx(11 / 80)
    notes = dict(found.value.filter(second="manual", first="second").select("au", "note").iter_rows())
    assert notes[9] == "not read by second" and notes[12] is None
    assert notes[5] == "few positives: 0 of 80 by manual"
    assert "data:image/png" in found.metadata["picture"].md_str


def test_without_a_second_estimator_only_the_labels_are_compared(frames, asked):
    settings = profile(second=None, recipe="calibrated")
    readings = read(frames, settings).value
    found = compared(readings.head(5), readings, settings)
    assert found.value.select("first", "second").unique().rows() == [("labeller", "manual")]
    nothing = compared(readings.clear(), readings.clear(), settings)
    assert nothing.value.is_empty() and "picture" not in nothing.metadata


def test_the_calibrated_recipe_is_fitted_on_the_frames_and_undoes_the_habit(frames, asked):
    settings = profile(recipe="calibrated")
    readings = read(frames, settings).value
    photographs = readings.drop(LABELS).head(20)
    statistics = fitted(photographs, readings, settings).value
    knots = statistics.filter(step="knot")
    assert (
        knots["au"].unique().to_list() == [12] and knots["maximum_sample_id"].str.starts_with("disfa/").any()
    )
    check = corrections.every_map_is_fitted
    assert check(statistics).passed is False and "AU5" in check(statistics).metadata["identity"].value
    errors = corrections.recipe_errors(readings)
    mse = dict(errors.value.filter(au=12).select("recipe", "mse").iter_rows())
    assert mse["calibrated"] < min(mse["uncorrected"], mse["paper"], mse["reference"])
    assert "data:image/png" in errors.metadata["picture"].md_str


def test_no_map_knows_the_subjects_that_the_training_set_holds_out(frames, asked):
    settings = profile(recipe="calibrated", seed=4)
    readings = read(frames, settings).value
    drawn = split(readings, SHARES, seed=4)
    held_out = set(drawn.filter(pl.col("split") != "train")["subject"])
    assert 0 < len(held_out) < 4
    photographs = readings.drop(LABELS).head(20)
    found = fitted(photographs, readings, settings)
    others = readings.filter(~pl.col("subject").is_in(held_out))
    assert found.value.equals(fitted(photographs, others, settings).value)
    assert found.metadata["frames_held_out"] == readings.height - others.height > 0


def test_without_readings_there_is_no_error_to_report(frames, asked):
    readings = read(frames, profile(second=None)).value
    errors = corrections.recipe_errors(readings)
    assert errors.value.is_empty() and "no labelled frames" in errors.metadata["note"]
