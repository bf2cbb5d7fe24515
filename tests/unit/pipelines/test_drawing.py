"""A face as it is asked for: the command, the three lines of Python, and what they refuse."""

import os
import re

import numpy as np
import polars as pl
import pytest
import tiny_world
from PIL import Image
from typer.testing import CliRunner

from assets.experiment.trained_model import SCHEMA
from assets.fitting import JOB
from inference.generation import base_content
from pipelines import profiles
from pipelines.command import app
from pipelines.drawing import FaceGenerator, NothingTrained
from store import Store
from store.trained import intact
from training.job import TrainingJob

runner = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory, world):
    """A home in which `fineface` has a model whose action units are seen, and `sd` needs none."""
    from inference import adapter
    from inference.pipeline import FineFacePipeline
    from methods.registry import get

    place = tmp_path_factory.mktemp("home")
    profile, store = profiles.load(str(world.profile), place), Store(place)
    settings, base = profile.experiments["fineface"].train, profile.base.model
    pipe = FineFacePipeline.from_pretrained(base)
    model = get("fineface").trained_model(settings)
    model.install(pipe)
    for parameter in adapter.trainable_parameters(pipe.unet).values():
        parameter.data.add_(0.3)
    folder = place / "files" / "adapters" / "key"
    job = TrainingJob(
        train=settings, base=base, base_content=base_content(base), dataset=".", output="output"
    )
    job.write(folder / JOB)
    saved = folder / "output" / "model"
    saved.mkdir(parents=True)
    model.save(pipe, saved, {})
    (folder / "output" / "result.json").write_text("{}")
    intact(folder, saved)
    rows = {
        "fineface": {"method": "fineface", "folder": str(saved.relative_to(place)), "model_hash": "m"},
        "sd": {"method": "sd"},
    }
    for name, row in rows.items():
        frame = pl.DataFrame([{"steps": 0, **row, "experiment": name}], schema=SCHEMA)
        store.write(f"trained_model/{name}", frame)
    return place


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def draw(home, world, *arguments):
    return runner.invoke(app, ["draw", *arguments, "--home", str(home), "--profile", str(world.profile)])


def test_the_command_says_where_the_picture_lies_and_shows_it_beside_its_neutral_twin(home, world, tmp_path):
    done = draw(home, world, "a man", "AU12=4", "au6=2.5", "--seed", "3")
    assert done.exit_code == 0, done.output
    picture = tmp_path / "a-man_AU6=2.5-AU12=4_seed3.png"
    sheet = tmp_path / "a-man_AU6=2.5-AU12=4_seed3_sheet.png"
    assert f"picture: {picture}\n" in done.output and f"neutral | asked: {sheet}\n" in done.output
    asked = np.asarray(Image.open(picture))
    assert asked.shape == (tiny_world.SIZE, tiny_world.SIZE, 3)
    assert Image.open(sheet).width > 2 * 192
    lines = [line.strip() for line in done.output.partition("in Python:\n")[2].splitlines()]
    scope: dict = {}
    exec("\n".join(lines[:3]).replace(picture.name, "python.png"), scope)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "python.png")), asked)
    neutral = scope["faces"].draw("a man", seed=3)
    assert not np.array_equal(np.asarray(neutral), asked)


def test_a_picture_is_drawn_once(home, world):
    faces = FaceGenerator.of(home, profile=str(world.profile))
    assert faces.trained["experiment"] == "fineface", "the first that trained something"
    memo = faces.store.memo("generated")
    first, known = faces.draw("a woman", {"AU1": 2}), len(memo)
    assert np.array_equal(np.asarray(faces.draw("a woman", {1: 2.0})), np.asarray(first))
    assert len(memo) == known
    faces.draw("a woman", {"AU1": 2}, guidance=faces.guidance + 1)
    assert len(memo) == known + 1


def test_without_action_units_there_is_the_neutral_face_alone(home, world, tmp_path):
    done = draw(home, world, "a man", "--experiment", "sd", "--out", "sub/face.png")
    assert done.exit_code == 0, done.output
    assert re.search(r"neutral · experiment sd · seed 0 · guidance 4$", done.output, re.MULTILINE)
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["face.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["AU12"], "'AU12' is no action unit with an intensity, as in AU12=4"),
        (["AU12=much"], "'AU12=much' is no action unit"),
        (["AU12=4", "au12=3"], "'au12=3' is named twice"),
        (["AU12=4", "12=3"], "AU12 is given twice"),
        (["AU99=1"], "unknown action unit 'AU99'"),
        (["AU1=nan"], "AU1: nan is not finite"),
        (["--out", "face.jpg"], "pictures are written as .png"),
        (["--experiment", "finefac"], "no experiment 'finefac'; did you mean 'fineface'?"),
    ],
)
def test_mistakes_are_named(home, world, arguments, message):
    done = draw(home, world, "a man", *arguments)
    said = " ".join(done.output.replace("│", " ").split())  # a frame breaks lines where the terminal ends
    assert done.exit_code != 0 and message in said and "Traceback" not in said


def test_a_home_without_a_model_names_the_way_to_one(tmp_path, world):
    Store(tmp_path / "home").write("captions", pl.DataFrame({"sample_id": ["a"]}))
    done = draw(tmp_path / "home", world, "a man", "AU12=4")
    assert done.exit_code == 1
    assert "no experiment" in done.output and "--select +trained_model` trains it" in done.output


def test_another_profile_than_the_model_was_trained_with_is_refused(home, world, tmp_path):
    path = tiny_world.write_profile(
        tmp_path / "p.yaml",
        world.models,
        world.raw,
        experiments={
            "fineface": {"train": {"method": "fineface", "rank": 3}},
            "sd": {"train": {"method": "sd"}},
        },
    )
    with pytest.raises(NothingTrained, match="trained with other settings than the profile"):
        FaceGenerator.of(home, "fineface", str(path))
