"""The genuine LAVIS with tiny random weights, in its environment: against its own methods asked plainly, and
in the graph with its worker killed.
"""

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import polars as pl
import psutil
import pytest
import tiny_world
from PIL import Image

from assets import calls
from inference import environments, questions
from store import Store
from store.hashing import hash_file

TESTS = Path(tiny_world.__file__).parent
QUESTIONS = {"cartoon": "Is this a cartoon?", "real": "Is this photo real?"}
PATIENCE = 1800

pytestmark = [pytest.mark.environment("lavis"), pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Five pictures that differ, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(5):
        colours = [(50 * number, 40 * x, 255 - 40 * x) for x in range(6)]
        picture = Image.new("RGB", (6, 1))
        picture.putdata(colours)
        picture.resize((60 + number, 50)).save(folder / f"{number}.png")
    (folder / "5.png").write_bytes(b"no picture")
    return pl.DataFrame(
        {
            "path": [str(folder / f"{n}.png") for n in range(6)],
            "content_hash": [hash_file(folder / f"{n}.png") for n in range(6)],
        }
    )


@pytest.fixture(scope="module", params=["blip2_t5", "blip2_opt"])
def tiny(request, pictures, tmp_path_factory):
    """The model's name, its folder, and what LAVIS' own methods say about each picture."""
    folder = tmp_path_factory.mktemp("weights") / request.param
    return request.param, folder, write_weights(folder, request.param, pictures["path"][:5])


def write_weights(folder, name, paths=()):
    command = [environments.python("lavis"), "-I", str(TESTS / "tiny_lavis.py"), str(folder), name, *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def section(name, folder, **more):
    return {
        "provider": "lavis",
        "model": f"{name}/tiny",
        "weights": str(folder),
        "precision": "float32",
        "batch_size": 4,
        **more,
    }


def test_it_says_what_lavis_says_one_by_one(tiny, pictures, tmp_path):
    name, folder, plain = tiny
    store, found = Store(tmp_path / "home"), {}

    @dg.asset
    def asked(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        chosen = section(name, folder)
        for what, question in (
            ("answers", questions.answers(chosen, QUESTIONS)),
            ("captions", questions.captions(chosen)),
        ):
            found[what] = calls.ask(
                context, store, question, pictures, SimpleNamespace(chunk=4, engine=None)
            ).frame
        return dg.MaterializeResult()

    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize([asked], instance=instance)
        said = [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert any(f"LAVIS 1.0.2: {name}/tiny on cpu, float32" in line for line in said)
    for answer, caption, expected in zip(
        found["answers"].iter_rows(named=True), found["captions"]["caption"], plain, strict=False
    ):
        assert caption == expected["caption"]
        for question, wording in QUESTIONS.items():
            text, score = expected[f"Question: {wording} Answer:"]
            assert answer[f"{question}_answer"] == text
            assert answer[f"{question}_score"] == pytest.approx(score, rel=1e-3)
    scores = found["answers"].head(5)["real_score"]
    assert scores.n_unique() == 5 and scores.is_between(0, 1).all()
    broken = found["answers"].row(5, named=True)
    assert broken["reason_code"] == "corrupt_image" and broken["real_score"] is None
    assert set(found["answers"]["model"]) == {f"lavis {name}/tiny"}


def test_killed_in_mid_batch_in_the_graph_nothing_is_lost_or_doubled(world, tmp_path):
    write_weights(tmp_path / "t5", "blip2_t5")
    questions = {"questions": QUESTIONS, "thresholds": {"cartoon": 1.0, "real": 0.0}}
    chosen = section("blip2_t5", tmp_path / "t5", batch_size=2)
    profile = tiny_world.write_profile(
        tmp_path / "lavis.yaml",
        world.models,
        world.raw,
        chunk=4,
        photorealism=chosen | questions,
        captions=chosen,
    )
    home = tmp_path / "home"
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        run = tiny_world.start(profile, home, "--select", "+training_set", log=output)
        kill_worker_when(lambda: tiny_world.commits(home, "photorealism") >= 3, run, log)
        assert run.wait(PATIENCE) == 0, log.read_text()
    text = log.read_text()
    assert "the worker lavis was killed by signal 9" in text
    photographs = Store(home).read("resolution").filter("keep")["content_hash"].n_unique()
    made = {stage: int(count) for stage, count in re.findall(r"^  (\w+) .*?(\d+) model calls", text, re.M)}
    for memo, expected in (("photorealism", photographs), ("captions", made["captions"])):
        rows = pl.read_delta(str(home / "memo" / memo))
        assert rows.height == rows["key"].n_unique() == expected
    assert Store(home).read("training_set").height > 0


def kill_worker_when(moment, run, log):
    deadline = time.monotonic() + PATIENCE
    while not moment():
        assert run.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
    (worker,) = (
        child
        for child in psutil.Process(run.pid).children(True)
        if "lavis_worker.py" in " ".join(child.cmdline())
    )
    worker.send_signal(signal.SIGKILL)
