"""The command's manners: help, and one plain line instead of a traceback for what a user can get wrong."""

import json
import os
from types import SimpleNamespace

import polars as pl
import pytest
from tiny_raw import picture, write
from typer.testing import CliRunner

from pipelines.command import app

runner = CliRunner()


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setenv("COLUMNS", "200")


def test_help_names_every_command():
    shown = runner.invoke(app, ["--help"])
    assert shown.exit_code == 0
    for command in ("run", "status", "inspect", "ui", "why", "miniature"):
        assert command in shown.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--profile", "miniatur"], "no profile 'miniatur'; did you mean 'miniature'?"),
        (
            ["run", "--profile", "zzz"],
            "no profile 'zzz': neither a file nor one of editing, miniature, paper",
        ),
        (["run", "--select", "captons"], "no stage or group 'captons'; did you mean 'captions'?"),
        (["run", "--select", "captions, latnets+"], "no stage or group 'latnets'; did you mean 'latents'?"),
        (["run", "--select", "zzz"], "no stage or group 'zzz'; there are "),
        (["run", "--experiment", "finefac"], "no experiment 'finefac'; did you mean 'fineface'?"),
        (["run", "--experiment", "nobody"], "no experiment 'nobody'; there are fineface, sd"),
        (["why", "affectnet/1/x.jpg"], "no stage of"),
        (["inspect", "/nowhere"], "no folder /nowhere"),
        (["inspect", "/", "--profile", "papr"], "no profile 'papr'; did you mean 'paper'?"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
    for source in ("affectnet", "disfa"):
        (tmp_path / "raw" / source).mkdir(parents=True)
    (tmp_path / "tables").mkdir()
    done = runner.invoke(app, [*arguments, "--home", str(tmp_path)])
    assert done.exit_code == 1
    assert message in done.output and "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rn"], "Did you mean 'run'?"),
        (["run", "--profle", "paper"], "--profile"),
        (["environment", "create", "lvis"], "no environment 'lvis'; did you mean 'lavis'?"),
    ],
)
def test_mistyped_commands_get_the_nearest(arguments, message):
    done = runner.invoke(app, arguments)
    assert done.exit_code != 0 and message in done.output and "Traceback" not in done.output


@pytest.mark.parametrize("verb", ["status", "why x", "label --list", "miniature recipes"])
def test_looking_at_a_home_that_is_not_there_makes_none(tmp_path, verb):
    (tmp_path / "home" / "tables").mkdir(parents=True)
    absent = tmp_path / "hmoe"
    done = runner.invoke(app, [*verb.split(), "--home", str(absent)])
    assert done.exit_code == 1
    assert f"there is no home at {absent}; did you mean 'home'?" in done.output
    assert not absent.exists()


@pytest.mark.parametrize("verb", ["run", "status", "ui", "why x", "label --list"])
def test_a_home_that_cannot_be_is_one_line(tmp_path, monkeypatch, verb):
    (tmp_path / "file").write_text("")
    (tmp_path / "locked").mkdir()
    genuine = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and genuine(path, mode))
    for home, message in (
        (tmp_path / "50%", "its path contains %"),
        (tmp_path / "file" / "below", f"{tmp_path / 'file'} is a file"),
        (tmp_path / "locked" / "home", f"{tmp_path / 'locked'} cannot be written to"),
    ):
        done = runner.invoke(app, [*verb.split(), "--home", str(home)])
        assert done.exit_code == 1 and not isinstance(done.exception, OSError)
        assert message in done.output and len(done.output.splitlines()) == 1


def test_a_failed_stage_says_why_and_does_not_promise_that_running_again_helps(tmp_path):
    for source in ("affectnet", "disfa"):
        (tmp_path / "raw" / source).mkdir(parents=True)
    done = runner.invoke(app, ["run", "--anyway", "--home", str(tmp_path), "--select", "raw_affectnet"])
    assert done.exit_code == 1
    assert "raw_affectnet FAILED: " in done.output and str(tmp_path / "raw" / "affectnet") in done.output
    assert "failed: data_set" in done.output and "once that is mended" in done.output
    assert "Traceback" not in done.output


def test_status_of_an_empty_home(tmp_path):
    (tmp_path / "tables").mkdir()
    done = runner.invoke(app, ["status", "--home", str(tmp_path)])
    assert done.exit_code == 0 and "stage  version" in done.output


def test_inspect_tells_what_is_there_and_what_a_run_would_do(tmp_path):
    """The paper's profile, without the variables that a run needs; with --home hashes are remembered."""
    for name, side in (("a.png", 600), ("again.png", 600), ("small.png", 100)):
        write(tmp_path / "portraits" / name, picture(1, side, side))
    folder, home = str(tmp_path / "portraits"), tmp_path / "home"
    done = runner.invoke(app, ["inspect", folder])
    assert done.exit_code == 0 and not home.exists(), done.output
    assert "folder of pictures" in done.output and "2 of 3 reach 512" in done.output
    assert "folder/a.png = folder/again.png" in done.output
    assert "resolution" in done.output and "1 too_small" in done.output
    done = runner.invoke(app, ["inspect", folder, "--json", "--home", str(home)])
    assert json.loads(done.output)["calls"] == {"photorealism": 1, "au_annotation": 1, "captions": 1}
    assert (home / "cache" / "file_hashes").is_dir()


def test_results_of_another_run_are_not_shown_as_this_ones(tmp_path, monkeypatch):
    """Only what `results` wrote in this run is printed; else one line says from when the others are."""
    from evaluation import tables
    from pipelines.command.run import _results
    from store import Store

    said, profile = [], SimpleNamespace(paper={}, experiments={})
    monkeypatch.setattr("pipelines.command.run.say", said.append)
    monkeypatch.setattr(tables, "text", lambda table, paper, over_seeds: f"{table.height} numbers")
    _results(tmp_path, profile, now=True)
    assert said == [], "there are none"
    Store(tmp_path).write("results", tables.RESULTS.to_frame(eager=True))
    _results(tmp_path, profile, now=False)
    assert "stand as they were: this run did not make them" in said[0] and "numbers" not in said[0]
    _results(tmp_path, profile, now=True)
    assert said[1] == "\n0 numbers"


def test_a_failed_experiment_does_not_keep_the_results_of_the_others_from_being_printed(
    world, tmp_path, monkeypatch
):
    from evaluation import tables
    from pipelines import runs
    from store import Store

    def run(planned, opened, listener, spared):
        listener.__self__.made.append("results")
        return runs.Outcome(failed=["experiment db"])

    monkeypatch.setattr(runs, "run", run)
    monkeypatch.setattr(tables, "text", lambda *_: "the others' numbers")
    Store(tmp_path / "home").write("results", tables.RESULTS.to_frame(eager=True))
    done = runner.invoke(app, ["run", "--profile", str(world.profile), "--home", str(tmp_path / "home")])
    assert "the others' numbers" in done.output and "failed: experiment db" in done.output
    assert done.exit_code == 1


def test_repair_forgets_damaged_answers_and_sets_damaged_tables_aside(tmp_path):
    import polars as pl

    from store import Store

    store = Store(tmp_path)
    memo = store.memo("captions", {"caption": pl.String()})
    for key in ("a", "b"):
        memo.get_or_compute(
            pl.DataFrame({"key": [key]}), lambda part: part.with_columns(caption=pl.lit("a face")), chunk=9
        )
    store.write("resolution", pl.DataFrame({"sample_id": ["a"]}))
    asked = ["repair", "--home", str(tmp_path)]
    assert "nothing is damaged" in runner.invoke(app, asked).output
    next((tmp_path / "memo" / "captions").rglob("*.parquet")).unlink()
    done = runner.invoke(app, asked)
    assert done.exit_code == 0 and "memo captions: 1 rows of" in done.output
    assert len(store.memo("captions")) == 1
    next((tmp_path / "tables" / "resolution").rglob("*.parquet")).unlink()
    done = runner.invoke(app, asked)
    assert done.exit_code == 0 and "tables/resolution was set aside in" in done.output
    assert "run again: it makes what is missing" in done.output and "Traceback" not in done.output
    assert "nothing is damaged" in runner.invoke(app, asked).output


def test_what_comes_from_data_is_no_command_to_the_terminal():
    from pipelines.command.options import shown

    assert shown("a \x1b[31mred\x07 é\tname\n") == r"a \x1b[31mred\x07 é" + "\tname\n"


@pytest.fixture
def measured_home(tmp_path):
    """A home with the scores of two experiments, made by the profile `miniature`, and of two editors."""
    import tiny_editing
    import tiny_protocol

    import facs
    from store import Store

    store, samples = Store(tmp_path), tiny_protocol.build().filter(pl.col("prompt_index") < 10)
    said = {"guidance": 5.0, "model": "net", "fingerprint": "f"}
    plain = samples.with_columns(**{name: pl.lit(value) for name, value in said.items()})
    for name, gain in (("fineface", 0.9), ("sd", 0.1)):
        read = plain.with_columns(
            *[(pl.col(column) * gain).alias(f"measured_{column}") for column in facs.COLUMNS],
            judge=pl.lit("labeller"),
        )
        store.write(f"au_scores/{name}", read, {"profile": "miniature"})
        store.write(f"clip_scores/{name}", plain.with_columns(clip_i=pl.lit(gain)), {"profile": "miniature"})
    edits = tiny_editing.measured_edits(2, {"ganimation": (0.5, 0.9), "unedited": (0.0, 1.0)})
    for stage, table in zip(("edit_scores", "edit_fidelity"), edits, strict=False):
        store.write(stage, table)
    return tmp_path


def test_compare_puts_editors_beside_each_other(measured_home):
    done = runner.invoke(app, ["compare", "ganimation", "unedited", "--home", str(measured_home)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(
        "ganimation beside unedited: 120 individual, 100 combination and 2 transferred"
    )


def test_compare_prints_one_page(measured_home):
    done = runner.invoke(app, ["compare", "fineface", "sd", "--home", str(measured_home)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(
        "fineface beside sd: 600 individual and 500 combination samples of 10 prompts"
    )
    assert "fineface is better: AU-MSE prompted (individual, combination)" in done.output
    as_json = runner.invoke(app, ["compare", "fineface", "sd", "--json", "--home", str(measured_home)])
    found = json.loads(as_json.output)
    assert found["first"] == "fineface" and found["prompts"] == 10
    first = next(row for row in found["differences"] if row["metric"] == "au_mse_prompted")
    assert first["first_value"] == pytest.approx(0.11) and first["second_value"] == pytest.approx(11 * 0.81)


def test_compare_refuses_scores_of_different_pictures_and_tells_of_different_training_sets(measured_home):
    """As a run leaves them that was stopped between the two, and one of an experiment alone."""
    from store import Store

    store = Store(measured_home)
    pictures, drawn_anew = (
        store.write("generated_samples/sd", pl.DataFrame({"file": [name]})) for name in ("a", "b")
    )

    def scored(table: str, version: int) -> None:
        upstream = {"generated_samples/sd": version}
        store.write(
            f"{table}/sd", store.read(f"{table}/sd"), {"profile": "miniature"}, {"upstream": upstream}
        )

    scored("au_scores", pictures)
    scored("clip_scores", pictures)
    for name, rows in (("fineface", 1), ("sd", 2)):
        version = store.write("training_set", pl.DataFrame({"sample_id": [*"ab"][:rows]}))
        store.write(
            f"trained_model/{name}", pl.DataFrame({"a": [0]}), {"upstream": {"training_set": version}}
        )
    done = runner.invoke(app, ["compare", "fineface", "sd", "--home", str(measured_home)])
    assert done.exit_code == 0 and "note: they were trained on different training sets" in done.output
    scored("clip_scores", drawn_anew)
    done = runner.invoke(app, ["compare", "fineface", "sd", "--home", str(measured_home)])
    assert done.exit_code == 1 and "scores of experiment 'sd' are of different pictures" in done.output
    assert "`fineface run --experiments sd" in done.output


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["finefac", "sd"], ["no results of experiment 'finefac'", "did you mean 'fineface'?"]),
        (
            ["fineface", "twelve_tokens"],
            [
                "there are those of fineface, sd",
                "`fineface run --experiments twelve_tokens --profile miniature --home ",
            ],
        ),
        (["sd", "sd"], ["'sd' is compared with itself"]),
        (["sd", "ganimation"], ["'ganimation' is an editor of given faces", "ganimation, unedited"]),
    ],
)
def test_compare_says_what_makes_results_that_are_not_there(measured_home, arguments, messages):
    done = runner.invoke(app, ["compare", *arguments, "--home", str(measured_home)])
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert all(message in done.output for message in messages), done.output
