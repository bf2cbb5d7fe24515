"""The stages of editing, run by Dagster on a training set of random pictures: trained, measured, spared."""

import dagster as dg
import numpy as np
import polars as pl
import pytest
import tiny_world
from PIL import Image
from tiny_editing import training_set

from assets.editing.trained_editors import of_experiment, picture_samples
from picture_files import content_hash
from pipelines import preflight, profiles, runs
from store import Store

SMALL = {"size": 32, "channels": 2, "steps": 2, "batch_size": 2, "generator_every": 1, "sample_every": 0}


@pytest.fixture(scope="module")
def home(tmp_path_factory, world):
    """A home with nothing but a training set, its profile, and what a run of the editing stages left."""
    folder = tmp_path_factory.mktemp("editing")
    raw = folder / "raw"
    raw.mkdir()
    random, table = np.random.default_rng(0), training_set(6)
    for name in table["file"]:
        Image.fromarray(random.integers(0, 255, (40, 40, 3), np.uint8)).save(raw / name)
    hashes = [content_hash((raw / name).read_bytes()) for name in table["file"]]
    table = table.with_columns(content_hash=pl.Series(hashes))
    editors = {
        "unedited": {"method": "unedited", "size": 32},
        "relative_msf": {"method": "relative_msf", **SMALL},
        "ganimation": {"method": "ganimation", "residual_blocks": 1, **SMALL},
    }
    path = tiny_world.write_profile(
        folder / "p.yaml",
        world.models,
        world.raw,
        raw={"folder": str(raw)},
        editing={"pictures": 2, "strengths": [0.5], "editors": editors},
    )
    place = folder / "home"
    profile = profiles.load(str(path), place)
    Store(place, {"raw_folder": raw}).write("training_set", table)
    return profile, place, _run(profile, place)


def _run(profile, place):
    planned = runs.plan(profile, place, "editing")
    with runs.instance(place) as instance:
        return runs.run(planned, instance)


def test_every_editor_is_trained_tried_and_measured(home):
    _, place, outcome = home
    assert not outcome.failed
    store = Store(place)
    trained = store.read("trained_editors")
    parts = trained.select("editor", pl.col("folder").is_null(), "steps", "samples")
    told = {editor: tuple(rest) for editor, *rest in parts.rows()}
    learnt = (False, 2, 4)
    assert told == {"unedited": (True, 0, None), "relative_msf": learnt, "ganimation": learnt}
    edited = store.read("edited_samples")
    assert edited.group_by("editor").len()["len"].unique().to_list() == [2 * (2 * 60 + 50 + 2)]
    assert edited.filter(editor="ganimation")["kept"].null_count() == 0
    assert edited.filter(editor="relative_msf")["kept"].null_count() == edited.height // 3
    scores = store.read("edit_scores")
    assert scores["judge"].unique().sort().to_list() == ["labeller", "second"]
    assert scores.height == 2 * edited.height
    results = store.read("edit_results")
    told = {"kind": "unchanged", "strength": 1.0}
    same = results.filter(editor="unedited", **told)
    # the source of 40 pixels is seen at 32, as the editor sees it
    assert same.filter(metric="l1")["value"].item() == 0
    assert same.filter(metric="clip_i")["value"].item() > 0.9
    assert results.filter(editor="ganimation", metric="l1", **told)["value"].item() > 0
    nobody = store.read("edit_identity")
    assert nobody.is_empty() and {"identity_distance", "same_person"} <= set(nobody.columns)
    realism = store.read("edit_realism")
    assert realism.height == 3 * 5 * 2, "three editors, five kinds and strengths, KID and FID"
    assert realism["real"].unique().to_list() == [3], "of five held-out photographs two are edited"
    kid = results.filter(editor="ganimation", metric="kid", kind="individual", strength=1.0)
    assert kid["low"].item() <= kid["value"].item() <= kid["high"].item() and kid["n"].item() == 120
    page = (place / "editing.html").read_text()
    assert page.count("<figure>") == 2 + 2, "a front a judge, a sheet a person"
    for said in (
        "AU-MSE prompted (second)",
        "<th>KID</th>",
        "identity: {provider: dlib}",
        '<th scope="row">relative_msf</th>',
        "picture 1",
    ):
        assert said in page


def test_again_with_nothing_changed_no_model_is_asked(home):
    profile, place, _ = home
    before = {name: Store(place).version(name) for name in ("trained_editors", "edit_results")}
    commits = tiny_world.commits(place, "edited")
    assert not _run(profile, place).failed
    assert {name: Store(place).version(name) for name in before} == before
    assert tiny_world.commits(place, "edited") == commits


def test_a_profile_without_editors_is_told(world, tmp_path):
    profile = profiles.load(str(world.profile), tmp_path)
    found = preflight.check(runs.plan(profile, tmp_path, "trained_editors"))
    assert any(one.missing and one.need.what == "editors to be trained" for one in found)


def test_methods_stand_where_they_belong(world, tmp_path):
    for changes, message in (
        ({"experiments": {"a": {"train": {"method": "ganimation"}}}}, "name it under editing.editors"),
        ({"editing": {"editors": {"a": {"method": "fineface"}}}}, "name it under experiments"),
        ({"editing": {"editors": {"A b": {"method": "ganimation"}}}}, "editor name 'A b'"),
    ):
        path = tiny_world.write_profile(tmp_path / "p.yaml", world.models, world.raw, **changes)
        with pytest.raises(profiles.ProfileError, match=message):
            profiles.load(str(path), tmp_path)


def test_an_experiments_model_edits_where_it_is_trained(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(dg.Failure, match=r"edits by .* the experiment fineface, .*--experiment fineface"):
        of_experiment(store, "adapter", "fineface")
    row = {"experiment": "fineface", "method": "fineface", "folder": "files/adapters/k/output/model"}
    row |= {"model_hash": "h", "steps": 3, "final_loss": 0.5, "key": "k", "samples": 7}
    store.write("trained_model/fineface", pl.DataFrame([row]))
    del row["experiment"]
    assert of_experiment(store, "adapter", "fineface") == row
    store.write("trained_model/sd", pl.DataFrame([row]).with_columns(folder=pl.lit(None, pl.String)))
    with pytest.raises(dg.Failure, match="there is none"):
        of_experiment(store, "adapter", "sd")


def test_an_experiment_that_was_not_trained_is_told_beforehand(world, tmp_path):
    editors = {"adapter": {"method": "fineface_edit", "experiment": "fineface", "size": 32}}
    path = tiny_world.write_profile(
        tmp_path / "p.yaml", world.models, world.raw, editing={"editors": editors}
    )
    profile = profiles.load(str(path), tmp_path)
    found = preflight.check(runs.plan(profile, tmp_path, "trained_editors"))
    missing = {one.need.what: one.need for one in found if one.missing}
    wanted = "the experiment fineface, by whose model the editor adapter edits"
    assert missing[wanted].how.endswith("--experiment fineface")
    without = profile.model_copy(update={"experiments": {}})
    found = {
        one.need.what: one.need for one in preflight.check(runs.plan(without, tmp_path, "trained_editors"))
    }
    assert found[wanted].problem == "the profile has no such experiment"
    assert "{adapter: null}" in found[wanted].how


def test_too_few_held_out_photographs_are_told_before_anything_is_trained(world, tmp_path):
    editing = {"pictures": 4, "editors": {"unedited": {"method": "unedited", "size": 32}}}
    what = "held-out photographs to be edited"

    def problem(select, **changes):
        path = tiny_world.write_profile(
            tmp_path / "p.yaml", world.models, world.raw, editing=editing, **changes
        )
        planned = runs.plan(profiles.load(str(path), tmp_path), tmp_path, select)
        return next((one.need.problem for one in preflight.check(planned) if one.need.what == what), None)

    assert problem("editing") == "", "nothing is known of a training set that is not there"
    assert problem("trained_editors") is None
    assert problem("editing", split={"test": 0}).startswith("split.test is 0")
    Store(tmp_path).write("training_set", training_set(4))
    assert "4 of the split “test” are asked for, it has 3" in problem("editing")


def test_unread_action_units_are_trained_as_zero():
    found = picture_samples(training_set(3), "train")
    assert found["au9"].to_list() == [0.0] * 4
    assert found["sample_id"].is_sorted() and "caption" not in found.columns
