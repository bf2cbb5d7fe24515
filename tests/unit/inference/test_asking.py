"""The one door: once a content, unreadable and changed pictures set aside, lost files made anew."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from inference import questions
from inference.asking import MODELS, Question, ask
from picture_files import Region, part_hash, part_of
from store import ComputeError, Store
from store.hashing import fingerprint, hash_file

SCHEMA = {"shade": pl.Int64}


@dataclass
class Oracle:
    """Answers with the number in a file's name; records what it was asked."""

    fingerprint: str = "f1"
    broken: tuple[str, ...] = ()
    name: str = "oracle@1"
    asked: list[str] = field(default_factory=list)

    def read(self, requests):
        for row in reversed(requests.to_dicts()):
            self.asked.append(row["path"])
            if row["path"] in self.broken:
                yield {"key": row["key"], "problem": "cut short"}
            else:
                yield {"key": row["key"], "shade": int(row["path"])}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "home")


@pytest.fixture
def shades(store):
    def shades(oracle, images, **settings):
        return ask(store, Question("shades", oracle, SCHEMA, settings=settings), images, chunk=2)

    return shades


def images(*paths):
    return pl.DataFrame({"path": list(paths), "content_hash": [f"content {path}" for path in paths]})


def test_every_row_names_the_model_that_answered(shades):
    found = shades(Oracle(), images("3", "1", "2"))
    assert (found.asked, found.reused) == (3, 0)
    assert found.frame["shade"].to_list() == [3, 1, 2]
    assert set(found.frame["model"]) == {"oracle@1"} and set(found.frame["fingerprint"]) == {"f1"}
    assert found.frame["reason_code"].null_count() == 3


def test_a_content_is_asked_once_whatever_its_name(shades):
    oracle = Oracle()
    found = shades(oracle, images("1", "2", "3").with_columns(content_hash=pl.Series(["a", "b", "a"])))
    assert (found.asked, found.reused) == (2, 0) and sorted(oracle.asked) == ["1", "2"]
    assert found.frame["shade"].to_list() == [1, 2, 1]


def test_a_picture_that_does_not_decode_is_a_problem_of_its_row_and_tried_again(shades):
    found = shades(Oracle(broken=("2",)), images("1", "2", "3"))
    assert found.asked == 2 and found.frame["shade"].to_list() == [1, None, 3]
    assert found.frame["reason_code"].to_list() == [None, "corrupt_image", None]
    assert found.frame["reason_detail"].to_list() == [None, "cut short", None]
    healed = Oracle()
    found = shades(healed, images("1", "2", "3"))
    assert healed.asked == ["2"] and (found.asked, found.reused) == (1, 2)
    assert found.frame["reason_code"].null_count() == 3


def test_another_model_or_setting_is_another_answer_and_the_old_one_is_kept(shades):
    shades(Oracle(), images("1"), wording="a")
    for oracle, wording, asked in ((Oracle(), "b", ["1"]), (Oracle("f2"), "a", ["1"]), (Oracle(), "a", [])):
        shades(oracle, images("1"), wording=wording)
        assert oracle.asked == asked


def test_a_model_that_leaves_a_picture_out_is_named_and_what_it_said_is_kept(shades, store):
    class Lazy(Oracle):
        def read(self, requests):
            yield from super().read(requests.head(2))

    with pytest.raises(ComputeError, match="oracle@1 said nothing about 1 of 3 requests"):
        shades(Lazy(), images("1", "2", "3"))
    assert len(store.memo("shades")) == 2


def test_an_engine_drives_the_model_and_gets_what_is_not_known(store):
    driven = []

    def engine(model, requests, together):
        driven.append(requests["path"].to_list())
        return model.read(requests)

    question = Question("shades", Oracle(), SCHEMA)
    ask(store, question, images("1"), chunk=2, engine=engine)
    ask(store, question, images("1", "2"), chunk=2, engine=engine)
    ask(store, question, images("1", "2"), chunk=2, engine=engine)
    assert driven == [["1"], ["2"]]


# --- pictures that are files


class Grey:
    """A provider: the shade of a grey picture."""

    name, batch_size, side = "grey", 4, None

    def __init__(self, fingerprint="1"):
        self.fingerprint = fingerprint

    def prepare(self, picture):
        return picture.getpixel((0, 0))[0]


def grey(provider):
    return Question("grey", questions.Annotating(provider, questions._as_it_is, _shade), SCHEMA)


def _shade(value):
    return {"shade": value}


@pytest.fixture
def pictures(tmp_path):
    rows = []
    for shade in (10, 20, 30):
        path = tmp_path / f"{shade}.png"
        Image.new("L", (12, 12), shade).save(path)
        rows.append((str(path), hash_file(path)))
    return pl.DataFrame(rows, schema=["path", "content_hash"], orient="row")


def test_a_picture_replaced_during_a_run_poisons_no_memo(store, pictures):
    """Its hash was taken, then the file was replaced, then the model read it; later it was restored."""
    path = Path(pictures["path"][1])
    original = path.read_bytes()
    Image.new("L", (12, 12), 99).save(path)
    found = ask(store, grey(Grey()), pictures, chunk=8).frame
    assert found["shade"].to_list() == [10, None, 30]
    assert found["reason_code"].to_list() == [None, "changed_file", None]
    path.write_bytes(original)
    healed = ask(store, grey(Grey()), pictures, chunk=8)
    assert healed.frame["shade"].to_list() == [10, 20, 30] and healed.asked == 1


def test_rows_of_a_memo_name_the_picture_that_was_asked_about(store, pictures):
    ask(store, grey(Grey()), pictures, chunk=8)
    rows = store.memo("grey").read()
    assert dict(rows.select("content_hash", "shade").iter_rows()) == dict(
        zip(pictures["content_hash"], (10, 20, 30), strict=True)
    )


def test_a_part_of_a_picture_is_told_from_the_whole_and_is_refused_too_when_its_file_changed(store, tmp_path):
    path = tmp_path / "halves.png"
    halves = Image.new("L", (8, 4), 200)
    halves.paste(50, (0, 0, 4, 4))
    halves.save(path)
    right = Region(4, 0, 4, 4)
    rows = [
        (str(path), hash_file(path)),
        (part_of(str(path), right), part_hash(hash_file(path), right)),
    ]
    pictures = pl.DataFrame(rows, schema=["path", "content_hash"], orient="row")
    assert ask(store, grey(Grey()), pictures, chunk=8).frame["shade"].to_list() == [50, 200]
    halves.rotate(180).save(path)
    again = ask(store, grey(Grey("2")), pictures, chunk=8)
    assert set(again.frame["reason_code"]) == {"changed_file"} and len(store.memo("grey")) == 2


def test_all_that_is_known_of_one_picture_can_be_found_and_forgotten(store, pictures):
    for mark in ("1", "2"):
        ask(store, grey(Grey(mark)), pictures, chunk=8)
    mine = pictures["content_hash"][0]
    found = store.about(mine)
    assert set(found) == {"grey"} and found["grey"]["shade"].to_list() == [10, 10]
    assert store.memo("grey").forget(pl.col("content_hash") == mine) == 2
    assert store.about(mine) == {} and len(store.memo("grey")) == 4
    assert ask(store, grey(Grey()), pictures, chunk=8).asked == 1


class Encoder:
    name, fingerprint, batch_size = "vae", "1", 2

    def __init__(self):
        self.seen = 0

    def encode(self, batch):
        import numpy as np

        self.seen += len(batch)
        return np.stack([np.full((2, 1, 1), one.getpixel((0, 0))[0], np.float16) for one in batch])


def test_latents_lie_in_shards_of_one_size_and_a_lost_shard_costs_only_its_own(store, tmp_path, monkeypatch):
    from safetensors.numpy import load_file

    monkeypatch.setattr(questions, "SHARD", 4)
    rows = []
    for shade in range(10):
        path = tmp_path / f"{shade}.png"
        Image.new("L", (4, 4), shade).save(path)
        rows.append((str(path), hash_file(path)))
    pictures, files = (
        pl.DataFrame(rows, schema=["path", "content_hash"], orient="row"),
        store.files("latents"),
    )

    def encode(encoder):
        return ask(store, questions.latents(encoder, 4, files), pictures, chunk=3)

    table = encode(Encoder()).frame
    assert table.group_by("file", maintain_order=True).len()["len"].to_list() == [4, 4, 2]
    for shade, name, row in zip(range(10), table["file"], table["row"], strict=True):
        assert load_file(files.path(name))["moments"][row].ravel().tolist() == [shade, shade]
    files.path(table["file"][4]).write_bytes(b"rot")
    encoder = Encoder()
    healed = encode(encoder)
    assert encoder.seen == healed.asked == 4 and healed.frame.equals(table)


def test_models_can_be_sent_to_another_process_before_they_are_loaded(store):
    import pickle

    question = questions.captions({"provider": "blip2", "model": "nowhere"})
    assert pickle.loads(pickle.dumps(question.model)).model.model == "nowhere"
    assert json.dumps(question.settings) == "{}"


def test_what_a_fingerprint_stands_for_is_noted_once(store, shades):
    mark = fingerprint(kind="oracle", weights="ab12", beams=5)
    for _ in range(2):
        shades(Oracle(fingerprint=mark), images("1"))
    (row,) = store.memo(MODELS).read().to_dicts()
    assert row["key"] == mark and json.loads(row["parts"]) == {
        "kind": "oracle",
        "weights": "ab12",
        "beams": 5,
    }
    assert json.loads(row["packages"])["torch"].startswith("2.")
