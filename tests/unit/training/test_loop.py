"""The training loop in one process: what it trains towards, what it leaves, how it goes on after a stop."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from diffusers import DDPMScheduler
from peft.tuners.lora import layer as peft_layer
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_diffusion import make_unet
from tiny_training import changed, content, make_job, write_dataset, write_home

from inference import adapter as au_adapter
from inference.pipeline import FineFacePipeline
from methods import registry
from methods.model import Batch, MethodError, TrainedModel
from store import disk
from store.errors import DiskFull
from training import job as jobs
from training import loop, progress
from training.captions import CaptionEmbeddings
from training.dataset import Dataset
from training.job import JobError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return write_home(tmp_path_factory.mktemp("loop"))


@pytest.fixture(scope="module")
def finished(home):
    """An uninterrupted training: (job, its output folder)."""
    every = {"log_every": 2, "checkpoint_every": 3, "validate_every": 3}
    job = make_job(home / "base", home / "data", home / "finished", steps=7, **every)
    loop.train(changed(job, sample_every=4))
    AcceleratorState._reset_state(reset_partial_state=True)
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
        patch.setattr(torch.nn.utils, "clip_grad_norm_", stop)
        with pytest.raises(Stopped):
            loop.train(job)
    assert loop.Checkpoints.save is save


def adapter_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "model").iterdir())}


def loss_lines(folder):
    return [(line["step"], line["loss"], line.get("held_out_loss")) for line in progress.read(folder)]


def test_training_leaves_adapter_result_progress_and_sheets(finished):
    _, folder = finished
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == 7
    assert result["parameters"] == sum(
        t.numel()
        for name in ("adapter", "pytorch_lora_weights")
        for t in load_file(folder / f"model/{name}.safetensors").values()
    )
    lines = progress.read(folder)
    assert [line["step"] for line in lines] == [2, 3, 4, 6, 7]
    assert all(line["steps"] == 7 and line["samples_per_second"] > 0 for line in lines)
    assert lines[-1]["eta"] == 0
    assert result["final_loss"] == lines[-1]["loss"]
    sheets = sorted(path.name for path in (folder / "samples").iterdir())
    assert sheets == ["step-00000004.png", "step-00000007.png"]
    assert Image.open(folder / "samples" / sheets[0]).size == (6 * 16, 2 * 16)
    assert not (folder / "checkpoints").exists()


def test_trained_adapter_loads_and_names_its_base(finished):
    job, folder = finished
    record = au_adapter.read_record(folder / "model")
    assert record["base"]["model"] == job.base
    pipe = FineFacePipeline.from_pretrained(job.base, adapter=folder / "model")
    assert au_adapter.installed(pipe.unet) == au_adapter.AdapterConfig(rank=2, alpha=2.0)


def test_every_part_of_the_adapter_moves(finished):
    job, folder = finished
    fresh = make_unet()
    au_adapter.install(fresh, au_adapter.AdapterConfig(rank=2, alpha=2.0), seed=job.train.seed)
    trained = make_unet()
    au_adapter.load(trained, folder / "model")
    before, after = au_adapter.adapter_parameters(fresh), au_adapter.adapter_parameters(trained)
    assert before.keys() == after.keys()
    assert not [name for name in before if torch.equal(before[name], after[name])]


@pytest.mark.parametrize("stop", [2, 4, 6])
def test_resumed_training_equals_an_uninterrupted_one(finished, tmp_path, monkeypatch, stop):
    """Stopped before the first checkpoint, between two of them, and inside a log interval."""
    job, folder = finished
    job = changed(job, output=str(tmp_path))
    train_until(job, stop, monkeypatch)
    assert not (tmp_path / "result.json").exists()
    torch.manual_seed(stop)
    loop.train(job)
    assert adapter_bytes(tmp_path) == adapter_bytes(folder)
    assert loss_lines(tmp_path) == loss_lines(folder)


def test_damaged_checkpoint_is_passed_over(finished, tmp_path, monkeypatch, capsys):
    job, folder = finished
    job = changed(job, output=str(tmp_path))
    train_until(job, 7, monkeypatch)
    checkpoints = sorted((tmp_path / "checkpoints").iterdir())
    assert [path.name for path in checkpoints] == ["step-00000003", "step-00000006"]
    weights = checkpoints[1] / "parameters.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    loop.train(job)
    assert "step-00000006 is damaged" in capsys.readouterr().err
    assert adapter_bytes(tmp_path) == adapter_bytes(folder)


def test_checkpoints_of_another_job_are_refused(finished, tmp_path, monkeypatch):
    job = changed(finished[0], output=str(tmp_path))
    train_until(job, 4, monkeypatch)
    with pytest.raises(JobError, match="belongs to another job"):
        loop.train(changed(job, seed=5))


def test_only_the_last_two_checkpoints_stay(finished, tmp_path, monkeypatch):
    job = changed(finished[0], output=str(tmp_path), checkpoint_every=1, log_every=1)
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
    loop.train(changed(finished[0], output=str(tmp_path), gradient_clip=1e-3, steps=3))
    assert norms == pytest.approx([1e-3] * 3, rel=1e-2)


def test_half_precision_trains_float32_parameters(finished, tmp_path):
    job = changed(finished[0], output=str(tmp_path), precision="bfloat16", steps=2, sample_every=2)
    loop.train(job)
    assert torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32
    for name in ("adapter", "pytorch_lora_weights"):
        tensors = load_file(tmp_path / f"model/{name}.safetensors")
        assert {t.dtype for t in tensors.values()} == {torch.float32}


def test_casts_that_autocast_undoes_are_left_out_and_change_no_bit(finished, tmp_path, monkeypatch):
    sparing = changed(finished[0], output=str(tmp_path / "sparing"), precision="bfloat16", steps=3)
    said = []
    cast = peft_layer.Linear._cast_input_dtype

    def spy(layer, x, dtype):
        taken = cast(layer, x, dtype)
        said.append((x.dtype, taken.dtype))
        return taken

    with monkeypatch.context() as patch:
        patch.setattr(peft_layer.Linear, "_cast_input_dtype", spy)
        loop.train(sparing)
    assert said and all(given == taken for given, taken in said)
    monkeypatch.setattr("inference.lora.leave_casts_to_autocast", lambda unet: None)
    loop.train(changed(sparing, output=str(tmp_path / "casting")))
    assert adapter_bytes(tmp_path / "sparing") == adapter_bytes(tmp_path / "casting")


def test_losses_go_to_tensorboard_on_request_with_those_before_a_stop(finished, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    job = changed(finished[0], output=str(tmp_path), trackers=["tensorboard"])
    train_until(job, 4, monkeypatch)
    loop.train(job)
    events = EventAccumulator(str(tmp_path / "tracking" / "fineface")).Reload()
    said = {event.step: event.value for event in events.Scalars("loss")}
    lines = {line["step"]: line for line in progress.read(tmp_path)}
    assert said == pytest.approx({step: line["loss"] for step, line in lines.items()}, abs=1e-5)
    watched = [step for step, line in lines.items() if "held_out_loss" in line]
    assert [event.step for event in events.Scalars("held_out_loss")][-len(watched) :] == watched
    assert adapter_bytes(tmp_path) == adapter_bytes(finished[1])


def test_a_tracker_that_is_not_installed_is_named(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("accelerate.tracking.get_available_trackers", lambda: [])
    with pytest.raises(JobError, match="trackers: wandb is not installed"):
        loop.train(changed(finished[0], output=str(tmp_path), trackers=["wandb"]))


def test_gradient_checkpointing_changes_nothing(finished, tmp_path):
    job, folder = finished
    loop.train(changed(job, output=str(tmp_path), gradient_checkpointing=True))
    assert load_file(tmp_path / "model/adapter.safetensors").keys()
    for name, value in load_file(tmp_path / "model/adapter.safetensors").items():
        torch.testing.assert_close(value, load_file(folder / "model/adapter.safetensors")[name])


def test_diverged_training_names_its_step_and_samples(finished, tmp_path):
    """Step 2 draws with weights that step 1 threw far away."""
    with pytest.raises(loop.TrainingDiverged, match=r"the loss of step 2 is (nan|inf)") as stopped:
        loop.train(changed(finished[0], output=str(tmp_path), learning_rate=1e30))
    said = finished[0].loop
    data = Dataset(Path(finished[0].dataset) / "samples.parquet", said, 1.0, 1000, registry.wording(said))
    drawn = [data.sample_ids[sample] for sample in data.samples(1).tolist()]
    assert len(drawn) == 4 and str(stopped.value).endswith(": " + ", ".join(drawn))
    assert not (tmp_path / "result.json").exists()


def out_of_device_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


@pytest.mark.parametrize("fails", [out_of_device_memory, lambda: torch.empty(1 << 60)])
def test_a_batch_that_does_not_fit_is_taken_in_parts_and_gives_the_same_model(
    finished, tmp_path, monkeypatch, capfd, fails
):
    job, folder = finished
    loss, sizes = TrainedModel.loss, []

    def crowded(self, unet, noising, batch):
        sizes.append(len(batch.latents))
        if len(sizes) > 2 and sizes[-1] > 1:
            answer = loss(self, unet, noising, batch)
            answer.backward()  # what a failed part left behind must not count
            fails()
        return loss(self, unet, noising, batch)

    monkeypatch.setattr(TrainedModel, "loss", crowded)
    assert loop.train(changed(job, output=str(tmp_path), sample_every=4))
    assert sizes == [4, 4, 4, 2] + [1] * 4 * 5
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "warning" in line]
    assert [line["warning"].split(":")[0] for line in told] == [
        "out of memory with 4 samples at once",
        "out of memory with 2 samples at once",
    ]
    assert "2 at once from now on" in told[0]["warning"]
    expected = load_file(folder / "model/adapter.safetensors")
    for name, value in load_file(tmp_path / "model/adapter.safetensors").items():
        # AdamW divides by the root of a square: rounding of a small gradient shows
        torch.testing.assert_close(value, expected[name], rtol=0, atol=5e-4)
    assert [line[1] for line in loss_lines(tmp_path)] == pytest.approx(
        [line[1] for line in loss_lines(folder)], rel=1e-4
    )


def test_asked_to_stop_it_leaves_a_checkpoint_and_goes_on_to_the_same_bytes(finished, tmp_path):
    job, folder = finished
    job = changed(job, output=str(tmp_path), checkpoint_every=100, sample_every=4)
    steps = iter(range(100))
    assert loop.train(job, lambda: next(steps) == 3) is False
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]
    assert not (tmp_path / "model").exists() and not (tmp_path / "result.json").exists()
    assert loop.train(job) is True
    assert adapter_bytes(tmp_path) == adapter_bytes(folder)
    assert loss_lines(tmp_path) == loss_lines(folder), "steps that were not logged yet are in the next line"


def test_a_full_disk_leaves_the_last_checkpoint(finished, tmp_path, monkeypatch):
    job = changed(finished[0], output=str(tmp_path))
    free, saves = disk.free, []

    def full(folder):
        saves.append(folder.name)
        return 0 if saves.count("checkpoints") > 1 else free(folder)

    monkeypatch.setattr(disk, "free", full)
    with pytest.raises(DiskFull, match=r"checkpoints is full: a checkpoint needs \d"):
        loop.train(job)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]
    monkeypatch.setattr(disk, "free", free)
    assert loop.train(job)


@pytest.mark.parametrize("fails", [out_of_device_memory, lambda: torch.empty(1 << 60)])
def test_out_of_memory_names_the_settings_to_change(finished, tmp_path, monkeypatch, fails):
    monkeypatch.setattr(TrainedModel, "loss", lambda *_: fails())
    with pytest.raises(JobError) as refused:
        loop.train(changed(finished[0], output=str(tmp_path)))
    said = str(refused.value)
    assert "gradient_checkpointing: true" in said and "batch_size 4" in said and "processes" in said


def test_a_switch_to_gradient_checkpointing_goes_on_from_the_checkpoint(finished, tmp_path, monkeypatch):
    """What ran out of memory is helped and not begun anew; nor by any other operational setting."""
    job, folder = finished
    job = changed(job, output=str(tmp_path))
    train_until(job, 5, monkeypatch)
    steps = []
    batch = Dataset.batch
    monkeypatch.setattr(Dataset, "batch", lambda self, step, *r: steps.append(step) or batch(self, step, *r))
    other = {"checkpoint_every": 2, "log_every": 1, "sample_every": 5, "validate_every": 2, "processes": 4}
    loop.train(changed(job, gradient_checkpointing=True, sample_prompts=["a man"], **other))
    assert steps == [3, 4, 5, 6]
    for name, value in load_file(tmp_path / "model/adapter.safetensors").items():
        torch.testing.assert_close(value, load_file(folder / "model/adapter.safetensors")[name])


def test_held_out_loss_is_measured_and_comparable(finished, home, tmp_path):
    """At every third step and the last; watching changes nothing of what is trained."""
    job, folder = finished
    found = {line["step"]: line["held_out_loss"] for line in progress.read(folder) if "held_out_loss" in line}
    assert list(found) == [3, 6, 7]
    loop.train(changed(job, output=str(tmp_path / "unwatched"), validate_every=0))
    assert adapter_bytes(tmp_path / "unwatched") == adapter_bytes(folder)
    assert all("held_out_loss" not in line for line in progress.read(tmp_path / "unwatched"))
    # the same samples, timesteps and noise whatever the batch, the seed and the smoothing
    still = {"learning_rate": 1e-12, "steps": 1, "validate_every": 1}
    losses = []
    for place, other in enumerate(({}, {"batch_size": 3}, {"text_dropout": 0.9, "seed": 0})):
        loop.train(changed(job, output=str(tmp_path / str(place)), **(still | other)))
        losses += [line["held_out_loss"] for line in progress.read(tmp_path / str(place))]
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-4)


def test_wrong_base_and_wrong_latents_are_named(finished, tmp_path):
    job = changed(finished[0], output=str(tmp_path / "out"))
    with pytest.raises(JobError, match="base nowhere cannot be loaded"):
        loop.train(changed(job, base="nowhere"))
    folder = write_dataset(tmp_path / "data")
    for shard in folder.glob("*.safetensors"):
        moments = load_file(shard)["moments"]
        save_file({"moments": moments.repeat(1, 2, 1, 1)}, shard)
    with pytest.raises(JobError, match=r"latents of 8 channels, the base .* wants 4"):
        loop.train(changed(job, dataset=str(folder)))


def test_a_base_of_another_content_is_refused(finished, tmp_path):
    """The key names the content: whatever lies at the same path or id now must be it."""
    copy = shutil.copytree(finished[0].base, tmp_path / "base")
    job = changed(finished[0], output=str(tmp_path / "out"), base=str(copy))
    scheduler = copy / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("0.012", "0.013"))
    with pytest.raises(
        JobError, match=f"has the content {content(copy)}, this training is for {job.base_content}"
    ):
        loop.train(job)
    assert not (tmp_path / "out" / "model").exists()


def test_a_base_without_safetensors_is_not_unpickled(finished, tmp_path):
    copy = shutil.copytree(finished[0].base, tmp_path / "base")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    job = changed(finished[0], output=str(tmp_path / "out"), base=str(copy), base_content=content(copy))
    with pytest.raises(JobError, match="cannot be loaded"):
        loop.train(job)


class Answering(TrainedModel):
    """Predicts what it is told to."""

    def __init__(self, answer):
        self.answer = answer

    def predict(self, unet, noisy, batch):
        return self.answer(noisy)

    install = save = load = None


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_loss_is_zero_for_what_the_scheduler_asks(prediction_type):
    """A UNet that answers with the noise, the velocity or the latents themselves has nothing to learn."""
    noising = DDPMScheduler(prediction_type=prediction_type, beta_schedule="scaled_linear")
    generator = torch.Generator().manual_seed(1)
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=generator)
    batch = Batch(latents, noise, torch.tensor([0, 500, 999]), torch.zeros(3, 1, 1), torch.zeros(3, 12))
    # the velocity written out: v = sqrt(ᾱ) ε - sqrt(1 - ᾱ) x
    kept = noising.alphas_cumprod[batch.timesteps].reshape(3, 1, 1, 1)
    answers = {
        "epsilon": noise,
        "v_prediction": kept.sqrt() * noise - (1 - kept).sqrt() * latents,
        "sample": latents,
    }

    def answer(noisy):
        torch.testing.assert_close(noisy, kept.sqrt() * latents + (1 - kept).sqrt() * noise)
        return answers[prediction_type]

    assert Answering(answer).loss(None, noising, batch) < 1e-10


def test_an_unknown_prediction_type_is_named():
    noising = DDPMScheduler(prediction_type="flow")
    batch = Batch(*torch.zeros(2, 1, 4, 8, 8), torch.tensor([0]), torch.zeros(1, 1, 1), torch.zeros(1, 12))
    with pytest.raises(MethodError, match="unknown prediction type 'flow'"):
        Answering(lambda noisy: noisy).loss(None, noising, batch)


def test_captions_are_those_of_the_pipeline_in_memory_or_in_a_file_without_a_name(home, tmp_path):
    pipe = FineFacePipeline.from_pretrained(home / "base")
    captions = ["", "a man", "a woman in the park", *(f"{word} man" for word in "abcdefgh" * 9)]
    accelerator = Accelerator(cpu=True)
    kept = CaptionEmbeddings(pipe, captions, accelerator, tmp_path)
    mapped = CaptionEmbeddings(pipe, captions, accelerator, tmp_path, memory=0)
    assert not list(tmp_path.iterdir()), "a killed training leaves no file"
    indices = torch.tensor([2, 0, 70, 2])
    expected = pipe.encode_prompt([captions[i] for i in indices], "cpu", 1, False)[0]
    torch.testing.assert_close(kept.at(indices).tokens, expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(kept.at(indices).tokens, mapped.at(indices).tokens)
    assert not kept.at(indices).tokens.requires_grad and kept.at(indices).pooled is None


def test_captions_in_the_trainings_precision_are_read_as_if_they_were_not_rounded(home, tmp_path):
    pipe = FineFacePipeline.from_pretrained(home / "base")
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    rounded = CaptionEmbeddings(pipe, ["a man", "a woman"], accelerator, tmp_path, memory=0)
    said = rounded.at(torch.tensor([1, 0])).tokens
    assert said.dtype == torch.bfloat16
    latents, times = (
        torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)),
        torch.tensor([3, 900]),
    )
    with torch.no_grad(), accelerator.autocast():
        whole = pipe.encode_prompt(["a woman", "a man"], "cpu", 1, False)[0].float()
        answers = [pipe.unet(latents, times, read).sample for read in (said, whole)]
    assert whole.dtype == torch.float32 and torch.equal(*answers)


def test_captions_that_do_not_fit_on_the_disk_are_one_error(home, tmp_path, monkeypatch):
    pipe = FineFacePipeline.from_pretrained(home / "base")
    monkeypatch.setattr("store.disk.free", lambda folder: 1000)
    with pytest.raises(DiskFull, match="the embeddings of the captions"):
        CaptionEmbeddings(pipe, ["a man"], Accelerator(cpu=True), tmp_path, memory=0)


GOLDEN = [(2, 1.361019), (3, 1.388961), (4, 0.878488), (6, 0.999663), (7, 1.690954)]


def test_what_is_trained_has_not_changed_unsaid(finished):
    """The losses of a recorded training. Where a change moves them on purpose, what was trained before is
    another model: raise training.job.CODE_VERSION, or the method's or encoder's version, and record anew.
    """
    assert jobs.CODE_VERSION == "2" and finished[0].train.code_version == "2, encoder 1"
    found = [(line["step"], line["loss"]) for line in progress.read(finished[1])]
    assert [step for step, _ in found] == [step for step, _ in GOLDEN]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in GOLDEN], rel=2e-3)
