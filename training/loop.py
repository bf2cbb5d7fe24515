"""The training loop (paper, section 3), whatever the method: one process's part. `__main__` starts it."""

import contextlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl
import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from torch import nn

import methods.registry
from inference import devices
from inference.generation import base_content, base_folder
from inference.pipeline import FineFacePipeline
from inference.weights import ModelNotFound
from methods.model import Batch, MethodError, TrainedModel, denoising_errors
from store import disk, file_system
from store.hashing import hash_folder
from training import sheets
from training.captions import CaptionEmbeddings
from training.checkpoints import Checkpoints, State, flush
from training.dataset import Dataset, Draw
from training.job import (
    DRAWS_FILE,
    HELD_OUT_FILE,
    MODEL_FOLDER,
    RENDEZVOUS,
    RESULT_FILE,
    SAMPLES_FILE,
    JobError,
    TrainingJob,
)
from training.progress import Progress, say, write

SAMPLES_FOLDER, CHECKPOINTS_FOLDER = "samples", "checkpoints"


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number."""


def train(job: TrainingJob, asked_to_stop: Callable[[], bool] = lambda: False) -> bool:
    """Train the model of `job`, from its last checkpoint if it has one; all of its processes call this.

    Leaves in the output folder model/, result.json, progress.jsonl and samples/; whether it came so far. Once
    `asked_to_stop` in any of the processes, they end after their step, with a checkpoint. Raises JobError
    where the job, its data, its base and the machine's memory do not fit, DiskFull, and TrainingDiverged for
    a loss not finite.
    """
    with _memory_errors_named(job), disk.full_disk_named(Path(job.output), 0, "the training"):
        return _train(job, asked_to_stop)


def _train(job: TrainingJob, asked_to_stop: Callable[[], bool]) -> bool:
    settings, output = job.loop, Path(job.output)
    accelerator = _accelerator(job)
    output.mkdir(parents=True, exist_ok=True)
    pipe = _load_base(job)
    data, held_out = _read_data(job, pipe)
    model = methods.registry.get(settings.method).trained_model(settings)
    parameters = _prepare(pipe, model, job, accelerator.device)
    captions = CaptionEmbeddings(pipe, data.captions, accelerator)
    validation = _Validation(pipe, model, held_out, accelerator) if held_out else None
    optimiser = torch.optim.AdamW(parameters.values(), lr=settings.learning_rate, fused=True)
    checkpoints = Checkpoints(output / CHECKPOINTS_FOLDER, job.checkpoint_identity())
    state = checkpoints.resume(parameters, optimiser)
    accelerator.wait_for_everyone()  # the first process may soon remove what another still reads
    main = accelerator.is_main_process
    progress = Progress(output, settings.steps, settings.batch_size, state) if main else None
    noising = DDPMScheduler.from_config(pipe.scheduler.config)

    losses: list[torch.Tensor] = []
    gradients = _Gradients(model, pipe.unet, noising, accelerator)
    stops = False
    for step in range(state.step, settings.steps):
        draw = data.batch(step, accelerator.process_index, accelerator.num_processes)
        losses.append(gradients.of(_batch(draw, captions, accelerator.device), parameters))
        stops = _exchange_gradients(parameters, accelerator, asked_to_stop())
        nn.utils.clip_grad_norm_(list(parameters.values()), settings.gradient_clip)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate_at(step)
        optimiser.step()
        optimiser.zero_grad()

        done = state.step = step + 1
        last = done == settings.steps
        validates = validation is not None and (_due(done, settings.validate_every) or last)
        logs = _due(done, settings.log_every) or validates or last
        saves = (_due(done, settings.checkpoint_every) or stops) and not last
        if logs or saves:
            _add_losses(state, losses, data, accelerator)
        held_out_loss = validation.loss(noising) if validation is not None and validates else None
        if progress is not None:
            if logs:
                progress.report(done, state.loss_sum / state.loss_count, held_out_loss)
            if settings.sample_every and (_due(done, settings.sample_every) or last):
                _draw_sheet(pipe, job, output / SAMPLES_FOLDER / f"step-{done:08d}.png", accelerator)
        if logs:
            state.loss_sum, state.loss_count = 0.0, 0
        if progress is not None and saves:
            state.seconds = progress.seconds()
            checkpoints.save(state, parameters, optimiser)
        if stops:
            break
    whole = state.step == settings.steps
    if progress is not None and whole:
        _note_draws(data, settings.steps, output / DRAWS_FILE)
        _finish(pipe, model, job, parameters, progress)
        checkpoints.remove()
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return whole


def _due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0


@contextlib.contextmanager
def _memory_errors_named(job: TrainingJob) -> Iterator[None]:
    """Turn an out-of-memory error, which says nothing of settings, into one that names those to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not devices.is_out_of_memory(error):
            raise
        said = job.loop
        raise JobError(
            "out of memory although the training already takes as few samples at once as it can: batch_size "
            f"{said.batch_size}, processes {said.processes}, precision "
            f"{said.precision}, gradient_checkpointing {str(said.gradient_checkpointing).lower()}: set "
            "gradient_checkpointing: true, or more processes where there are more GPUs; neither changes the "
            "model, and the training goes on from its last checkpoint. precision: bfloat16 or a smaller "
            f"batch_size also help, but make another model. ({(str(error).splitlines() or [''])[0][:200]})"
        ) from error


def _accelerator(job: TrainingJob) -> Accelerator:
    cpu = devices.pick(job.device).type == "cpu"
    world = int(os.environ.get("WORLD_SIZE", 1))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if not cpu and torch.cuda.is_available() and here > torch.cuda.device_count():
        raise JobError(f"{here} processes, but {torch.cuda.device_count()} GPUs")
    if world > 1 and not torch.distributed.is_initialized():
        # A file, where torch's own choice would be a port that listens on all interfaces; processes of
        # several machines have no other.
        meeting = os.environ.get(RENDEZVOUS)
        torch.distributed.init_process_group(
            "gloo" if cpu else "nccl",
            init_method="env://" if meeting is None else f"file://{meeting}",
            rank=int(os.environ["RANK"]),
            world_size=world,
        )
    # TF32: what is left in float32 (the trained weights, all without bfloat16) at the pace of NVIDIA's tensor
    # cores. Says nothing to a CPU.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    return Accelerator(cpu=cpu, mixed_precision={"float32": "no", "bfloat16": "bf16"}[job.loop.precision])


def _load_base(job: TrainingJob) -> FineFacePipeline:
    """The base, if its content is the one that the job's key names."""
    try:
        folder = base_folder(job.base, job.revision)
        found = base_content(job.base, job.revision)
        if found != job.base_content:
            raise JobError(
                f"the base {job.base} has the content {found}, this training is for {job.base_content}: "
                "its files changed, or the revision is another one; put back the base, or run the stage again"
            )
        return FineFacePipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except (ModelNotFound, OSError) as error:
        raise JobError(f"the base {job.base} cannot be loaded: {error}") from error


def _read_data(job: TrainingJob, pipe: FineFacePipeline) -> tuple[Dataset, Dataset | None]:
    """The samples to train on, and those held out where there are some to be asked."""
    folder = Path(job.dataset)
    scale, timesteps = pipe.vae.config.scaling_factor, pipe.scheduler.config.num_train_timesteps
    data = Dataset(folder / SAMPLES_FILE, job.loop, scale, timesteps)
    found, wanted = data.latent_shape[0], pipe.unet.config.in_channels
    if found != wanted:
        raise JobError(f"{job.dataset}: latents of {found} channels, the base {job.base} wants {wanted}")
    if not job.loop.validate_every or not (folder / HELD_OUT_FILE).is_file():
        return data, None
    return data, Dataset(folder / HELD_OUT_FILE, job.loop, scale, timesteps)


def _prepare(
    pipe: FineFacePipeline, model: TrainedModel, job: TrainingJob, device: torch.device
) -> dict[str, nn.Parameter]:
    """Install the method's parts, move all to `device`; returns the parameters to train, in float32."""
    try:
        parameters = model.install(pipe)
    except MethodError as error:
        raise JobError(f"{job.base}: {error}") from error
    for parameter in pipe.unet.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(devices.dtype(job.loop.precision))
    if job.loop.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    pipe.unet.train()
    pipe.to(device)
    return parameters


def _batch(draw: Draw, captions: CaptionEmbeddings, device: torch.device) -> Batch:
    latents, noise, timesteps, aus = (
        value.to(device, non_blocking=True) for value in (draw.latents, draw.noise, draw.timesteps, draw.aus)
    )
    return Batch(latents, noise, timesteps, captions.at(draw.captions), aus)


class _Validation:
    """The loss on the held-out samples: always the same samples, timesteps and noise."""

    def __init__(
        self, pipe: FineFacePipeline, model: TrainedModel, held_out: Dataset, accelerator: Accelerator
    ):
        self._unet, self._model, self._accelerator = pipe.unet, model, accelerator
        self._captions = CaptionEmbeddings(pipe, held_out.captions, accelerator)
        self._draws = held_out.held_out(accelerator.process_index, accelerator.num_processes)

    @torch.no_grad()
    def loss(self, noising: DDPMScheduler) -> float:
        """The mean over all samples of all processes; every process calls it. Uses up no randomness."""
        device = self._accelerator.device
        found = torch.zeros(2, device=device)
        for draw in self._draws:
            with self._accelerator.autocast():
                errors = denoising_errors(
                    self._model, self._unet, noising, _batch(draw, self._captions, device)
                )
            found += torch.stack([errors.sum(), torch.full((), len(errors), device=device)])
        total, count = self._accelerator.reduce(found, "sum").tolist()
        return total / count


class _Gradients:
    """The gradient of a process's batch: of all its samples at once, or, once memory ran out, of parts of it
    one after another, which gives the same but for rounding."""

    def __init__(
        self,
        model: TrainedModel,
        unet: nn.Module,
        noising: DDPMScheduler,
        accelerator: Accelerator,
    ):
        self._model, self._unet, self._noising, self._accelerator = model, unet, noising, accelerator
        self._at_once: int | None = None

    def of(self, batch: Batch, parameters: Mapping[str, nn.Parameter]) -> torch.Tensor:
        """Add the gradient of the mean loss of `batch` to those of `parameters`; that loss. Raises what
        torch raises when memory runs out with a single sample."""
        while True:
            try:
                return self._added(batch)
            except (MemoryError, RuntimeError) as error:
                size = min(len(batch.latents), self._at_once or len(batch.latents))
                if not devices.is_out_of_memory(error) or size == 1:
                    raise
            # Out of the except clause: its traceback keeps the batch's tensors alive.
            self._at_once = size // 2
            for parameter in parameters.values():
                parameter.grad = None
            devices.release()
            say(
                {
                    "warning": f"out of memory with {size} samples at once: {self._at_once} at once from now "
                    "on, their gradients added up. The model is the same but for rounding"
                }
            )

    def _added(self, batch: Batch) -> torch.Tensor:
        parts = batch.parts(self._at_once or len(batch.latents))
        total = torch.zeros((), device=batch.latents.device)
        for part in parts:
            with self._accelerator.autocast():
                loss = self._model.loss(self._unet, self._noising, part)
            if len(parts) > 1:
                loss = loss * (len(part.latents) / len(batch.latents))
            loss.backward()
            total += loss.detach()
        return total


def _exchange_gradients(
    parameters: dict[str, nn.Parameter], accelerator: Accelerator, asked_to_stop: bool
) -> bool:
    """Give every process the mean gradient, sent as one vector so that the order of sums is always one;
    whether any of them was asked to stop, of which they must all know at the same step."""
    if accelerator.num_processes == 1:
        return asked_to_stop
    gradients = [parameter.grad for parameter in parameters.values() if parameter.grad is not None]
    flag = torch.full((1,), float(asked_to_stop), device=accelerator.device)
    sent = torch.cat([*(gradient.flatten() for gradient in gradients), flag])
    *means, stops = accelerator.reduce(sent, "mean").split([*(g.numel() for g in gradients), 1])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))
    return stops.item() > 0


def _add_losses(state: State, losses: list[torch.Tensor], data: Dataset, accelerator: Accelerator) -> None:
    """Add the losses of the last steps. Raises TrainingDiverged, naming the first step that is not finite."""
    means = accelerator.reduce(torch.stack(losses), "mean").tolist()
    for place, mean in enumerate(means):
        if not math.isfinite(mean):
            step = state.step - len(means) + place
            names = [data.sample_ids[sample] for sample in data.samples(step).tolist()]
            raise TrainingDiverged(
                f"the loss of step {step + 1} is {mean}: lower learning_rate, or look at its samples: "
                f"{', '.join(names)}"
            )
    state.loss_sum += math.fsum(means)
    state.loss_count += len(means)
    losses.clear()


def _draw_sheet(pipe: FineFacePipeline, job: TrainingJob, path: Path, accelerator: Accelerator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with accelerator.autocast():
        sheets.draw(pipe, job.sample_prompts).save(path)


def _note_draws(data: Dataset, steps: int, path: Path) -> None:
    """How often each sample was drawn, for those who ask later what it had a part in."""
    table = pl.DataFrame({"sample_id": data.sample_ids, "draws": data.draws(steps).numpy()})
    buffer = io.BytesIO()
    table.sort("sample_id").write_parquet(buffer)
    file_system.write(path, buffer.getvalue())


def _finish(
    pipe: FineFacePipeline,
    model: TrainedModel,
    job: TrainingJob,
    parameters: dict[str, nn.Parameter],
    progress: Progress,
) -> None:
    output = Path(job.output)
    draft, folder = output / f".{MODEL_FOLDER}", output / MODEL_FOLDER
    for old in (draft, folder):
        shutil.rmtree(old, ignore_errors=True)
    base = {"model": job.base, "revision": job.revision, "fingerprint": job.base_content}
    model.save(pipe, draft, base)
    for path in (*draft.iterdir(), draft):
        flush(path)
    draft.rename(folder)
    flush(output)
    result = {
        "steps": job.loop.steps,
        "final_loss": round(progress.final_loss(), 6),
        "seconds": round(progress.seconds(), 2),
        "parameters": sum(parameter.numel() for parameter in parameters.values()),
        "content": hash_folder(folder),
        "identity": job.checkpoint_identity(),
    }
    write(output / RESULT_FILE, json.dumps(result, indent=2) + "\n")
