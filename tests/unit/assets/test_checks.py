"""Asset checks on tables that pass and on tables that must not."""

from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

import facs
from assets import gate
from assets.data_set import (
    au_annotation,
    captions,
    corrections,
    latents,
    photorealism,
    raw,
    resolution,
    training_set,
)
from curation import corrections as correct
from curation import frames
from store import Store

PROFILE = SimpleNamespace(
    limits={"quarantined": 0.25, "no_face": 0.25, "cut_faces": 0.25},
    sources=("affectnet",),
    corrections=SimpleNamespace(recipe="paper"),
    split=SimpleNamespace(looks_within=4),
)


def check(room, name):
    (found,) = [check for check in dg.load_asset_checks_from_modules([room]) if check.check_key.name == name]
    return found


def table(*rows, **columns):
    """One row a (keep, reason_code), with constant columns."""
    found = pl.DataFrame(rows, schema={"keep": pl.Boolean, "reason_code": pl.String}, orient="row")
    ids = pl.int_range(pl.len()).cast(pl.String).alias("sample_id")
    return found.with_columns(ids, **{name: pl.lit(value) for name, value in columns.items()})


KEPT, DROPPED = (True, None), (False, "truncated_image")


def test_a_used_source_must_not_be_empty():
    not_empty = check(raw, "raw_affectnet_not_empty")
    assert not_empty(frames.finished([]), profile=PROFILE).passed is False
    assert not_empty(table(KEPT), profile=PROFILE).passed
    assert check(raw, "raw_disfa_not_empty")(frames.finished([]), profile=PROFILE).passed, "not used"


def test_many_unusable_rows_warn_but_rows_left_out_by_rule_do_not():
    small = check(raw, "raw_affectnet_quarantine_small")
    assert small(table(KEPT, KEPT, KEPT, DROPPED), profile=PROFILE).passed
    assert not small(table(KEPT, KEPT, DROPPED), profile=PROFILE).passed
    ruled = (False, "no_active_au"), (False, "faulty_frame")
    assert small(table(KEPT, *ruled), profile=PROFILE).passed


@pytest.mark.parametrize(
    ("room", "name"), [(resolution, "some_are_large_enough"), (photorealism, "some_are_photographs")]
)
def test_filters_must_leave_something(room, name):
    passes = check(room, name)
    assert passes(table(KEPT, DROPPED)).passed
    assert not passes(table(DROPPED)).passed
    assert passes(table()).passed, "there was nothing to filter"


def intensities(*values):
    rows = [dict.fromkeys(facs.COLUMNS, value) for value in values]
    return pl.DataFrame(rows, schema=dict.fromkeys(facs.COLUMNS, pl.Float64)).with_columns(keep=pl.lit(True))


@pytest.mark.parametrize(
    ("values", "passed"), [([0, 5], True), ([None], False), ([None, 1], True), ([], False)]
)
def test_something_must_be_measured(values, passed):
    assert check(au_annotation, "something_was_measured")(intensities(*values)).passed is passed


@pytest.mark.parametrize(("recipe", "passed"), [("paper", False), ("reference", True)])
def test_final_intensities_may_exceed_five_only_in_the_reference_recipe(recipe, passed):
    profile = SimpleNamespace(corrections=SimpleNamespace(recipe=recipe))
    in_range = check(corrections, "final_intensities_in_range")
    assert in_range(intensities(6.0), profile=profile).passed is passed
    assert in_range(intensities(5.0, 0.0), profile=profile).passed
    assert not in_range(intensities(-1.0), profile=profile).passed


def test_a_column_without_a_range_warns():
    wide = check(corrections, "every_range_is_wide")
    rows = {"step": ["power", "power"], "au": [1, 4], "minimum": [0.0, 2.0], "maximum": [5.0, 2.0]}
    assert not wide(pl.DataFrame(rows)).passed
    assert wide(pl.DataFrame(rows).head(1)).passed


def test_a_scale_that_one_sample_sets_warns_and_is_named():
    rests = check(corrections, "scales_rest_on_many")
    readings = pl.DataFrame([dict.fromkeys(facs.COLUMNS, value) for value in (1.0, 2.9, 3.0)])
    fitted = correct.fit(readings, "paper").statistics
    assert rests(fitted, profile=PROFILE).passed
    lonely = correct.fit(readings.with_columns(au4=pl.Series([1.0, 2.0, 5.0])), "paper").statistics
    found = rests(lonely, profile=PROFILE)
    assert not found.passed and found.severity == dg.AssetCheckSeverity.WARN
    assert "| 4 | 5 | 2 | 2 | one sample alone sets the scale |" in found.metadata["doubtful"].md_str


def test_captions_must_say_something():
    says = check(captions, "captions_not_empty")
    assert says(table(KEPT, caption="a face")).passed
    assert not says(table(KEPT, caption=" ")).passed
    assert not says(table(DROPPED, caption="a face")).passed


def splits(*rows):
    schema = ["subject", "content_hash", "split"]
    return pl.DataFrame(rows, schema=dict.fromkeys(schema, pl.String), orient="row").with_columns(
        source=pl.lit("disfa"), keep=pl.lit(True)
    )


def test_nobody_and_nothing_is_in_two_splits():
    subject, content = (
        check(training_set, name) for name in ("no_subject_in_two_splits", "no_content_in_two_splits")
    )
    sound = splits(("s1", "a", "train"), ("s1", "b", "train"), ("s2", "c", "test"), (None, "d", "test"))
    assert subject(sound).passed and content(sound).passed
    torn = splits(("s1", "a", "train"), ("s1", "b", "test"))
    assert not subject(torn).passed and content(torn).passed
    twice = splits((None, "a", "train"), (None, "a", "test"))
    assert subject(twice).passed and not content(twice).passed


def test_nothing_that_looks_the_same_is_in_two_splits():
    lookalike = check(training_set, "no_lookalike_in_two_splits")
    rows = splits((None, "a", "train"), (None, "b", "test"), (None, "c", "train"), (None, "d", "test"))
    near, apart = (
        pl.Series("perceptual_hash", [*(f"{bits:064x}" for bits in looks), None])
        for looks in ((0b0, 0b1111, 0b0), (0b0, 0b11111, 0b0))
    )
    assert not lookalike(rows.with_columns(near), profile=PROFILE).passed
    assert lookalike(rows.with_columns(apart), profile=PROFILE).passed
    dropped = pl.Series("keep", [True, False, True, True])
    assert lookalike(rows.with_columns(near, dropped), profile=PROFILE).passed


def test_there_must_be_something_to_train_on():
    enough = check(training_set, "something_to_train_on")
    assert enough(splits((None, "a", "train"))).passed
    assert not enough(splits((None, "a", "test"))).passed


def test_latent_shards_must_be_there(tmp_path):
    store = Store(tmp_path)
    name = store.files("latents").put(b"x", ".safetensors")
    there = check(latents, "shards_are_there")
    assert there(pl.DataFrame({"file": [name]}), store=store).passed
    assert not there(pl.DataFrame({"file": [name, "0" * 32 + ".safetensors"]}), store=store).passed


def test_only_blocking_checks_gate():
    names = {
        key.name for key in gate.blocking(dg.load_asset_checks_from_modules([corrections, training_set]))
    }
    assert names == {
        "final_intensities_in_range",
        "no_subject_in_two_splits",
        "no_content_in_two_splits",
        "no_lookalike_in_two_splits",
        "something_to_train_on",
    }


def test_pictures_that_the_autoencoder_is_the_first_to_find_corrupt_are_counted():
    counted = check(latents, "latents_decodes_most")
    assert counted(table(KEPT, KEPT, KEPT, (False, "corrupt_image")), profile=PROFILE).passed
    assert not counted(table(KEPT, KEPT, (False, "changed_file")), profile=PROFILE).passed
