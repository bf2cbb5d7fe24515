"""The code location: it validates, and holds the whole graph."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from pipelines import definitions, jobs, profiles

PROJECT = Path(__file__).parents[3]
STAGES = [
    "raw_affectnet",
    "raw_disfa",
    "raw_folder",
    "raw_rendered",
    "face_crop",
    "resolution",
    "overrides",
    "forgotten",
    "openings",
    "held_out_comparisons",
    "acceptances",
    "photorealism",
    "annotator_audit",
    "au_annotation",
    "disfa_readings",
    "annotator_agreement",
    "au_statistics",
    "au_corrections",
    "recipe_errors",
    "captions",
    "training_set",
    "latents",
    "class_images",
    "trained_model",
    "guidance_curve",
    "generated_samples",
    "au_scores",
    "clip_scores",
    "identity_scores",
    "realism_scores",
    "comparisons",
    "results",
    "trained_editors",
    "edited_samples",
    "edit_scores",
    "edit_fidelity",
    "edit_identity",
    "edit_realism",
    "edit_results",
]
BY_EXPERIMENT = {
    "class_images",
    "trained_model",
    "guidance_curve",
    "generated_samples",
    "au_scores",
    "clip_scores",
    "identity_scores",
    "realism_scores",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return definitions.build(profiles.load("miniature", home), home)


@pytest.fixture(scope="module")
def graph(built):
    return built.resolve_asset_graph()


def test_the_workspace_validates(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=PROJECT,
        env=os.environ | {"DAGSTER_HOME": str(tmp_path), "FINEFACE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "home").exists(), "loading definitions writes nothing"


def test_every_stage_is_there_in_order(graph):
    order = [key.to_user_string() for key in graph.toposorted_asset_keys]
    assert sorted(order) == sorted(STAGES)
    for above, below in [
        ("raw_affectnet", "face_crop"),
        ("raw_disfa", "face_crop"),
        ("raw_rendered", "face_crop"),
        ("raw_rendered", "training_set"),
        ("face_crop", "resolution"),
        ("face_crop", "captions"),
        ("resolution", "photorealism"),
        ("overrides", "photorealism"),
        ("photorealism", "au_annotation"),
        ("au_annotation", "au_statistics"),
        ("raw_disfa", "disfa_readings"),
        ("face_crop", "disfa_readings"),
        ("disfa_readings", "au_statistics"),
        ("disfa_readings", "annotator_agreement"),
        ("disfa_readings", "recipe_errors"),
        ("au_statistics", "au_corrections"),
        ("au_annotation", "captions"),
        ("captions", "au_statistics"),
        ("captions", "training_set"),
        ("au_corrections", "training_set"),
        ("training_set", "latents"),
        ("latents", "trained_model"),
        ("training_set", "class_images"),
        ("class_images", "trained_model"),
        ("trained_model", "guidance_curve"),
        ("guidance_curve", "generated_samples"),
        ("training_set", "generated_samples"),
        ("generated_samples", "au_scores"),
        ("clip_scores", "results"),
        ("identity_scores", "comparisons"),
        ("training_set", "realism_scores"),
        ("realism_scores", "results"),
    ]:
        assert dg.AssetKey(above) in graph.get(dg.AssetKey(below)).parent_keys


def test_experiments_are_partitions(graph):
    for stage in STAGES:
        partitions = graph.get(dg.AssetKey(stage)).partitions_def
        assert (partitions is not None) == (stage in BY_EXPERIMENT)
        if partitions is not None:
            assert partitions.get_partition_keys() == ["fineface", "sd"]


def test_every_stage_has_a_code_version(graph):
    for stage in STAGES:
        node = graph.get(dg.AssetKey(stage))
        assert node.code_version and node.description
        assert node.group_name in ("data_set", "experiment", "results", "annotators", "editing", "held_out")
        assert (node.freshness_policy is not None) == (node.group_name == "data_set")


def test_all_that_runs_by_itself_is_off_until_switched_on(built):
    sensors = {sensor.name: sensor.default_status.value for sensor in built.sensors}
    assert sensors == {
        "new_data": "STOPPED",
        "run_failed": "STOPPED",
        "comparison_after_training": "RUNNING",  # idle unless weekly_training is on
    }
    schedules = {schedule.name: schedule.default_status.value for schedule in built.schedules}
    assert schedules == dict.fromkeys(("nightly_data_set", "weekly_training"), "STOPPED")
    for one in (*built.sensors, *built.schedules):
        assert one.description


def test_accelerator_stages_share_a_pool(graph):
    holders = {stage for stage in STAGES if graph.get(dg.AssetKey(stage)).pools == {"gpu"}}
    readers = {"au_annotation", "disfa_readings", "annotator_agreement", "annotator_audit"}
    editing = {"trained_editors", "edited_samples", "edit_scores"}
    editing |= {"edit_fidelity", "edit_identity", "edit_realism"}
    drawn = {"captions", "latents", "held_out_comparisons"}
    assert holders == {"photorealism", *readers, *editing, *drawn, *BY_EXPERIMENT}


def test_the_jobs_cover_every_stage_once(built):
    covered = [
        key.to_user_string()
        for phase in jobs.ALL
        for key in built.resolve_job_def(phase.name).asset_layer.executable_asset_keys
    ]
    assert sorted(covered) == sorted(STAGES)


def test_gates_that_block(graph):
    blocking = {key.name for key in graph.asset_check_keys if graph.get(key).blocking}
    assert {
        "raw_affectnet_not_empty",
        "raw_disfa_not_empty",
        "raw_rendered_not_empty",
        "some_have_a_face",
        "some_are_large_enough",
        "some_are_photographs",
        "something_was_measured",
        "au_annotation_is_as_declared",
        "final_intensities_in_range",
        "captions_not_empty",
        "no_subject_in_two_splits",
        "no_content_in_two_splits",
        "something_to_train_on",
        "shards_are_there",
        "every_experiment_is_complete",
        "every_experiment_has_the_same_judge",
        "versions_form_one_chain",
    } <= blocking
