"""What is edited on a page: held-out pictures, at first as they are."""

import shlex
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from tiny_editing import training_set
from typer.testing import CliRunner

import facs
from app.editors import Editors, NoSuchPicture
from picture_files import content_hash
from pipelines import profiles
from pipelines.command import app
from pipelines.drawing import NothingTrained
from store import Store

PROFILE = """\
extends: miniature
editing: {editors: {same: {method: unedited, size: 16}, other: {method: unedited, size: 32}}}
"""


@pytest.fixture
def editors(tmp_path) -> Editors:
    raw, path = tmp_path / "raw", tmp_path / "p.yaml"
    raw.mkdir()
    path.write_text(PROFILE)
    table = training_set(4)
    for name in table["file"]:
        Image.new("RGB", (20, 20), (200, 100, 50)).save(raw / name)
    hashes = [content_hash((raw / name).read_bytes()) for name in table["file"]]
    store = Store(tmp_path / "home", {"raw_folder": raw})
    store.write("training_set", table.with_columns(content_hash=pl.Series(hashes)))
    row = {"editor": "same", "method": "unedited", "folder": None, "model_hash": None}
    store.write("trained_editors", pl.DataFrame([row], schema=dict.fromkeys(row, pl.String)))
    return Editors(store, profiles.load(str(path), tmp_path), str(path))


def test_editors_that_are_trained_and_pictures_that_are_held_out_can_be_chosen(editors):
    assert editors.names() == ["same"]
    assert editors.pictures() == ["folder/1.png", "folder/2.png", "folder/3.png"]
    picture = editors.picture("folder/2.png")
    assert facs.describe(picture.aus) == "AU6=2" and picture.kind == "raw_folder"
    with pytest.raises(NoSuchPicture, match=r"folder/0\.png is no picture"):
        editors.picture("folder/0.png")


def test_an_edit_is_made_once_and_remembered(editors):
    picture = editors.picture("folder/2.png")
    names = editors.edit("same", picture, [picture.aus, facs.parse({"AU12": 4})])
    assert names == editors.edit("same", picture, [picture.aus, facs.parse({"AU12": 4})])
    with Image.open(Path(editors.store.files("edited").path(names[1]))) as made:
        assert made.size == (16, 16) and made.getpixel((3, 3)) == (200, 100, 50)
    assert editors.store.memo("edited").read().height == 2
    with pytest.raises(NothingTrained, match="no editor 'nobody'"):
        editors.edit("nobody", picture, [picture.aus])


def test_the_call_is_understood_by_the_command(editors):
    words = shlex.split(editors.call("same", facs.parse({"AU12": 4, "AU1": 0.5})))
    assert words[:7] == ["fineface", "edit", "photo.jpg", "--au", "AU1=0.5", "--au", "AU12=4"]
    neutral = shlex.split(editors.call("same", facs.parse({})))
    assert "--au" not in neutral
    for line in (words, neutral):
        told = CliRunner().invoke(app, line[1:])
        assert "photo.jpg is not there" in " ".join(told.output.split())


def test_a_home_without_editors_has_none(tmp_path):
    empty = Editors(Store(tmp_path), profiles.load("miniature", tmp_path), "miniature")
    assert empty.names() == [] and empty.pictures() == []
