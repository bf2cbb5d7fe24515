"""The tiny models' trainings: seeded, and a stopped one goes on to the same weights."""

import numpy as np
import pytest
import torch

from miniature.train import clip, estimator, progress, tokenizer, world


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return world.pictures(tmp_path_factory.mktemp("faces"), "few", 80, seed=5, cartoons=0.3, processes=1)


@pytest.mark.parametrize("name", ["estimator", "clip"])
def test_a_stopped_training_goes_on_to_the_same_weights(name, faces, tmp_path, monkeypatch):
    def train(folder, work):
        if name == "estimator":
            estimator.train(faces, folder, work, steps=4)
        else:
            clip.train(faces, tokenizer.load(tmp_path / "words"), folder, work, steps=4, batch=8)
        return (folder / "model.safetensors").read_bytes()

    tokenizer.train(faces.captions, tmp_path / "words")
    monkeypatch.setattr(progress.Checkpoint, "due", lambda self, step: step == 1)
    whole = train(tmp_path / "whole", tmp_path / "undisturbed")

    class Killed(Exception):
        pass

    def stop(self, loss):
        if self.step == 2:
            raise Killed

    monkeypatch.setattr(progress.Progress, "log", stop)
    with pytest.raises(Killed):
        train(tmp_path / "part", tmp_path / "stopped")
    monkeypatch.undo()
    assert train(tmp_path / "part", tmp_path / "stopped") == whole


def test_pictures_are_seeded_and_kept(tmp_path):
    first = world.pictures(tmp_path / "a", "few", 12, seed=7, cartoons=0.5, photographed=0.5, processes=1)
    other = world.pictures(tmp_path / "b", "few", 12, seed=7, cartoons=0.5, photographed=0.5, processes=2)
    assert np.array_equal(first.images, other.images) and first.captions == other.captions
    assert {text.startswith("a cartoon of") for text in first.captions} == {True, False}
    kept = (tmp_path / "a").rglob("images.npy")
    before = [path.stat().st_mtime_ns for path in kept]
    world.pictures(tmp_path / "a", "few", 12, seed=7, cartoons=0.5, photographed=0.5, processes=1)
    assert [path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("images.npy")] == before


def test_words_of_a_caption_are_single_tokens_after_training(faces, tmp_path):
    words = tokenizer.train(faces.captions * 20, tmp_path / "words")
    ids = tokenizer.encode(words, ["a woman with long hair", ""])
    assert ids.shape == (2, tokenizer.MAXIMUM_TOKENS) and ids.dtype == torch.int64
    assert words.tokenize("a woman") == ["a</w>", "woman</w>"]
    assert ids[1, 0] == words.bos_token_id and (ids[1, 1:] == words.eos_token_id).all()
