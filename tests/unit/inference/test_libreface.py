"""LibreFace: what is said without its environment, and, where there is one, the genuine package at work."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import polars as pl
import psutil
import pytest
from PIL import Image

import facs
from assets.data_set.au_annotation import annotate
from inference import environments, questions
from inference.abilities import EstimatorUnavailable
from inference.libreface import WEIGHTS, LibreFace
from store import Store

sys.path.append(str(environments.HERE))  # as a worker's script finds it
from inference.environments import libreface_worker as worker

TOOL = Path(__file__).parents[2] / "tiny_libreface.py"


# --- without the environment


@pytest.fixture
def weights(tmp_path):
    (tmp_path / WEIGHTS).parent.mkdir(parents=True)
    (tmp_path / WEIGHTS).write_bytes(b"weights")
    return tmp_path


@pytest.mark.parametrize("folder", [None, "nowhere"])
def test_missing_weights_are_one_message_with_source_and_licence(folder, tmp_path):
    with pytest.raises(EstimatorUnavailable) as missing:
        _ = LibreFace(folder and tmp_path / folder).fingerprint
    for word in ("resnet.pt", "authors' release", "research and non-commercial", "never downloaded"):
        assert word in str(missing.value)
    assert ("nowhere" if folder else "au_estimator.model") in str(missing.value)


def test_the_fingerprint_follows_the_weights_and_needs_no_environment(weights, monkeypatch):
    monkeypatch.setenv("FINEFACE_LIBREFACE_ENVIRONMENT", "/nowhere")
    before = LibreFace(weights).fingerprint
    assert before == LibreFace(weights, batch_size=3).fingerprint
    (weights / WEIGHTS).write_bytes(b"others")
    assert LibreFace(weights).fingerprint != before


def test_it_is_chosen_like_any_other_estimator(weights):
    chosen = {"provider": "libreface", "model": str(weights), "batch_size": 8}
    model = questions.action_units(chosen).model
    assert (model.name, model.fingerprint) == ("libreface 0.2.0", LibreFace(weights).fingerprint)
    with pytest.raises(TypeError, match="precision"):
        questions.action_units({**chosen, "precision": "float16"})


def test_values_are_clamped_and_which_is_recorded():
    said = worker.clamped([1, 2, 4], [-0.5, 2.5, 5.25])
    assert said == {
        "au1": 0.0,
        "au2": 2.5,
        "au4": 5.0,
        "clamped": [1, 4],
        "reason_code": None,
        "reason_detail": None,
    }
    assert worker.clamped([1, 2], [0.0, 5.0])["clamped"] == []
    with pytest.raises(FloatingPointError):
        worker.clamped([1], [float("nan")])


def face(left, top, right, bottom):
    corners = [SimpleNamespace(x=left, y=top), SimpleNamespace(x=right, y=bottom)]
    return SimpleNamespace(landmark=corners)


def test_of_several_faces_the_largest_is_shown_in_pixels_and_all_are_counted():
    # On a picture twice as wide as high, 0.3 × 0.5 covers more than 0.2 × 0.6.
    found = [face(0.0, 0.1, 0.2, 0.7), face(0.5, 0.2, 0.8, 0.7)]
    faces = worker.Faces(SimpleNamespace(process=lambda pixels: SimpleNamespace(multi_face_landmarks=found)))
    with faces as opened:
        shown = opened.process(np.zeros((100, 200, 3), np.uint8))
    assert shown.multi_face_landmarks == [found[1]]
    assert len(faces.boxes) == 2 and faces.boxes[faces.largest] == pytest.approx([100, 20, 160, 70])


def test_no_face_is_no_error_of_the_package():
    faces = worker.Faces(SimpleNamespace(process=lambda pixels: SimpleNamespace(multi_face_landmarks=None)))
    with pytest.raises(worker.NoFace):
        faces.process(np.zeros((4, 4, 3), np.uint8))


# --- in the environment: the genuine package, MediaPipe and real photographs


def run(*arguments):
    command = [str(environments.python("libreface")), "-W", "ignore", str(TOOL), *map(str, arguments)]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """A folder of random weights as the package saves them."""
    folder = tmp_path_factory.mktemp("weights")
    run("weights", folder)
    return folder


@pytest.fixture(scope="module")
def astronaut():
    spec = find_spec("skimage")
    if spec is None:
        pytest.skip("pip install scikit-image: it carries the photograph")
    with Image.open(Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png") as picture:
        return picture.convert("RGB")


@pytest.fixture(scope="module")
def photographs(astronaut, tmp_path_factory):
    """Pictures by name, as files."""
    head = astronaut.crop((140, 0, 310, 170))
    two = Image.new("RGB", (900, 500), "grey")
    two.paste(head.resize((380, 380)), (10, 60))
    two.paste(head.resize((480, 480)), (410, 10))
    turned = Image.Exif()
    turned[0x0112] = 6
    made = {
        "astronaut": astronaut,
        "two": two,
        "large": head.resize((2000, 2000), Image.Resampling.LANCZOS),
        "none": astronaut.crop((0, 300, 200, 500)),
    }
    folder = tmp_path_factory.mktemp("photographs")
    paths = {name: folder / f"{name}.png" for name in made}
    for name, picture in made.items():
        picture.save(paths[name])
    paths["turned"] = folder / "turned.png"
    astronaut.transpose(Image.Transpose.ROTATE_90).save(paths["turned"], exif=turned)
    paths["broken"] = folder / "broken.png"
    paths["broken"].write_bytes(paths["astronaut"].read_bytes()[:5000])
    return paths


def annotated(home, weights, paths, chunk=8, batch_size=4):
    """The rows that the stage gets, by name, and the run."""
    store, rows = Store(home), {}
    images = pl.DataFrame({"path": [str(path) for path in paths.values()], "content_hash": list(paths)})
    settings = {"provider": "libreface", "model": str(weights), "batch_size": batch_size}

    @dg.asset
    def au_annotation(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        estimator = SimpleNamespace(chosen=settings)
        table, made, _ = annotate(
            context, store, estimator, images, SimpleNamespace(chunk=chunk, engine=None)
        )
        rows.update({row["content_hash"]: row for row in table.to_dicts()}, made=made)
        return dg.MaterializeResult()

    result = dg.materialize([au_annotation], raise_on_error=False)
    return rows, result


@pytest.mark.environment("libreface")
def test_real_photographs_come_out_as_the_package_reads_them(genuine, photographs, tmp_path):
    rows, result = annotated(tmp_path, genuine, photographs)
    assert result.success and rows["made"] == 5
    assert "broken" in rows["broken"]["reason_detail"] and rows["broken"]["au1"] is None
    assert (rows["none"]["reason_code"], rows["none"]["faces"]) == ("no_face", 0)
    assert [rows[name]["faces"] for name in ("astronaut", "two", "large", "turned")] == [1, 2, 1, 1]
    width, height = Image.open(photographs["two"]).size
    left, top, right, bottom = rows["two"]["face_box"]
    assert left * width > 420 and right <= 1 and (bottom - top) * height > 150, (
        "the larger face, on the right"
    )
    left, _, right, _ = rows["large"]["face_box"]
    assert (right - left) * Image.open(photographs["large"]).width > 600

    own = json.loads(run("read", genuine, photographs["astronaut"], photographs["large"]))
    for name, values, pose in zip(("astronaut", "large"), own["values"], own["poses"], strict=True):
        assert rows[name]["head_pose"] == pytest.approx(pose, abs=1e-6)
        assert {column: rows[name][column] for column in facs.COLUMNS} == pytest.approx(values, abs=1e-4)
        assert rows[name]["clamped"] == []
    turned = [rows["turned"][column] for column in facs.COLUMNS]
    assert turned == pytest.approx(list(own["values"][0].values()), abs=1e-4), "upright, as its EXIF says"


@pytest.mark.environment("libreface")
def test_killed_in_mid_batch_it_goes_on_and_nothing_is_lost_or_doubled(genuine, astronaut, tmp_path):
    paths = {f"shade {n}": tmp_path / f"{n}.png" for n in range(40)}
    for n, path in enumerate(paths.values()):
        astronaut.crop((100 - n, 0, 356 - n, 256)).save(path)
    memo = Store(tmp_path / "home").memo("action_units")
    killed = []

    def kill():
        while not killed:
            time.sleep(0.02)
            if len(memo):
                for child in psutil.Process().children():
                    if "libreface_worker.py" in " ".join(child.cmdline()):
                        os.kill(child.pid, signal.SIGKILL)
                        killed.append(len(memo))

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    rows, result = annotated(tmp_path / "home", genuine, paths, chunk=1, batch_size=1)
    killer.join(10)
    assert result.success and 0 < killed[0] < 40, killed
    assert 0 < rows["made"] < 40, "the second worker was asked for what was left"
    assert all(rows[name]["faces"] == 1 for name in paths)
    stored = pl.read_delta(str(tmp_path / "home" / "memo" / "action_units"))
    assert stored.height == stored["key"].n_unique() == 40
