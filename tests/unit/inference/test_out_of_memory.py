"""Out of memory: whoever is asked through the one door is asked about half as much, and the log says so."""

import json
import logging
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from inference import devices, questions
from inference.abilities import Reading
from inference.asking import ask
from store import Store
from store.hashing import hash_file


def device():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def machine():
    torch.empty(1 << 60)


def array():
    np.empty(1 << 50)


@dataclass
class Crowded:
    """A model of every ability for which at most `fits` pictures have room."""

    fails: object
    fits: int = 2
    batch_size: int = 8
    name: str = "crowded"
    fingerprint: str = "f"
    side: None = None
    sizes: list = field(default_factory=list)

    def prepare(self, picture):
        return picture

    def _room(self, batch):
        self.sizes.append(len(batch))
        if len(batch) > self.fits:
            self.fails()

    def estimate(self, batch):
        self._room(batch)
        return [Reading((float(one.getpixel((0, 0))[0]),) * 12, 1, None) for one in batch]

    def encode(self, batch):
        self._room(batch)
        return np.stack([np.full((8, 2, 2), one.getpixel((0, 0))[0], np.float16) for one in batch])

    def embed_texts(self, texts):
        self._room(texts)
        return np.array([[float(text)] for text in texts], np.float32)

    def generate(self, prompts, aus, seeds, guidance):
        self._room(prompts)
        assert len(aus) == len(seeds) == len(prompts) and guidance in (2.0, 4.0)
        return [Image.new("RGB", (4, 4), (int(prompt), 0, 0)) for prompt in prompts]


FAILS = pytest.mark.parametrize("fails", [device, machine, array])


@pytest.fixture
def store(tmp_path):
    pictures = tmp_path / "raw"
    pictures.mkdir()
    for n in range(20):
        Image.new("RGB", (4, 4), (n, 0, 0)).save(pictures / f"{n:02}.png")
    return Store(tmp_path / "home", {"raw_folder": pictures})


@pytest.fixture
def pictures(store):
    names = [f"{n:02}.png" for n in range(20)]
    hashes = [hash_file(store.locate("raw_folder", name)) for name in names]
    return pl.DataFrame({"file_kind": "raw_folder", "file": names, "content_hash": hashes})


HALVED = [8, 4, 2] + [2] * 9
"""The sizes of what is asked about 20 inputs in batches of 8 where 2 have room: what fitted is kept to."""


@FAILS
def test_annotation(store, pictures, caplog, fails):
    model = Crowded(fails)
    question = questions.Question(
        "m", questions.Annotating(model, questions._estimate, questions._read), questions.READING
    )
    found = ask(store, question, pictures, chunk=5)
    assert found.frame["au1"].to_list() == list(range(20)) and model.sizes == HALVED
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "out of memory with 8 at once: 4 at once from now on",
        "out of memory with 4 at once: 2 at once from now on",
    ]


@FAILS
def test_latents(store, pictures, fails):
    from safetensors.numpy import load

    model = Crowded(fails)
    found = ask(store, questions.latents(model, 4, store.files("latents")), pictures, chunk=5)
    assert model.sizes == HALVED
    ((name, rows),) = found.frame.group_by("file").agg("row").iter_rows()
    moments = load(store.files("latents").read(name))["moments"]
    assert rows == list(range(20)) and moments[:, 0, 0, 0].tolist() == list(range(20))


@FAILS
def test_generation(store, fails):
    requests = pl.DataFrame(
        {
            "prompt": [str(n) for n in range(20)],
            "aus": [[0.0] * 12] * 20,
            "seed": list(range(20)),
            "guidance": [2.0] * 12 + [4.0] * 8,
        }
    )
    model = Crowded(fails)
    found = ask(store, questions.pictures(model, store.files("generated")), requests, chunk=5)
    assert model.sizes == HALVED
    paths = store.located(found.frame)["path"]
    assert [Image.open(path).getpixel((0, 0))[0] for path in paths] == list(range(20))


@FAILS
def test_texts(store, fails):
    model = Crowded(fails)
    question = questions.Question(
        "t", questions.EmbeddingTexts(model), questions.EMBEDDING, about=("prompt",)
    )
    found = ask(store, question, pl.DataFrame({"prompt": [str(n) for n in range(20)]}), chunk=5)
    assert [one[0] for one in found.frame["embedding"].to_list()] == list(range(20))
    assert model.sizes == HALVED


@FAILS
def test_one_that_does_not_fit_is_an_error_that_says_what_is_left(store, pictures, fails):
    model = Crowded(fails, fits=0)
    question = questions.Question(
        "m", questions.Annotating(model, questions._estimate, questions._read), questions.READING
    )
    with pytest.raises(MemoryError, match=r"one at a time, .* more memory is what is left"):
        ask(store, question, pictures, chunk=5)
    assert model.sizes == [8, 4, 2, 1]


def test_an_error_that_is_none_of_memory_is_not_tried_again():
    asked = []

    def wrong(batch):
        asked.append(len(batch))
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        devices.halving(wrong, [1, 2, 3, 4], 4)
    assert asked == [4]


def test_a_run_and_a_worker_hear_it(tmp_path):
    """Handlers of the logger `inference` are all that either adds."""
    heard = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    logging.getLogger("inference").addHandler(handler)
    try:
        fits = iter([False, True, True])

        def read(batch):
            if not next(fits):
                raise MemoryError
            return batch

        assert devices.halving(read, [1, 2], 2) == ([1, 2], 1)
    finally:
        logging.getLogger("inference").removeHandler(handler)
    assert heard == ["out of memory with 2 at once: 1 at once from now on"], json.dumps(heard)
