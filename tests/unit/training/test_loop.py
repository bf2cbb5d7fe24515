"""The training loop in one process: what it trains towards, what it leaves, how it goes on after a stop."""

import json
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import DDPMScheduler
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_diffusion import make_unet
from tiny_training import make_job, write_dataset, write_home

from inference import adapter as au_adapter
from inference.pipeline import FineFacePipeline
from training import loop, progress
from training.captions import CaptionEmbeddings
from training.dataset import Batch
from training.job import JobError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return write_home(tmp_path_factory.mktemp("loop"))


@pytest.fixture(scope="module")
def finished(home):
    """An uninterrupted training: (job, its output folder)."""
    job = make_job(home / "base", home / "data", home / "finished", steps=7, log_every=2, checkpoint_every=3)
    loop.train(replace(job, sample_every=4))
    return job, home / "finished"


@pytest.fixture(autouse=True)
def own_accelerator():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


class Stopped(Exception):
    pass


def train_until(job, step, monkeypatch):
    """Train, and stop as if killed once `step` steps are done."""
    save, steps = loop.Checkpoints.save, []

    def stop(*arguments):
        steps.append(1)
        if len(steps) == step:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(loop.nn.utils, "clip_grad_norm_", stop)
        with pytest.raises(Stopped):
            loop.train(job)
    assert loop.Checkpoints.save is save


def adapter_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "adapter").iterdir())}


def loss_lines(folder):
    return [(line["step"], line["loss"]) for line in progress.read(folder)]


def test_training_leaves_adapter_result_progress_and_sheets(finished):
    _, folder = finished
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == 7
    assert result["parameters"] == sum(
        t.numel()
        for name in ("adapter", "pytorch_lora_weights")
        for t in load_file(folder / f"adapter/{name}.safetensors").values()
    )
    lines = progress.read(folder)
    assert [line["step"] for line in lines] == [2, 4, 6, 7]
    assert all(line["steps"] == 7 and line["samples_per_second"] > 0 for line in lines)
    assert lines[-1]["eta"] == 0
    assert result["final_loss"] == lines[-1]["loss"]
    sheets = sorted(path.name for path in (folder / "samples").iterdir())
    assert sheets == ["step-00000004.png", "step-00000007.png"]
    assert Image.open(folder / "samples" / sheets[0]).size == (6 * 16, 2 * 16)
    assert not (folder / "checkpoints").exists()


def test_trained_adapter_loads_and_names_its_base(finished):
    job, folder = finished
    record = au_adapter.read_record(folder / "adapter")
    assert record["base"]["model"] == job.base
    pipe = FineFacePipeline.from_pretrained(job.base, adapter=folder / "adapter")
    assert au_adapter.installed(pipe.unet) == au_adapter.AdapterConfig(rank=2, alpha=2.0)


def test_every_part_of_the_adapter_moves(finished):
    job, folder = finished
    fresh = make_unet()
    au_adapter.install(fresh, au_adapter.AdapterConfig(rank=2, alpha=2.0), seed=job.seed)
    trained = make_unet()
    au_adapter.load(trained, folder / "adapter")
    before, after = au_adapter.adapter_parameters(fresh), au_adapter.adapter_parameters(trained)
    assert before.keys() == after.keys()
    assert not [name for name in before if torch.equal(before[name], after[name])]


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_resumed_training_equals_an_uninterrupted_one(finished, tmp_path, monkeypatch, stop):
    """Stopped before the first checkpoint, between two of them, and inside a log interval."""
    job, folder = finished
    job = replace(job, output=str(tmp_path))
    train_until(job, stop, monkeypatch)
    assert not (tmp_path / "result.json").exists()
    torch.manual_seed(stop)
    loop.train(job)
    assert adapter_bytes(tmp_path) == adapter_bytes(folder)
    assert loss_lines(tmp_path) == loss_lines(folder)


def test_damaged_checkpoint_is_passed_over(finished, tmp_path, monkeypatch, capsys):
    job, folder = finished
    job = replace(job, output=str(tmp_path))
    train_until(job, 7, monkeypatch)
    checkpoints = sorted((tmp_path / "checkpoints").iterdir())
    assert [path.name for path in checkpoints] == ["step-00000003", "step-00000006"]
    weights = checkpoints[1] / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    loop.train(job)
    assert "step-00000006 is damaged" in capsys.readouterr().err
    assert adapter_bytes(tmp_path) == adapter_bytes(folder)


def test_checkpoints_of_another_job_are_refused(finished, tmp_path, monkeypatch):
    job = replace(finished[0], output=str(tmp_path))
    train_until(job, 4, monkeypatch)
    with pytest.raises(JobError, match="belongs to another job"):
        loop.train(replace(job, seed=5))


def test_only_the_last_two_checkpoints_stay(finished, tmp_path, monkeypatch):
    job = replace(finished[0], output=str(tmp_path), checkpoint_every=1, log_every=1)
    (tmp_path / "checkpoints" / ".step-00000001").mkdir(parents=True)  # what a kill in mid-write leaves
    train_until(job, 5, monkeypatch)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000003", "step-00000004"]


def test_clipping_limits_the_gradient_that_the_optimiser_sees(finished, tmp_path, monkeypatch):
    norms = []
    step = torch.optim.AdamW.step

    def spy(optimiser, *arguments, **settings):
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"]]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())
        return step(optimiser, *arguments, **settings)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    loop.train(replace(finished[0], output=str(tmp_path), gradient_clip=1e-3, steps=3))
    assert norms == pytest.approx([1e-3] * 3, rel=1e-2)


def test_half_precision_trains_float32_parameters(finished, tmp_path):
    job = replace(finished[0], output=str(tmp_path), precision="bfloat16", steps=2, sample_every=2)
    loop.train(job)
    for name in ("adapter", "pytorch_lora_weights"):
        tensors = load_file(tmp_path / f"adapter/{name}.safetensors")
        assert {t.dtype for t in tensors.values()} == {torch.float32}


def test_gradient_checkpointing_changes_nothing(finished, tmp_path):
    job, folder = finished
    loop.train(replace(job, output=str(tmp_path), gradient_checkpointing=True))
    assert load_file(tmp_path / "adapter/adapter.safetensors").keys()
    for name, value in load_file(tmp_path / "adapter/adapter.safetensors").items():
        torch.testing.assert_close(value, load_file(folder / "adapter/adapter.safetensors")[name])


def test_diverged_training_stops(finished, tmp_path):
    with pytest.raises(loop.TrainingDiverged, match=r"loss is (nan|inf)"):
        loop.train(replace(finished[0], output=str(tmp_path), learning_rate=1e30))
    assert not (tmp_path / "result.json").exists()


def test_wrong_base_and_wrong_latents_are_named(finished, tmp_path):
    job = replace(finished[0], output=str(tmp_path / "out"))
    with pytest.raises(JobError, match="base nowhere cannot be loaded"):
        loop.train(replace(job, base="nowhere"))
    folder = write_dataset(tmp_path / "data")
    for shard in folder.glob("*.safetensors"):
        moments = load_file(shard)["moments"]
        save_file({"moments": moments.repeat(1, 2, 1, 1)}, shard)
    with pytest.raises(JobError, match=r"latents of 8 channels, the base .* wants 4"):
        loop.train(replace(job, dataset=str(folder)))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_loss_is_zero_for_what_the_scheduler_asks(prediction_type):
    """A UNet that answers with the noise, the velocity or the latents themselves has nothing to learn."""
    noising = DDPMScheduler(prediction_type=prediction_type, beta_schedule="scaled_linear")
    generator = torch.Generator().manual_seed(1)
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=generator)
    batch = Batch(latents, noise, torch.tensor([0, 500, 999]), torch.zeros(3, 12), torch.zeros(3))
    # the velocity written out: v = sqrt(ᾱ) ε - sqrt(1 - ᾱ) x
    kept = noising.alphas_cumprod[batch.timesteps].reshape(3, 1, 1, 1)
    answers = {
        "epsilon": noise,
        "v_prediction": kept.sqrt() * noise - (1 - kept).sqrt() * latents,
        "sample": latents,
    }
    accelerator = Accelerator(cpu=True)

    def answer(noisy, timesteps, text, added_cond_kwargs, return_dict):
        expected = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        torch.testing.assert_close(noisy, expected)
        assert added_cond_kwargs["image_embeds"][0].shape == (3, 1, 12)
        return (answers[prediction_type],)

    assert loop._loss(answer, noising, batch, None, accelerator) < 1e-10


def test_captions_are_those_of_the_pipeline_kept_or_not(home):
    pipe = FineFacePipeline.from_pretrained(home / "base")
    captions = ["", "a man", "a woman in the park", *(f"{word} man" for word in "abcdefgh" * 9)]
    accelerator = Accelerator(cpu=True)
    kept = CaptionEmbeddings(pipe, captions, accelerator)
    made = CaptionEmbeddings(pipe, captions, accelerator, memory=0)
    indices = torch.tensor([2, 0, 70, 2])
    expected = pipe.encode_prompt([captions[i] for i in indices], "cpu", 1, False)[0]
    torch.testing.assert_close(made.at(indices), expected)
    torch.testing.assert_close(kept.at(indices), expected, atol=1e-5, rtol=1e-4)
    assert not kept.at(indices).requires_grad
