"""What if, what for, and what differs: on tables whose labels follow from real recipes."""

import json
import random
from dataclasses import replace

import polars as pl
import pytest

import facs
from curation import corrections, recipes, training_set
from provenance import reports
from provenance.counterfactual import counterfactual
from provenance.diff import diff
from provenance.impact import impact
from provenance.moments import Moment, UnknownMoment
from provenance.replay import NeedsModel, UnknownSetting
from provenance.samples import UnknownSample
from provenance.story import render
from provenance.why import why

LABELS = 1000


def recomputed(value):
    """A label by arithmetic of its own, from what `why --json` says of it alone."""
    label = value["reading"]
    for one in value["corrections"]:
        known = one["numbers"] | {"x": label, "min": min, "max": max}
        label = float(eval(one["formula"], {"__builtins__": {}}, known))
    return label


def test_a_thousand_labels_follow_from_what_why_says(audited):
    moment = Moment(audited)
    table = audited.read("training_set").filter("keep")
    ids = random.Random(0).sample(table["sample_id"].to_list(), LABELS // 12 + 1)
    stored = {row["sample_id"]: row for row in table.to_dicts()}
    counted = bent = 0
    for sample in ids:
        told = json.loads(why(audited, sample, moment).as_json())
        assert len(told["values"]) == 12
        for value in told["values"]:
            assert recomputed(value) == stored[sample][f"au{value['au']}"], (sample, value)
            counted += 1
            bent += any(one["step"] == "normalise" for one in value["corrections"])
    assert counted >= LABELS and bent > LABELS / 4


def data_set_by(store, recipe, annotation=None):
    """The training set that the stages make with `recipe`, written out once more."""
    annotation = store.read("au_annotation") if annotation is None else annotation
    captions, disfa = store.read("captions").filter("keep"), store.read("raw_disfa")
    captioned = annotation.filter("keep").join(captions, on="sample_id", how="semi", maintain_order="left")
    strong = corrections.judged(captioned, recipe)
    members = training_set.assemble(strong, disfa, captions).filter("keep")
    setters = captioned.join(members, on="sample_id", how="semi", maintain_order="left")
    fitted = corrections.fit(setters, recipe)
    return training_set.assemble(fitted.apply(captioned), disfa, captions)


def recipe(**changes):
    return replace(recipes.PAPER, **changes)


def powers(au, **changes):
    return recipe(powers=tuple(replace(p, **changes) if p.au == au else p for p in recipes.PAPER.powers))


@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ("corrections.gamma.AU4=1.0", powers(4, gamma=1.0)),
        ("corrections.amplify.AU15=1.5", powers(15, amplify=1.5)),
        ("corrections.zero_below=0.25", recipe(zero_below=0.25)),
        ("corrections.weak_at=6", recipe(weak_at=6.0)),
    ],
)
def test_a_counterfactual_is_what_a_run_with_that_setting_makes(audited, setting, changed):
    real = data_set_by(audited, changed).filter("keep")
    sample = real["sample_id"][7]
    found = counterfactual(Moment(audited), sample, setting)
    row = real.filter(sample_id=sample).row(0, named=True)
    assert found.after.labels == {name: row[name] for name in facs.COLUMNS}
    assert found.after.split == row["split"]
    now = audited.read("training_set").filter("keep")
    both = now.join(real, on="sample_id", suffix="_real")
    assert found.difference.after == real.height and found.difference.before == now.height
    moved = {one.au: one.samples for one in found.difference.moved}
    for au in facs.ACTION_UNITS:
        assert moved.get(au, 0) == both.filter(pl.col(f"au{au}") != pl.col(f"au{au}_real")).height
    assert moved or found.difference.went
    text = "\n".join(line for part in reports.counterfactual(found) for line in part.lines)
    assert "labels differ" in text or f"{found.difference.went[0].samples} samples, such as" in text


def test_without_the_sample_that_sets_a_scale_the_labels_of_others_move(audited):
    scales = audited.read("au_statistics").filter(step="power", au=4).row(0, named=True)
    setter = scales["maximum_sample_id"]
    annotation = audited.read("au_annotation").filter(pl.col("sample_id") != setter)
    real = data_set_by(audited, recipes.PAPER, annotation).filter("keep")
    sample = real.filter(source="affectnet")["sample_id"][3]
    found = counterfactual(Moment(audited), sample, f"without={setter}")
    assert found.after.labels["au4"] == real.filter(sample_id=sample)["au4"][0]
    assert [(one.reason, one.samples) for one in found.difference.went] == [("absent", 1)]
    (moved,) = [one for one in found.difference.scales if one.au == 4 and one.end == "maximum"]
    assert moved.before == scales["maximum"] and moved.after == scales["next_maximum"]
    assert moved.sample_before == setter != moved.sample_after


def test_a_stricter_filter_drops_by_its_own_reason(audited):
    sides = audited.read("resolution").filter("keep").sort("width")
    lost = sides.filter(pl.col("width") < 640)
    found = counterfactual(Moment(audited), lost["sample_id"][0], "resolution.min_side=640")
    assert not found.after.kept and found.after.reason == "too_small"
    assert {one.reason for one in found.difference.went} == {"too_small"} and found.now == 512


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("resolution.min_side=400", NeedsModel, "pictures would come that photorealism never saw"),
        ("corrections.gama.AU4=1", UnknownSetting, "did you mean 'corrections.gamma.AU4'"),
        ("corrections.gamma.AU12=1", UnknownSetting, "the recipe 'paper' has no such setting"),
        ("corrections.gamma.AU4=steep", UnknownSetting, "corrections.gamma.AU4: could not convert"),
        ("corrections.gamma.AU4=-1", UnknownSetting, "gamma and amplify must be positive"),
        ("resolution.minside=640", UnknownSetting, "did you mean 'resolution.min_side'"),
        ("captions.model=x", UnknownSetting, "without asking a model"),
        ("corrections.gamma.AU4", UnknownSetting, "say SETTING=VALUE"),
    ],
)
def test_what_cannot_be_told_is_said(audited, setting, error, message):
    with pytest.raises(error, match=message):
        counterfactual(Moment(audited), "affectnet/1", setting)


def test_two_versions_differ_by_what_came_went_and_moved(audited):
    found = diff(audited, "0", "1")
    old, new = (audited.read("training_set", version).filter("keep") for version in (0, 1))
    assert (found.data_set.before, found.data_set.after) == (old.height, new.height)
    gone = old.join(new, on="sample_id", how="anti").height
    assert sum(one.samples for one in found.data_set.went) == gone > 0
    both = old.join(new, on="sample_id", suffix="_new")
    moved = {one.au: one for one in found.data_set.moved}
    au4 = both.with_columns((pl.col("au4_new") - pl.col("au4")).abs().alias("by")).filter(pl.col("by") > 0)
    assert moved[4].samples == au4.height and moved[4].mean == pytest.approx(au4["by"].mean())
    assert abs(moved[4].after - moved[4].before) == au4["by"].max()
    assert found.settings == () and found.versions["training_set"] == (0, 1)
    assert not diff(audited, "1", "now").data_set


def test_two_experiments_differ_by_settings_models_and_scores(audited):
    found = diff(audited, "fineface", "sd")
    assert found.models[0].stage == "trained_model" and found.models[0].second == ("nothing trained",)
    assert {(one.metric, one.first, one.second) for one in found.scores} >= {("clip_i", 1.0, 1.0)}
    with pytest.raises(UnknownMoment, match="'fineface' is an experiment, 'finefac' is none"):
        diff(audited, "fineface", "finefac")


def test_a_setter_reaches_the_labels_of_others_and_every_model_after_it(audited):
    setter = audited.read("au_statistics").filter(step="power", au=4)["maximum_sample_id"][0]
    found = impact(audited, setter)
    corrected = audited.read("au_corrections").filter("keep").height
    assert ("maximum", corrected) in {(one.end, one.labels) for one in found.scales if one.au == 4}
    assert found.kind == "sample" and 1 in found.versions and found.tables["results"] == (0,)
    trained = {name for one in found.trainings for name in one.experiments}
    assert trained <= {"fineface", "fineface_12"}
    assert "not how much" not in reports.verdict(found) and "sets" in reports.verdict(found)


def test_impact_of_files_models_and_runs(audited):
    row = audited.read("raw_affectnet").row(5, named=True)
    assert impact(audited, row["file"]).samples == (row["sample_id"],)
    raw = audited.read("raw_affectnet")
    assert len(impact(audited, "training.csv").samples) == raw.height
    labeller = impact(audited, "libreface 0.1.1")
    assert labeller.kind == "model" and {one.stage for one in labeller.holds} == {
        "au_annotation",
        "au_corrections",
    }
    assert labeller.versions == (1,) and "trained_model/fineface" in labeller.tables
    run = impact(audited, "00000000")
    assert run.kind == "run" and run.versions == (0, 1), "frames that did not change are in the next one too"
    experiment = impact(audited, "fineface")
    assert experiment.kind == "model" and set(experiment.tables) >= {"au_scores/fineface", "results"}
    with pytest.raises(UnknownSample, match="no sample, file, model or run"):
        impact(audited, "nonesuch")


def test_time_travel_tells_what_a_run_left(audited):
    sample = audited.read("training_set", 0).filter("keep", source="affectnet")["sample_id"][0]
    then = why(audited, sample, "00000000")
    row = audited.read("training_set", 0).filter(sample_id=sample).row(0, named=True)
    assert {value.au: value.label for value in then.values} == {
        au: row[f"au{au}"] for au in facs.ACTION_UNITS
    }
    assert then["training_set"].version == 0 and then.trainings == ()
    assert "after run 00000000" in render(then).splitlines()[1]
