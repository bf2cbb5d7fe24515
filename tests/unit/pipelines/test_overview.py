"""`fineface status`: what it says of a home, and what it would cost to bring it up to date."""

import json
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from methods.db import DBTrain
from methods.sd import SDTrain
from pipelines import cost, overview, profiles, runs
from provenance import lineage
from settings.experiment import ClassImages
from settings.profile import Rendered
from store import Store


def rows(source, names, dropped=(), code="corrupt_image"):
    """Rows of a stage's table; those `dropped` for a reason."""
    return pl.DataFrame(
        {
            "sample_id": [f"{source}/{name}" for name in names],
            "source": source,
            "file": names,
            "content_hash": [f"hash of {name}" for name in names],
            "keep": [name not in dropped for name in names],
            "reason_code": [code if name in dropped else None for name in names],
        },
        schema_overrides={"reason_code": pl.String},
    )


@pytest.fixture
def home(tmp_path):
    """A folder of five portraits, of which four were read, two photographs annotated, and none captioned."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "new.jpg", "note.txt"):
        (raw / name).touch()
    store = Store(tmp_path / "home")
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    store.write("raw_folder", rows("folder", names, dropped=["d.jpg"]))
    for stage in ("face_crop", "resolution", "photorealism"):
        store.write(stage, rows("folder", names[:3]))
    store.write("au_annotation", rows("folder", names[:2]))
    experiments = {
        "fineface": SimpleNamespace(train=SimpleNamespace(steps=12, drawn_before=None)),
        "db": SimpleNamespace(train=DBTrain(steps=30, class_images=ClassImages(count=40))),
        "sd": SimpleNamespace(train=SDTrain()),
    }
    profile = profiles.load("miniature", tmp_path / "home").model_copy(
        update={"second_au_estimator": None, "experiments": experiments}
    )
    raw_settings = profile.raw.model_copy(update={"affectnet": None, "disfa": None, "folder": raw})
    return store, profile.model_copy(update={"raw": raw_settings})


def test_new_files_are_pictures_that_no_table_names(home):
    assert cost.new_pictures(*home) == {"folder": 1}


def test_what_is_not_answered_yet_and_what_came_new_is_counted(home):
    store, profile = home
    found = cost.calls(store, profile, {})
    share = 3 / 4  # of four raw rows three came as far as photorealism
    assert found["photorealism"] == 0 + round(share)
    assert found["au_annotation"] == 1 + round(share), "one photograph has no reading yet"
    assert found["captions"] == 2 + round(2 / 4), "two were read, none has a caption"
    assert found["trained_model"] == 12 + 30, "training steps; sd trains nothing"
    assert found["class_images"] == 40
    assert found["generated_samples"] == 3 * 1650


def test_pictures_that_are_to_be_rendered_are_counted_and_encoded(home):
    store, profile = home
    (profile.raw.folder / "new.jpg").unlink()
    before = cost.calls(store, profile, {})
    rendered = profile.model_copy(update={"rendered": Rendered(pictures=54)})
    found = cost.calls(store, rendered, {"raw_rendered": lineage.NEVER})
    assert found["raw_rendered"] == 54 and found["latents"] == before.get("latents", 0) + 54
    assert found["captions"] == before["captions"], "they bring theirs along"
    assert "raw_rendered" not in cost.calls(store, profile, {"raw_rendered": lineage.NEVER})


def test_new_settings_ask_again(home):
    store, profile = home
    found = cost.calls(store, profile, {"photorealism": lineage.CHANGED})
    assert found["photorealism"] == 3 + 1


def test_a_home_that_is_up_to_date_costs_nothing(home):
    store, profile = home
    (profile.raw.folder / "new.jpg").unlink()
    names = ["a.jpg", "b.jpg"]
    store.write(
        "au_annotation", rows("folder", ["a.jpg", "b.jpg", "c.jpg"], dropped=["c.jpg"], code="no_face")
    )
    for stage in ("captions", "training_set", "latents"):
        store.write(stage, rows("folder", names))
    assert cost.calls(store, profile, {}) == {}
    assert cost.calls(store, profile, {"au_scores/sd": "made from version 0 of x, which is at 1"}) == {
        "au_scores": 1650
    }


def test_status_tells_it_all_as_text_and_as_json(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")
    profile = profiles.load("miniature", tmp_path)
    store = Store(tmp_path)
    store.write("raw_affectnet", rows("affectnet", ["a.jpg", "b.jpg"], dropped=["b.jpg"]))
    with runs.instance(tmp_path) as opened:
        tags = {"dagster/partition": "sd"}
        create_run_for_test(opened, job_name="experiment", status=DagsterRunStatus.FAILURE, tags=tags)
        create_run_for_test(opened, job_name="data_set", status=DagsterRunStatus.FAILURE)
        create_run_for_test(opened, job_name="data_set", status=DagsterRunStatus.SUCCESS)
        create_run_for_test(opened, job_name="comparison", status=DagsterRunStatus.STARTED)
        opened.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey("captions"),
                check_name="captions_keeps_its_share",
                passed=False,
                metadata={"moved": "folder: keeps 0.5", "content": "hash"},
            )
        )
        found = overview.gather(store, opened, profile)
        text = overview.text(found)
    told = json.loads(json.dumps(found.as_json(), default=str))
    assert [one["job"] for one in told["running"]] == ["comparison"]
    assert [one["experiment"] for one in told["failed_runs"]] == ["sd"], "a success has followed the other"
    assert told["failed_checks"] == [
        {
            "check": "captions_keeps_its_share",
            "stage": "captions",
            "says": {"moved": "folder: keeps 0.5"},
        }
    ]
    assert told["quarantined"] == {"raw_affectnet": {"corrupt_image": 1}}
    assert told["stale"]["training_set"] == "never made"
    assert [one["on"] for one in told["switches"]] == [False] * 4
    assert "stopped" in text and "fineface accept captions_keeps_its_share" in text
    assert "quarantined       raw_affectnet: 1 corrupt_image" in text
    assert "stale             training_set: never made" in text
    assert "new_data          off  every 30 s" in text


def test_without_a_profile_what_can_be_told_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")
    store = Store(tmp_path)
    store.write("raw_affectnet", rows("affectnet", ["a.jpg"]))
    with runs.instance(tmp_path) as opened:
        found = overview.gather(store, opened, None)
    assert found.stale is None and found.cost is None and "raw_affectnet" in overview.text(found)
