"""`fineface miniature recipes`: labels of every recipe against the truth that only the miniature has."""

import polars as pl
import pytest
from typer.testing import CliRunner

from curation.frames import LABELS
from facs import COLUMNS
from miniature import recipes
from pipelines.command import app
from store import Store

TRUTH = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0] * 4


@pytest.fixture
def home(tmp_path):
    """A labeller that reads AU12 at half its strength, frames that show it, and the photographs' truth."""
    store = Store(tmp_path)
    zeros = dict.fromkeys(COLUMNS, 0.0)
    read = [{**zeros, "au12": value / 2, "au6": 3.0} for value in TRUTH]
    photographs = [
        {"sample_id": f"affectnet/1/{i:02}.jpg", "source": "affectnet", "keep": True, **row}
        for i, row in enumerate(read)
    ]
    store.write("au_annotation", pl.DataFrame(photographs))
    frames = [
        {"sample_id": f"disfa/SN001/{i:05}", "subject": f"SN{i % 3}", "keep": True, **row}
        | dict.fromkeys(LABELS, 0.0)
        | {"label_au12": value, "label_au6": 3.0}
        for i, (row, value) in enumerate(zip(read * 10, TRUTH * 10, strict=True))
    ]
    store.write("disfa_readings", pl.DataFrame(frames))
    truth = [
        {"path": f"Manually_Annotated_Images/1/{i:02}.jpg", **zeros, "au12": value, "au6": 3.0}
        for i, value in enumerate(TRUTH)
    ]
    (tmp_path / "raw" / "affectnet").mkdir(parents=True)
    pl.DataFrame(truth).write_parquet(tmp_path / "raw" / "affectnet" / "truth.parquet")
    return tmp_path


def test_the_calibrated_recipe_lands_on_the_truth(home):
    found = recipes.errors(Store(home), home / "raw" / "affectnet").filter(au=12)
    mae = dict(found.select("recipe", "mae").iter_rows())
    assert list(mae) == ["uncorrected", "paper", "reference", "calibrated", "as_read"]
    assert mae["uncorrected"] == pytest.approx(1.25), "half of 0 to 5 on average"
    assert mae["calibrated"] < 0.25 < mae["paper"]


def test_the_command_prints_every_au_and_recipe(home):
    done = CliRunner().invoke(app, ["miniature", "recipes", "--home", str(home)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].split("  ")[0] == "MAE / MSE" and "calibrated" in lines[0]
    assert [line.split()[0] for line in lines[1:13]] == [column.upper() for column in COLUMNS]
    assert lines[7].split()[1:4] == ["1.250", "/", "2.292"]  # AU12 as read: (v / 2)² is 55 / 24 on average
    assert lines[14] == "24 photographs that every recipe keeps"


def test_a_home_without_readings_of_frames_is_refused_in_one_line(home):
    Store(home).write("disfa_readings", Store(home).read("disfa_readings").clear())
    done = CliRunner().invoke(app, ["miniature", "recipes", "--home", str(home)])
    assert done.exit_code == 1 and "there are none" in done.output
