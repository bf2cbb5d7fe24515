"""Training an editing method: the loop is every training's, the data are pictures, the optimisers two."""

import json
import math
import multiprocessing
import signal

import polars as pl
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from tiny_editing import SIZE, make_job, train_until_killed, write_pictures
from tiny_training import changed

import methods.registry
from training import loop, progress
from training.checkpoints import Checkpoints
from training.job import JobError
from training.pictures import Pictures

METHODS = ["relative_msf", "ganimation", "pattgan", "lacgan", "slidergan"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("editing") / "data")


@pytest.fixture(autouse=True)
def own_accelerator():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "channels"), [(128, 8), (512, 2)])
def test_two_steps_at_the_published_sizes(method, size, channels, folder, tmp_path):
    """Forward, backward and both optimisers, at the papers' 128 px and at 512, of narrow nets; what is saved
    edits a picture of that size."""
    small = {} if method == "relative_msf" else {"residual_blocks": 1}
    options = {"steps": 2, "batch_size": 1, "generator_every": 1, "checkpoint_every": 2, "validate_every": 0}
    job = make_job(method, folder, tmp_path / "out", size=size, channels=channels, **options, **small)
    assert loop.train(job)
    assert [math.isfinite(line["loss"]) for line in progress.read(tmp_path / "out")] == [True, True]
    edits = methods.registry.get(method).trained_model(job.train)
    edits.load(tmp_path / "out" / "model")
    (made,) = edits.edit(torch.zeros(1, 3, size, size), torch.zeros(1, 12), torch.full((1, 12), 5.0)).pictures
    assert made.shape == (3, size, size) and made.isfinite().all() and made.abs().max() <= 1


def left(folder):
    lines = [(line["step"], line["loss"], line.get("held_out_loss")) for line in progress.read(folder)]
    return lines, (folder / "model" / "generator.safetensors").read_bytes()


@pytest.fixture(scope="module")
def clean():
    """Starts processes that share nothing with this one; torch is imported once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.loop"])
    return context


@pytest.mark.parametrize("method", METHODS)
def test_killed_training_goes_on_to_the_same_bytes(method, folder, tmp_path, clean):
    """Both nets and both optimisers: SIGKILL after a checkpoint, in the middle of its fourth step."""
    other = make_job(method, folder, tmp_path / "killed", sample_every=6)
    process = clean.Process(target=train_until_killed, args=(other.model_dump_json(), 9))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    job = changed(other, output=str(tmp_path / "whole"))
    assert loop.train(job)
    (kept,) = (tmp_path / "killed" / "checkpoints").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == [
        *("critic.pt", "generator.pt", "parameters.safetensors", "state.json")
    ]
    assert loop.train(other)
    assert left(tmp_path / "killed") == left(tmp_path / "whole")
    lines = progress.read(tmp_path / "whole")
    assert [line["step"] for line in lines if "held_out_loss" in line] == [3, 6]
    result = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert result["steps"] == 6
    sheet = Image.open(tmp_path / "whole" / "samples" / "step-00000006.png")
    assert sheet.size == (8 * SIZE, 4 * SIZE)


def test_a_collapse_ends_the_training_by_name(folder, tmp_path, monkeypatch):
    from methods.ganimation import model

    monkeypatch.setattr(model, "PATIENCE", 1)
    monkeypatch.setattr(model, "ALL", 0.0)
    with pytest.raises(JobError, match="step 2: the attention mask of ganimation has collapsed"):
        loop.train(make_job("ganimation", folder, tmp_path))


def test_processes_share_the_step_of_one(folder):
    data = Pictures(folder / "samples.parquet", make_job("ganimation", folder, "out").loop)
    whole = vars(data.batch(3)).values()
    parts = [vars(data.batch(3, rank, 2)).values() for rank in (0, 1)]
    for one, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(one[0::2], first) and torch.equal(one[1::2], second)
    assert torch.equal(data.batch(3).pictures, data.batch(3).pictures)
    assert not torch.equal(data.batch(3).target, data.batch(4).target)


def test_targets_are_drawn_as_often_as_they_are_weighed(folder):
    job = make_job("ganimation", folder, "out", batch_size=20)

    def alone(aus):
        weights = torch.zeros(len(aus))
        weights[[2, 5]] = 1.0
        return weights

    data = Pictures(folder / "samples.parquet", job.loop, alone)
    drawn = {tuple(target) for target in data.batch(0).target.tolist()}
    assert drawn == {tuple(data.aus[place].tolist()) for place in (2, 5)}


def test_without_shift_a_picture_comes_as_it_is_or_mirrored(folder):
    job = make_job("ganimation", folder, "out", padding=0, batch_size=20)
    data = Pictures(folder / "samples.parquet", job.loop)
    batch, straight = data.batch(0), 0
    for picture, sample in zip(batch.pictures, data.samples(0).tolist(), strict=True):
        (plain,) = data.opened([sample])
        straight += torch.equal(picture, plain)
        assert torch.equal(picture, plain) or torch.equal(picture, plain.flip(2))
    assert 0 < straight < 20
    assert torch.equal(batch.source, data.aus[data.samples(0)])


def test_held_out_pictures_are_always_the_same_and_shared(folder):
    data = Pictures(folder / "held_out.parquet", make_job("ganimation", folder, "out").loop)
    whole = torch.cat([faces.pictures for faces in data.held_out()])
    shares = [torch.cat([faces.pictures for faces in data.held_out(rank, 2)]) for rank in (0, 1)]
    assert torch.equal(whole[0::2], shares[0]) and torch.equal(whole[1::2], shares[1])


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    folder = write_pictures(tmp_path / "data")
    (folder / "pictures" / "3.png").write_bytes(b"no picture")
    data = Pictures(folder / "samples.parquet", make_job("ganimation", folder, "out").loop)
    with pytest.raises(JobError, match=r"folder/3\.png: .*3\.png"):
        data.opened(range(len(data)))
    table = pl.read_parquet(folder / "samples.parquet").drop("file")
    table.write_parquet(folder / "samples.parquet")
    with pytest.raises(JobError, match="lacks the columns file"):
        loop.train(make_job("ganimation", folder, tmp_path / "out"))


def test_a_checkpoint_without_one_of_its_optimisers_is_passed_over(folder, tmp_path, capsys):
    whole = make_job("ganimation", folder, tmp_path / "out")
    steps = iter(range(99))
    assert not loop.train(changed(whole, checkpoint_every=2), lambda: next(steps) >= 8)
    kept = sorted((tmp_path / "out" / "checkpoints").iterdir())
    assert len(kept) == 2
    (kept[-1] / "critic.pt").unlink()
    assert loop.train(whole)
    assert f"{kept[-1].name} is damaged" in capsys.readouterr().err
    assert Checkpoints(tmp_path / "out" / "checkpoints", "x")._found() == []
