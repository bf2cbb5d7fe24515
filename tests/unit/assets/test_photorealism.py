"""The photorealism stage with a tiny BLIP-2 of the real class: its memo, the audit, and overrides."""

from types import SimpleNamespace

import dagster as dg
import numpy as np
import polars as pl
import pytest
import tiny_blip2
from PIL import Image

from assets.data_set.photorealism import photorealism
from inference.blip2 import Blip2
from pipelines import labels
from store import Store
from store.hashing import hash_file

QUESTIONS = {"cartoon": "Is this a cartoon?", "real": "Is this photo real?"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_blip2.save(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def resolution(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for name in "abcde":
        path = tmp_path / f"{name}.png"
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(path)
        rows.append((f"folder/{name}.png", "folder", "raw_folder", path.name, hash_file(path), True))
    columns = ["sample_id", "source", "file_kind", "file", "content_hash", "keep"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.fixture
def run(tmp_path, model, resolution, monkeypatch):
    """Materialise with these questions and thresholds: the result, and how many pictures were seen."""
    seen = []
    features = Blip2._features
    monkeypatch.setattr(Blip2, "_features", lambda self, batch: seen.extend(batch) or features(self, batch))

    def run(questions=QUESTIONS, thresholds=(1.0, 0.0)):
        settings = SimpleNamespace(
            provider="blip2",
            chosen={"provider": "blip2", "model": str(model), "batch_size": 2},
            questions=questions,
            thresholds=dict(zip(("cartoon", "real"), thresholds, strict=True)),
        )
        profile = SimpleNamespace(photorealism=settings, chunk=3, engine=None)
        seen.clear()
        store = Store(tmp_path / "home", {"raw_folder": tmp_path})
        result = photorealism(dg.build_asset_context(), resolution=resolution, store=store, profile=profile)
        store.write("photorealism", result.value)
        return result, len(seen)

    return run


def counts(result):
    return result.metadata["model_calls"], result.metadata["reused"]


def test_one_word_changed_and_changed_back_runs_the_model_once_for_the_new_and_never_for_the_old(run):
    first, seen = run()
    assert counts(first) == (5, 0) and seen == 5, "both questions share one vision pass"
    changed, seen = run({**QUESTIONS, "cartoon": "Is this a drawing?"})
    assert counts(changed) == (5, 0) and seen == 5
    assert changed.value["cartoon_score"].to_list() != first.value["cartoon_score"].to_list()
    again, seen = run({**QUESTIONS, "cartoon": "Is this a drawing?"})
    assert counts(again) == (0, 5) and seen == 0
    back, seen = run()
    assert counts(back) == (0, 5) and seen == 0
    assert back.value.equals(first.value) and back.data_version == first.data_version


def test_another_threshold_asks_nobody(run):
    run()
    result, seen = run(thresholds=(0.0, 0.0))
    assert seen == 0 and not result.value["keep"].any()


def test_every_row_names_the_model(run, model):
    table = run()[0].value
    assert set(table["model"]) == {"tiny"} and set(table["fingerprint"]) == {Blip2(model).fingerprint}


def test_an_override_wins_over_the_answer_and_changes_the_data_version(run, tmp_path):
    first, _ = run()
    labels.add(Store(tmp_path / "home"), "folder/b.png", "photorealism", "drop", "Ada", "a wax figure")
    second, seen = run()
    row = second.value.filter(sample_id="folder/b.png").row(0, named=True)
    assert (row["keep"], row["model_keep"], row["override"], row["overruled_by"]) == (
        False,
        True,
        "drop",
        "Ada",
    )
    assert (row["reason_code"], row["reason_detail"]) == ("overruled", "Ada says drop: a wax figure")
    answers = ["cartoon_answer", "cartoon_score", "real_answer", "real_score", "model_keep"]
    assert second.value.select(answers).equals(first.value.select(answers)) and seen == 0
    assert second.data_version != first.data_version and second.metadata["overruled"] == 1
    labels.add(Store(tmp_path / "home"), "folder/b.png", "photorealism", "undo", "Ada", "it is a person")
    third, _ = run()
    assert third.data_version == first.data_version


def test_the_audit_shows_the_closest_verdicts_with_their_scores_and_how_to_overrule_them(run, tmp_path):
    scores = run()[0].value.sort("cartoon_score")["cartoon_score"].to_list()
    result, _ = run(thresholds=(scores[2] + 1e-6, 0.0))
    assert result.metadata["borderline"].value.startswith("![borderline](data:image/png")
    page = (tmp_path / "home" / "photorealism.html").read_text()
    assert str(tmp_path / "home" / "photorealism.html") == result.metadata["audit"].path
    closest = result.value.sort((pl.col("cartoon_score") - scores[2]).abs())["sample_id"][0]
    others = set(result.value["sample_id"]) - {closest}
    assert page.index(f"fineface label {closest} ") < min(page.index(other) for other in others)
    assert f"{scores[2]:.3f}" in page and page.count("data:image/jpeg;base64") == 5
    assert "https://" not in page and "http://" not in page
