"""The training loop of an adapter (paper, section 3): one process's part of it. `__main__` starts it."""

import json
import shutil
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from torch import nn

from inference import adapter as au_adapter
from inference import devices
from inference.adapter import AdapterConfig, AdapterError
from inference.pipeline import FineFacePipeline
from store.hashing import hash_folder
from training import sheets
from training.captions import CaptionEmbeddings
from training.checkpoints import Checkpoints, State
from training.dataset import Batch, Dataset
from training.folded_lora import fold
from training.job import RESULT_FILE, JobError, TrainingJob
from training.progress import Progress, write

ADAPTER_FOLDER, SAMPLES_FOLDER, CHECKPOINTS_FOLDER = "adapter", "samples", "checkpoints"


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number."""


def train(job: TrainingJob) -> None:
    """Train the adapter of `job`, from its last checkpoint if it has one; all of its processes call this.

    Leaves in the output folder adapter/, result.json, progress.jsonl and samples/. Raises JobError where
    the job, its data and its base do not fit, TrainingDiverged where the loss is not finite.
    """
    accelerator = _accelerator(job)
    output = Path(job.output)
    output.mkdir(parents=True, exist_ok=True)
    pipe = _load_base(job)
    dataset = Dataset(job, pipe.vae.config.scaling_factor, pipe.scheduler.config.num_train_timesteps)
    if dataset.latent_shape[0] != pipe.unet.config.in_channels:
        found, wanted = dataset.latent_shape[0], pipe.unet.config.in_channels
        raise JobError(f"{job.dataset}: latents of {found} channels, the base {job.base} wants {wanted}")
    parameters = _prepare(pipe, job, accelerator.device)
    captions = CaptionEmbeddings(pipe, dataset.captions, accelerator)
    optimiser = torch.optim.AdamW(parameters.values(), lr=job.learning_rate, fused=True)
    checkpoints = Checkpoints(output / CHECKPOINTS_FOLDER, job.identity())
    state = checkpoints.resume(parameters, optimiser)
    accelerator.wait_for_everyone()  # the first process may soon remove what another still reads
    progress = Progress(output, job.steps, job.batch_size, state) if accelerator.is_main_process else None
    noising = DDPMScheduler.from_config(pipe.scheduler.config)

    losses = []
    for step in range(state.step, job.steps):
        batch = dataset.batch(step, accelerator.process_index, accelerator.num_processes)
        loss = _loss(pipe.unet, noising, batch, captions.at(batch.captions), accelerator)
        loss.backward()
        _exchange_gradients(parameters, accelerator)
        nn.utils.clip_grad_norm_(list(parameters.values()), job.gradient_clip)
        for group in optimiser.param_groups:
            group["lr"] = job.learning_rate_at(step)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.detach())

        done = state.step = step + 1
        logs = done % job.log_every == 0 or done == job.steps
        saves = done % job.checkpoint_every == 0 and done < job.steps
        if logs or saves:
            _add_losses(state, losses, accelerator)
        if progress is None:
            state.loss_sum, state.loss_count = (0.0, 0) if logs else (state.loss_sum, state.loss_count)
            continue
        if logs:
            progress.report(done, state.loss_sum / state.loss_count)
            state.loss_sum, state.loss_count = 0.0, 0
        if job.sample_every and (done % job.sample_every == 0 or done == job.steps):
            _draw_sheet(pipe, job, output / SAMPLES_FOLDER / f"step-{done:08d}.png", accelerator)
        if saves:
            state.seconds = progress.seconds()
            checkpoints.save(state, parameters, optimiser)
    if progress is not None:
        _finish(pipe, job, output, parameters, progress)
        checkpoints.remove()
    accelerator.wait_for_everyone()
    accelerator.end_training()


def _accelerator(job: TrainingJob) -> Accelerator:
    cpu = devices.pick(job.device).type == "cpu"
    accelerator = Accelerator(cpu=cpu, mixed_precision={"float32": "no", "bfloat16": "bf16"}[job.precision])
    if accelerator.device.type == "cuda" and accelerator.num_processes > torch.cuda.device_count():
        raise JobError(f"{accelerator.num_processes} processes, but {torch.cuda.device_count()} GPUs")
    return accelerator


def _load_base(job: TrainingJob) -> FineFacePipeline:
    try:
        return FineFacePipeline.from_pretrained(job.base, revision=job.revision)
    except OSError as error:
        raise JobError(f"the base {job.base} cannot be loaded: {error}") from error


def _prepare(pipe: FineFacePipeline, job: TrainingJob, device: torch.device) -> dict[str, nn.Parameter]:
    """Install the adapter, move all to `device`; returns the parameters to train, always in float32."""
    pipe.vae.requires_grad_(False)
    pipe.text_encoder.requires_grad_(False)
    try:
        au_adapter.install(pipe.unet, AdapterConfig(job.encoder, job.rank, job.alpha), seed=job.seed)
    except (AdapterError, ValueError) as error:
        raise JobError(f"the base {job.base} does not take the adapter: {error}") from error
    fold(pipe.unet)
    parameters = au_adapter.trainable_parameters(pipe.unet)
    for parameter in pipe.unet.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(devices.dtype(job.precision))
    if job.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    pipe.unet.train()
    pipe.to(device)
    return parameters


def _loss(unet, noising: DDPMScheduler, batch: Batch, text: torch.Tensor, accelerator: Accelerator):
    """Mean squared error of this process's samples, in the terms of the base's prediction type."""
    device = accelerator.device
    latents, noise, timesteps, aus = (
        value.to(device, non_blocking=True)
        for value in (batch.latents, batch.noise, batch.timesteps, batch.aus)
    )
    noisy = noising.add_noise(latents, noise, timesteps)
    with accelerator.autocast():
        conditions = {"image_embeds": [aus.unsqueeze(1)]}
        predicted = unet(noisy, timesteps, text, added_cond_kwargs=conditions, return_dict=False)[0]
    match noising.config.prediction_type:
        case "epsilon":
            target = noise
        case "v_prediction":
            target = noising.get_velocity(latents, noise, timesteps)
        case "sample":
            target = latents
        case other:
            raise JobError(f"the base's scheduler has an unknown prediction type {other!r}")
    return nn.functional.mse_loss(predicted.float(), target)


def _exchange_gradients(parameters: dict[str, nn.Parameter], accelerator: Accelerator) -> None:
    """Give every process the mean gradient, sent as one vector so that the order of sums is always one."""
    if accelerator.num_processes == 1:
        return
    gradients = [parameter.grad for parameter in parameters.values()]
    mean = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), "mean")
    for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _add_losses(state: State, losses: list[torch.Tensor], accelerator: Accelerator) -> None:
    total = accelerator.reduce(torch.stack(losses).double().sum(), "mean").item()
    if not total < float("inf"):
        raise TrainingDiverged(
            f"the loss is {total / len(losses)} before step {state.step}: lower learning_rate?"
        )
    state.loss_sum += total
    state.loss_count += len(losses)
    losses.clear()


def _draw_sheet(pipe: FineFacePipeline, job: TrainingJob, path: Path, accelerator: Accelerator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with accelerator.autocast():
        sheets.draw(pipe, job.validation_prompts).save(path)


def _finish(pipe, job: TrainingJob, output: Path, parameters: dict[str, nn.Parameter], progress: Progress):
    draft, folder = output / f".{ADAPTER_FOLDER}", output / ADAPTER_FOLDER
    for old in (draft, folder):
        shutil.rmtree(old, ignore_errors=True)
    base = {"model": job.base, "revision": job.revision, "fingerprint": job.base_fingerprint}
    au_adapter.save(pipe.unet, draft, base)
    draft.rename(folder)
    result = {
        "steps": job.steps,
        "final_loss": round(progress.final_loss(), 6),
        "seconds": round(progress.seconds(), 2),
        "parameters": sum(parameter.numel() for parameter in parameters.values()),
        "adapter_hash": hash_folder(folder),
        "identity": job.identity(),
    }
    write(output / RESULT_FILE, json.dumps(result, indent=2) + "\n")
