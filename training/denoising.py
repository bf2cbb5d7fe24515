"""Training a method's parts in a diffusion base (paper, section 3): what a step of it is. The loop is
`training.loop`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler
from PIL import Image
from torch import nn

import methods.registry
from inference import devices, texts
from inference.generation import base_content, base_folder
from inference.pipeline import FineFacePipeline
from inference.texts import Texts
from inference.weights import ModelNotFound
from methods.model import Batch, MethodError, TrainedModel, denoising_errors
from settings.experiment import DenoisingSettings
from training import sheets
from training.ahead import Ahead, pinned
from training.captions import CaptionEmbeddings
from training.dataset import Dataset, Draw
from training.job import CLASS_IMAGES_FILE, HELD_OUT_FILE, SAMPLES_FILE, JobError, TrainingJob
from training.progress import say
from training.task import Exchange, Task, mean_of_all


class Denoising(Task):
    """The parts that `model` gives the base of `job`, trained to denoise.

    Raises JobError where the job, its data and its base do not fit.
    """

    samples: Dataset

    def __init__(self, job: TrainingJob, model: TrainedModel[Any], accelerator: Accelerator):
        assert isinstance(job.loop, DenoisingSettings)
        self._job, self._settings, self._model, self._accelerator = job, job.loop, model, accelerator
        self._pipe = pipe = _load_base(job)
        data, output = _read_data(job, self._settings, pipe), Path(job.output)
        self.samples = data[SAMPLES_FILE]
        self.parameters = _prepare(pipe, model, job, self._settings, accelerator.device)
        read = {name: _Captioned(pipe, samples, accelerator, output) for name, samples in data.items()}
        held_out = read.pop(HELD_OUT_FILE, None)
        self._validation = _Validation(pipe.unet, model, held_out, accelerator) if held_out else None
        self._trained_on = [read[name] for name in (SAMPLES_FILE, CLASS_IMAGES_FILE) if name in read]
        self._ahead = Ahead(self._read, self._settings.steps)
        trained = self.parameters.values()
        self._optimiser = torch.optim.AdamW(trained, lr=self._settings.learning_rate, fused=True)
        self.optimisers = {"optimiser": self._optimiser}
        self._noising = DDPMScheduler.from_config(pipe.scheduler.config)
        self._gradients = _Gradients(model, pipe.unet, self._noising, accelerator)

    @property
    def watched(self) -> bool:
        """Whether there are held-out samples to be asked."""
        return self._validation is not None

    def step(self, step: int, exchange: Exchange) -> torch.Tensor:
        """One step of AdamW along the mean gradient of the step's samples, clipped."""
        settings = self._settings
        loss = self._gradients.of(self._batch(step), self.parameters)
        exchange.mean(self.parameters.values())
        nn.utils.clip_grad_norm_(list(self.parameters.values()), settings.gradient_clip)
        for group in self._optimiser.param_groups:
            group["lr"] = settings.learning_rate_at(step)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return loss

    def _read(self, step: int) -> list[_Read]:
        """This process's samples of `step`, and as many class images where the method is trained on such."""
        share = step, self._accelerator.process_index, self._accelerator.num_processes
        return [source.read(source.samples.batch(*share)) for source in self._trained_on]

    def _batch(self, step: int) -> Batch:
        read = zip(self._trained_on, self._ahead.at(step), strict=True)
        batch, *beside = (source.batch(what) for source, what in read)
        return replace(batch, beside=beside[0]) if beside else batch

    def held_out_loss(self) -> float:
        """The mean loss of the held-out samples."""
        assert self._validation is not None
        return self._validation.loss(self._noising)

    def sheet(self) -> Image.Image:
        """The job's sample prompts under some expressions."""
        with self._accelerator.autocast():
            return sheets.draw(self._pipe, self._job.sample_prompts, methods.registry.wording(self._settings))

    def save(self, folder: Path) -> None:
        """As the method saves it, with the base for the record."""
        job = self._job
        base = {"model": job.base, "revision": job.revision, "fingerprint": job.base_content}
        self._model.save(self._pipe, folder, base)


def _load_base(job: TrainingJob) -> FineFacePipeline:
    """The base, if its content is the one that the job's key names."""
    assert job.base is not None
    try:
        folder = base_folder(job.base, job.revision)
        found = base_content(job.base, job.revision)
        if found != job.base_content:
            raise JobError(
                f"the base {job.base} has the content {found}, this training is for {job.base_content}: "
                "its files changed, or the revision is another one; put back the base, or run the stage again"
            )
        # Text encoders come as they lie on disk unless they are told otherwise.
        return FineFacePipeline.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
    except (ModelNotFound, OSError) as error:
        raise JobError(f"the base {job.base} cannot be loaded: {error}") from error


def _read_data(job: TrainingJob, settings: DenoisingSettings, pipe: FineFacePipeline) -> dict[str, Dataset]:
    """The samples to train on, by the name of their file; those held out where there are some to be asked,
    and class images where the method is trained on such."""
    folder = Path(job.dataset)
    scale, timesteps = pipe.vae.config.scaling_factor, pipe.scheduler.config.num_train_timesteps
    word = methods.registry.wording(settings)
    files = {SAMPLES_FILE: "step"}
    if settings.validate_every and (folder / HELD_OUT_FILE).is_file():
        files[HELD_OUT_FILE] = "step"
    if settings.drawn_before is not None:
        files[CLASS_IMAGES_FILE] = "class images of step"
    found = {
        name: Dataset(folder / name, settings, scale, timesteps, word, draw) for name, draw in files.items()
    }
    if pipe.vae.config.latents_mean is not None:
        raise JobError(f"the base {job.base}: latents shifted by its VAE's latents_mean cannot be trained on")
    wanted = pipe.unet.config.in_channels
    for name, data in found.items():
        if (channels := data.latent_shape[0]) != wanted:
            raise JobError(
                f"{folder / name}: latents of {channels} channels, the base {job.base} wants {wanted}"
            )
    return found


def _prepare(
    pipe: FineFacePipeline,
    model: TrainedModel[Any],
    job: TrainingJob,
    settings: DenoisingSettings,
    device: torch.device,
) -> dict[str, nn.Parameter]:
    """Install the method's parts, move all to `device`; returns the parameters to train, in float32."""
    try:
        parameters = model.install(pipe)
    except MethodError as error:
        raise JobError(f"{job.base}: {error}") from error
    for parameter in pipe.unet.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(devices.dtype(settings.precision))
    if settings.gradient_checkpointing:
        pipe.unet.enable_gradient_checkpointing()
    pipe.unet.train()
    pipe.to(device)
    return parameters


_Read = tuple[Draw, Texts]
"""Samples as they are read, with their texts, in main memory."""


class _Captioned:
    """Samples with the embeddings of their captions."""

    def __init__(self, pipe: FineFacePipeline, samples: Dataset, accelerator: Accelerator, folder: Path):
        self.samples, self._pipe, self._device = samples, pipe, accelerator.device
        self._captions = CaptionEmbeddings(pipe, samples.captions, accelerator, folder)

    def read(self, draw: Draw) -> _Read:
        """The samples drawn and their texts, where the device can fetch them."""
        held = {name: pinned(value, self._device) for name, value in vars(draw).items()}
        said = (pinned(part, self._device) for part in self._captions.at(draw.captions).parts())
        return Draw(**held), Texts(*said)

    def batch(self, read: _Read) -> Batch:
        """What was read, on the device."""
        drawn, texts_read = read
        latents, noise, timesteps, aus = (
            value.to(self._device, non_blocking=True)
            for value in (drawn.latents, drawn.noise, drawn.timesteps, drawn.aus)
        )
        said = Texts(*(part.to(self._device, non_blocking=True) for part in texts_read.parts()))
        added = texts.added_conditions(self._pipe, said, latents.shape[-2:])
        return Batch(latents, noise, timesteps, said.tokens, aus, added)


class _Validation:
    """The loss on the held-out samples: always the same samples, timesteps and noise."""

    def __init__(
        self, unet: nn.Module, model: TrainedModel[Any], held_out: _Captioned, accelerator: Accelerator
    ):
        self._unet, self._model, self._held_out, self._accelerator = unet, model, held_out, accelerator
        self._draws = held_out.samples.held_out(accelerator.process_index, accelerator.num_processes)

    @torch.no_grad()
    def loss(self, noising: DDPMScheduler) -> float:
        """The mean over all samples of all processes; every process calls it. Uses up no randomness."""
        errors = (self._errors(noising, draw) for draw in self._draws)
        return mean_of_all(self._accelerator, ((found.sum(), len(found)) for found in errors))

    def _errors(self, noising: DDPMScheduler, draw: Draw) -> torch.Tensor:
        batch = self._held_out.batch(self._held_out.read(draw))
        with self._accelerator.autocast():
            return denoising_errors(self._model, self._unet, noising, batch)


class _Gradients:
    """The gradient of a process's batch: of all its samples at once, or, once memory ran out, of parts of it
    one after another, which gives the same but for rounding."""

    def __init__(
        self,
        model: TrainedModel[Any],
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
