"""Answers from a process in another environment: in chunks, kept when it dies, and failures that say why.

The environment is this python; the worker is written here.
"""

import shutil
import sys
from contextlib import closing
from types import SimpleNamespace

import dagster as dg
import polars as pl
import pytest

from assets import calls, retries
from inference import environments, questions
from inference.asking import Question
from inference.environments import Worker
from inference.running import Running
from store import Store

ANSWER = {"letters": pl.Int64, "faces": pl.Int64}


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment "lavis" whose worker is the script given; its settings are {"folder": …}."""
    monkeypatch.setattr(retries, "WAIT_SECONDS", 0)
    room, folder = tmp_path / "inference" / "environments", tmp_path / "environment"
    (folder / "bin").mkdir(parents=True)
    room.mkdir(parents=True)
    shutil.copy(environments.HERE / "answering.py", room)
    shutil.copy(environments.HERE.parents[1] / "picture_files.py", tmp_path)
    (room / "lavis.txt").write_text("package==1.0 \\\n")
    monkeypatch.setattr(environments, "HERE", room)
    monkeypatch.setenv("FINEFACE_LAVIS_ENVIRONMENT", str(folder))
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / environments.MARKER).write_text(environments._contents("lavis"))

    def write(body):
        (room / "lavis_worker.py").write_text(
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "import answering\n"
            "def load(settings, log):\n"
            "    folder = Path(settings['folder'])\n"
            "    def answer(requests):\n"
            "        began = len(list(folder.glob('began*')))\n"
            "        (folder / f'began{began}').write_text(' '.join(r['key'] for r in requests))\n"
            + "".join(f"        {line}\n" for line in body.splitlines())
            + "    return answer\n"
            "answering.serve(load)\n"
        )
        return Worker("lavis", {"folder": str(tmp_path)})

    return write


@pytest.fixture
def asked(tmp_path):
    """Ask a worker about `count` images inside a run; the run, the table and the log of the run."""
    store = Store(tmp_path / "home")
    images = pl.DataFrame(
        {"path": [f"/{n:03}.png" for n in range(10)], "content_hash": [f"{n:032}" for n in range(10)]}
    )

    def ask(worker, count=10):
        given = {}

        @dg.asset
        def annotated(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            model = questions.Foreign(SimpleNamespace(name="m", fingerprint="f"), worker)
            question, profile = Question("words", model, ANSWER), SimpleNamespace(chunk=4, engine=None)
            found = calls.ask(context, store, question, images.head(count), profile)
            given.update(table=found.frame, made=found.asked, reused=found.reused)
            return dg.MaterializeResult()

        with dg.DagsterInstance.ephemeral() as instance:
            run = dg.materialize([annotated], instance=instance, raise_on_error=False)
            log = [entry.user_message for entry in instance.all_logs(run.run_id)]
        return run, given, log

    ask.store = store
    return ask


def failure(run):
    (event,) = run.get_step_failure_events()
    return event.event_specific_data.error_display_string


def began(tmp_path):
    return [len(path.read_text().split()) for path in sorted(tmp_path.glob("began*"))]


def test_answers_come_in_any_order_and_the_log_is_the_runs(environment, asked, tmp_path):
    worker = environment(
        "print('a package says something')\n"
        "log(f'model on {len(requests)}')\n"
        "for r in reversed(requests):\n"
        "    yield {'key': r['key'], 'letters': len(r['path']), 'faces': None}"
    )
    run, given, log = asked(worker)
    assert run.success and (given["made"], given["reused"]) == (10, 0)
    assert given["table"]["letters"].to_list() == [8] * 10 and given["table"]["faces"].null_count() == 10
    assert any("model on 10" in line for line in log)
    assert [line.split(" (")[0] for line in log if line.startswith("words: ")][-1] == "words: 10 of 10"
    _, given, _ = asked(worker)
    assert (given["made"], given["reused"]) == (0, 10) and began(tmp_path) == [10]


def test_a_worker_may_import_what_lies_above_its_own_folder(environment, asked, tmp_path):
    (tmp_path / "inference" / "images.py").write_text("LETTERS = 7\n")
    worker = environment(
        "from inference import images\n"
        "for r in requests: yield {'key': r['key'], 'letters': images.LETTERS, 'faces': None}"
    )
    _, given, _ = asked(worker, 1)
    assert given["table"]["letters"].to_list() == [7]


def test_a_worker_killed_in_mid_batch_is_begun_again_with_what_is_left(environment, asked, tmp_path):
    worker = environment(
        "for n, r in enumerate(requests):\n"
        "    if began == 0 and n == 6:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    yield {'key': r['key'], 'letters': 1, 'faces': began}"
    )
    run, given, log = asked(worker)
    assert run.success and any("killed by signal 9" in line for line in log)
    assert began(tmp_path) == [10, 4]
    assert given["table"]["faces"].to_list() == [0] * 6 + [1] * 4
    rows = pl.read_delta(str(asked.store.home / "memo" / "words"))
    assert rows.height == rows["key"].n_unique() == 10


def test_one_that_is_always_killed_ends_in_a_failure(environment, asked, tmp_path):
    worker = environment("os.kill(os.getpid(), signal.SIGKILL)\nyield {}")
    run, _, log = asked(worker, 1)
    assert not run.success and began(tmp_path) == [1] * 4
    assert any("killed by signal 9" in line for line in log)


def test_an_error_keeps_what_was_answered_is_quoted_and_not_tried_again(environment, asked, tmp_path):
    worker = environment(
        "for r in requests[:5]:\n"
        "    yield {'key': r['key'], 'letters': 1, 'faces': 1}\n"
        "raise ValueError('no such weights')"
    )
    run, _, _ = asked(worker)
    assert not run.success and began(tmp_path) == [10]
    assert "ValueError: no such weights" in failure(run)
    assert len(asked.store.memo("words")) == 5


@pytest.mark.parametrize(
    "body, complaint",
    [
        ("yield from ()", "said nothing about 1 of 1 requests"),
        ("yield {'key': 'x', 'letters': 1}", "nobody asked for"),
        ("yield {'key': requests[0]['key'], 'score': 1}", "outside the schema: score"),
        ("yield {'key': requests[0]['key'], 'letters': float('nan')}", "not JSON compliant"),
    ],
)
def test_a_worker_that_breaks_its_promise_is_named(environment, asked, body, complaint):
    run, _, _ = asked(environment(body), 1)
    assert complaint in failure(run)


@pytest.mark.parametrize("fault", ["is not in", "is unfinished", "has lost its python"])
def test_an_environment_that_is_not_whole_is_one_failure_that_names_the_command(
    environment, asked, tmp_path, fault
):
    worker, folder = environment("yield from ()"), tmp_path / "environment"
    if fault == "is not in":
        shutil.rmtree(folder)
    elif fault == "is unfinished":
        (folder / environments.MARKER).write_text(environments.UNFINISHED)
    else:
        (folder / "bin" / "python").unlink()
        (folder / "bin" / "python").symlink_to("/nowhere/python3.11")
    run, _, log = asked(worker)
    assert fault in failure(run) and "run 'fineface environment create lavis'" in failure(run)
    assert not any("retry" in line.lower() for line in log)


def test_no_environment_is_needed_when_every_answer_is_known(environment, asked, monkeypatch, tmp_path):
    worker = environment("for r in requests: yield {'key': r['key'], 'letters': 1, 'faces': 1}")
    asked(worker)
    monkeypatch.setenv("FINEFACE_LAVIS_ENVIRONMENT", str(tmp_path / "nowhere"))
    run, given, _ = asked(worker)
    assert run.success and given["reused"] == 10


def test_one_that_is_kept_answers_again_with_the_model_it_has(environment, tmp_path):
    worker, logged = environment("for r in requests: yield {'key': r['key'], 'letters': os.getpid()}"), []
    requests = pl.DataFrame({"key": ["a", "b"], "path": ["/", "/"], "content_hash": ["", ""]})
    with closing(Running(worker, tmp_path / "log", logged.append)) as running:
        first, second = ([*running.answers(part)] for part in (requests, requests.head(1)))
    assert [row["key"] for row in first + second] == ["a", "b", "a"]
    assert len({row["letters"] for row in first + second}) == 1 and began(tmp_path) == [2, 1]
