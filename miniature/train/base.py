"""The miniature's text-to-image base: a StableDiffusionPipeline folder with a small UNet and text encoder.

Every expression occurs in its pictures and none in its captions, as with photographs from the web: the base
can draw each expression, and only an adapter can ask for one.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facs import ACTION_UNITS
from miniature.train.progress import Checkpoint, Progress
from miniature.train.world import Pictures, as_tensor

TEXT_WIDTH = 128
CAPTION_DROPOUT = 0.1
_LEARNING_RATE, _WARM_UP, _EMA = 1.8e-3, 100, 0.9985
_DRAWN_WIDTHS = (32, 64, 96)


@dataclass(frozen=True)
class Inputs:
    """What a worker reads: `latents` float16 [M, C, 16, 16] scaled to deviation 1, `tokens` int64 [N, 40].

    M is N, or 2 N: then the second half are the first half's mirror images.
    """

    latents: Path
    tokens: Path
    empty: Path
    vocabulary: int
    start: int
    end: int


def build_unet(channels: int = 8, widths: tuple[int, ...] = _DRAWN_WIDTHS, attention_from: int = 0):
    """A UNet2DConditionModel for latents of so many `channels`, with levels at 16, 8 and 4 px.

    `widths` of the levels, each a multiple of 16; (32, 64, 96) have 2.9 M parameters. Levels from number
    `attention_from` on have attention: without it at 16 px a step costs 0.6 times as much.
    """
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=tuple(
            "CrossAttnDownBlock2D" if level >= attention_from else "DownBlock2D" for level in range(3)
        ),
        up_block_types=tuple(
            "CrossAttnUpBlock2D" if level >= attention_from else "UpBlock2D" for level in (2, 1, 0)
        ),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=tuple(max(2, width // 32) for width in widths),
        norm_num_groups=8,
        use_linear_projection=True,
    )


def build_text_encoder(vocabulary: int, start: int, end: int):
    """A three-layer CLIPTextModel, 128 wide."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=40,
            projection_dim=64,
            hidden_act="gelu",
            bos_token_id=start,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def build_scheduler():
    """Stable Diffusion's noise schedule, velocity prediction."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        steps_offset=1,
    )


@dataclass(frozen=True)
class Plan:
    """How the base is trained; `batch` is that of one process."""

    steps: int
    batch: int = 48
    processes: int = 2
    seed: int = 0
    widths: tuple[int, ...] = _DRAWN_WIDTHS
    attention_from: int = 0
    """First level of the UNet with attention, see `build_unet`."""
    learning_rate: float = _LEARNING_RATE
    decay: int | None = None
    """Steps over which the rate falls to nothing at the end; None: a cosine over all of them.

    With it, a training can be stopped at any time and resumed with fewer `steps` left.
    """

    def rate(self, step: int) -> float:
        """Learning rate of `step`."""
        warm = min(1.0, (step + 1) / _WARM_UP)
        if self.decay is None:
            return self.learning_rate * warm * (0.02 + 0.49 * (1 + math.cos(math.pi * step / self.steps)))
        return self.learning_rate * warm * max(0.01, min(1.0, (self.steps - step) / self.decay))


def train(inputs: Inputs, folder: Path, work: Path, plan: Plan) -> None:
    """Train UNet and text encoder together; moving averages of both go to `folder`.

    On two cores, two single-threaded processes beat one with two threads.
    """
    import torch.multiprocessing

    torch.multiprocessing.spawn(_worker, (inputs, folder, work, plan), nprocs=plan.processes)


def _worker(rank: int, inputs: Inputs, folder: Path, work: Path, plan: Plan) -> None:
    import torch
    from torch import distributed
    from torch.nn import functional

    batch, processes, seed = plan.batch, plan.processes, plan.seed
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{work.absolute()}/rendezvous-{os.getppid()}",
        rank=rank,
        world_size=processes,
    )
    latents = np.load(inputs.latents, mmap_mode="r")
    tokens, empty = torch.from_numpy(np.load(inputs.tokens)), torch.from_numpy(np.load(inputs.empty))
    models = torch.nn.ModuleDict(
        {
            "unet": build_unet(latents.shape[1], plan.widths, plan.attention_from).to(
                memory_format=torch.channels_last
            ),
            "text": build_text_encoder(inputs.vocabulary, inputs.start, inputs.end),
        }
    )
    average = torch.optim.swa_utils.AveragedModel(
        models,
        avg_fn=lambda mean, new, count: mean + (new - mean) * (1 - min(_EMA, (1 + count) / (10 + count))),
    )
    weights = list(models.parameters())
    optimiser = torch.optim.AdamW(
        weights, plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    noise_schedule = build_scheduler()
    checkpoint = Checkpoint(work / "base.pt", {"models": models, "average": average, "optimiser": optimiser})
    progress = Progress("base", plan.steps, checkpoint.restore(), quiet=rank > 0)
    for step in progress:
        for group in optimiser.param_groups:
            group["lr"] = plan.rate(step)
        rng = torch.Generator().manual_seed((seed * 1_000_003 + step) * processes + rank)
        rows = np.sort(torch.randint(len(latents), (batch,), generator=rng).numpy())
        clean = torch.from_numpy(latents[rows]).float().contiguous(memory_format=torch.channels_last)
        said = tokens[rows % len(tokens)]
        text = torch.where(torch.rand(batch, 1, generator=rng) < CAPTION_DROPOUT, empty, said)
        noise = torch.randn(clean.shape, generator=rng)
        order = torch.randperm(batch, generator=rng)
        times = ((order + torch.rand(batch, generator=rng)) / batch * 1000).long()
        noisy = noise_schedule.add_noise(clean, noise, times)
        predicted = models["unet"](noisy, times, models["text"](text).last_hidden_state).sample
        loss = functional.mse_loss(predicted, noise_schedule.get_velocity(clean, noise, times))
        optimiser.zero_grad()
        loss.backward()
        _average_gradients(weights, processes)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        average.update_parameters(models)
        progress.log(loss.item())
        if rank == 0 and checkpoint.due(step):
            checkpoint.save(step + 1)
            _save(average.module, folder)
    if rank == 0:
        _save(average.module, folder)
    distributed.destroy_process_group()


def _average_gradients(weights, processes: int) -> None:
    """The mean over the processes, in place: each gradient keeps its weight's memory format, which the fused
    optimiser takes for granted."""
    import torch
    from torch import distributed

    flat = torch.cat([(w.grad if w.grad is not None else torch.zeros_like(w)).flatten() for w in weights])
    distributed.all_reduce(flat)
    flat /= processes
    for weight, gradient in zip(weights, flat.split([w.numel() for w in weights]), strict=True):
        if weight.grad is None:
            weight.grad = torch.empty_like(weight)
        weight.grad.copy_(gradient.view_as(weight))


def _save(models, folder: Path) -> None:
    models["unet"].save_pretrained(folder / "unet")
    models["text"].save_pretrained(folder / "text_encoder")
    build_scheduler().save_pretrained(folder / "scheduler")


def expressions(folder: Path, estimator_folder: Path, drawn: Pictures) -> tuple[dict[str, float], list]:
    """Whether the base draws each expression as often as it was shown: of as many faces as `drawn`, from
    its captions and without guidance, the share with an AU above 2 by the estimator, over the share among
    `drawn`. And the faces.
    """
    from inference.generation import Generator
    from inference.images import as_array
    from miniature.conv_estimator import ConvEstimator

    network = ConvEstimator.from_pretrained(estimator_folder)
    generator = Generator(folder, size=64, steps=20, scheduler="dpm", batch_size=64)
    faces = generator.generate(drawn.captions, None, list(range(len(drawn))), guidance=1.0)

    def shares(images: np.ndarray) -> np.ndarray:
        return (network.predict(as_tensor(images))[0].numpy() > 2).mean(0)

    ratios = shares(as_array(faces)) / shares(drawn.images)
    return dict(zip((f"AU{unit}" for unit in ACTION_UNITS), ratios.tolist(), strict=True)), faces


def assemble(folder: Path) -> None:
    """Write model_index.json over the parts in `folder`, so that StableDiffusionPipeline loads it."""
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTokenizer

    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=DPMSolverMultistepScheduler.from_config(build_scheduler().config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_config(folder)
    pipeline.scheduler.save_pretrained(folder / "scheduler")
    for config in folder.glob("*/config.json"):
        kept = {key: value for key, value in json.loads(config.read_text()).items() if key != "_name_or_path"}
        config.write_text(json.dumps(kept, indent=2) + "\n")
