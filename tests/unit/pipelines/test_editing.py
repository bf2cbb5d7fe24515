"""Photographs through an editor: found, cut, edited, laid back; and the command, picture by picture."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import facs
from inference import images
from inference.abilities import unmeasured
from methods.editing.editor import Material, Unchanging
from methods.unedited import UneditedTrain
from picture_files import Region
from pipelines import editing, profiles
from pipelines.command import app
from pipelines.drawing import NothingTrained
from pipelines.editing import Face, FaceEditor, NoFace, central, cut, laid_back, with_detail
from store import Store


class Reader:
    name = "a reader"

    def __init__(self, *vectors):
        self.vectors = list(vectors)

    def prepare(self, picture):
        return picture

    def estimate(self, pictures):
        return [unmeasured()._replace(intensities=self.vectors.pop(0)) for _ in pictures]


class Recording(Unchanging):
    """Paints the face green and keeps what it was asked."""

    def __init__(self, size):
        super().__init__(UneditedTrain(size=size), Material())
        self.asked = []

    def edit(self, pictures, source, target):
        self.asked.append((pictures[0].size, source[0], target[0]))
        return [(Image.new("RGB", (self.size, self.size), "green"), None)]


@pytest.fixture
def faces(tmp_path, monkeypatch):
    profile = profiles.load("miniature", tmp_path)
    made = FaceEditor(Store(tmp_path / "home"), profile, {"editor": "one", "folder": None})
    editor = Recording(16)
    monkeypatch.setitem(vars(made), "_editor", editor)
    return made, editor


def reads(faces, *vectors):
    vars(faces)["reader"] = Reader(*vectors)


def photograph(width=200, height=120):
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 255, (height, width, 3), np.uint8))


def test_what_is_not_asked_for_stays_as_it_is_read(faces):
    made, editor = faces
    shows = facs.parse({"AU4": 3, "AU12": 1})
    reads(made, (*shows[:5], None, *shows[6:]), shows)
    picture = photograph()
    face = made.look(picture, whole=True)
    assert face == Face(Region(40, 0, 120, 120), shows)
    made.edit(picture, {"AU12": 4, "au4": 0}, face=face)
    assert editor.asked == [((120, 120), shows, facs.parse({"AU12": 4}))]
    made.edit(picture, {"AU12": 4}, transform="average", face=Face(face.square, facs.parse({"AU1": 5})))
    assert editor.asked[1][2] == facs.parse({"AU12": 4})
    with pytest.raises(ValueError, match="unknown action unit 'AU3'"):
        made.edit(picture, {"AU3": 1}, face=face)
    with pytest.raises(ValueError, match="none of relative, average"):
        made.edit(picture, {"AU12": 1}, transform="absolute", face=face)


def test_a_face_that_the_labeller_cannot_read_is_read_by_what_found_it(faces, monkeypatch):
    made, _ = faces
    smile = facs.parse({"AU12": 2})
    monkeypatch.setattr(FaceEditor, "_square", lambda *_: Region(10, 10, 50, 50))
    monkeypatch.setattr(editing, "_mediapipe", lambda: Reader(smile))
    reads(faces[0], (None,) * 12, facs.parse({"AU4": 1}))
    assert made.look(photograph()) == Face(Region(10, 10, 50, 50), smile)
    assert made.look(photograph()).aus == facs.parse({"AU4": 1})


def test_a_picture_in_which_nothing_is_read_has_no_face(faces):
    reads(faces[0], (None,) * 12)
    with pytest.raises(NoFace, match="a reader reads no action unit"):
        faces[0].look(photograph(), whole=True)


def test_what_an_editor_does_not_change_stays_sharp():
    """At a tenth of the size: no change is none, and what is added everywhere is added to every pixel."""
    part = photograph(120, 120)
    small = images.resized(part, 12)
    assert np.array_equal(np.asarray(with_detail(part, small)), np.asarray(part))
    brighter = Image.fromarray(np.asarray(small) + np.uint8(20))
    expected = np.asarray(part).astype(int) + 20
    assert np.array_equal(np.asarray(with_detail(part, brighter)), expected.clip(max=255))


def test_what_is_laid_back_fills_its_square_and_leaves_the_rest():
    picture = photograph()
    green = Image.new("RGB", (16, 16), (0, 255, 0))
    whole = np.asarray(laid_back(picture, green, Region(50, 10, 100, 100)))
    before = np.asarray(picture)
    outside = np.ones((120, 200), bool)
    outside[10:110, 50:150] = False
    assert (whole[outside] == before[outside]).all()
    assert (whole[30:90, 70:130] == (0, 255, 0)).all()
    # the border is between the two
    assert not (whole[60, 51] == (0, 255, 0)).all()


def test_at_the_edges_of_the_picture_nothing_of_the_source_stays():
    green = Image.new("RGB", (16, 16), (0, 255, 0))
    picture = photograph(120, 120)
    assert (np.asarray(laid_back(picture, green, central(picture.size))) == (0, 255, 0)).all()
    upper = np.asarray(laid_back(photograph(), green, Region(0, 0, 120, 120)))
    assert (upper[0, :100] == (0, 255, 0)).all() and (upper[:, 0] == (0, 255, 0)).all()


def test_a_square_is_cut_as_it_lies():
    picture = photograph()
    assert cut(picture, Region(5, 6, 10, 10)).getpixel((0, 0)) == picture.getpixel((5, 6))


def test_what_is_not_trained_is_told(tmp_path):
    profile = profiles.load("miniature", tmp_path)
    with pytest.raises(NothingTrained, match="--select trained_editors"):
        editing.find(Store(tmp_path), profile, "relative_msf")


def test_the_command_edits_a_folder_and_tells_what_it_could_not(faces, tmp_path, monkeypatch):
    made, _ = faces
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        photograph().save(tmp_path / "in" / name)
    (tmp_path / "in" / "c.png").write_bytes(b"no picture")
    reads(made, facs.parse({"AU4": 3}), (None,) * 12)
    monkeypatch.setattr(editing, "find", lambda *_: made)
    (tmp_path / "home" / "tables").mkdir(parents=True)
    given = ["edit", str(tmp_path / "in"), "--au", "AU12=4", "--au", "au4=0", "--whole"]
    given += ["--home", str(tmp_path / "home"), "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(app, given)
    assert told.exit_code == 1, told.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_AU12=4-AU4=0.png"]
    assert "AU4=3 → AU12=4" in told.output and "b.png: a reader reads no action unit" in told.output
    assert "2 of 3 pictures were not edited" in told.output
    assert Image.open(tmp_path / "out" / "a_AU12=4-AU4=0.png").size == (200, 120)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "say what is to be seen"),
        (["--au", "smile"], "no action unit with an intensity"),
        (["--au", "AU3=1"], "unknown action unit 'AU3'"),
        (["--au", "AU12=4", "--transform", "absolute"], "none of relative, average"),
    ],
)
def test_what_cannot_be_asked_is_told(tmp_path, given, message):
    photograph().save(tmp_path / "a.png")
    told = CliRunner().invoke(app, ["edit", str(tmp_path / "a.png"), *given])
    assert told.exit_code == 2 and message in " ".join(told.output.split())
