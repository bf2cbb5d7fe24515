"""The paper's training as one writes it down from its text and the examples of diffusers, to compare with.

It is `train_text_to_image_lora.py` of diffusers with an image adapter for the AUs, in one process:

- pictures are read from their files by torch's DataLoader, encoded by the VAE in each step, and their
  captions tokenised and encoded by the text encoder in each step;
- the base is frozen in float16 on a GPU, and what is trained is kept in float32, under accelerate's mixed
  precision with its loss scaling (on a CPU the precision is that of the training it is compared with);
- AdamW as it comes (weight decay 1e-2), the norm of the gradients clipped at 1, a constant learning rate;
- labels are smoothed, and one caption in ten is empty;
- attention is written out (diffusers' `AttnProcessor`, `IPAdapterAttnProcessor`) or fused (`…2_0`), and
  gradient checkpointing is on or off, as asked for.

The adapter is the project's own: what is trained is the same on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, IPAdapterAttnProcessor
from diffusers.optimization import get_scheduler
from diffusers.training_utils import cast_training_params
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from transformers import CLIPTextModel, CLIPTokenizer

from facs import COLUMNS
from inference import adapter, images, networks
from methods.fineface.settings import FineFaceTrain
from training.smoothing import smooth

WEIGHT_DECAY = 1e-2
"""The default of the examples, and of torch."""
TRAINED = torch.float32
MixedPrecision = Literal["no", "fp16", "bf16"]
DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Options:
    """What one may choose in such a script. workers: of the DataLoader; 0 is the examples' default."""

    fused: bool
    checkpointing: bool
    workers: int
    mixed_precision: MixedPrecision
    cpu: bool


class Pictures(torch.utils.data.Dataset):
    """The rows of a table: file, caption, AUs."""

    def __init__(self, table: pl.DataFrame, tokenizer: CLIPTokenizer, settings: FineFaceTrain):
        self._files, self._captions = table["picture"].to_list(), table["caption"].to_list()
        self._aus = torch.tensor(table.select(COLUMNS).to_numpy().copy(), dtype=torch.float32)
        self._tokenizer, self._settings = tokenizer, settings

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        """pixels [3, side, side] in -1 … 1, tokens [length], aus [12]: what a sample is in one step."""
        said = self._settings
        with Image.open(self._files[place]) as picture:
            pixels = torch.from_numpy(images.as_array([picture.convert("RGB")])[0].copy())
        dropped = torch.rand(()) < said.text_dropout
        tokens = self._tokenizer(
            "" if dropped else self._captions[place],
            **{"max_length": self._tokenizer.model_max_length, "padding": "max_length"},
            **{"truncation": True, "return_tensors": "pt"},
        ).input_ids[0]
        aus = smooth(self._aus[place], said.smoothing.variance, said.smoothing.round_probability)
        aus = torch.zeros_like(aus) if dropped else aus
        return {"pixels": pixels.permute(2, 0, 1).float() / 127.5 - 1, "tokens": tokens, "aus": aus}


def train(
    base: Path, table: pl.DataFrame, settings: FineFaceTrain, options: Options, ends: Callable[[], bool]
) -> None:
    """Train until `ends`, which is asked after each step, says so."""
    accelerator = Accelerator(mixed_precision=options.mixed_precision, cpu=options.cpu)
    dtype = DTYPES[options.mixed_precision]
    unet, vae, text_encoder = _models(base, settings, options)
    for part in (unet, vae, text_encoder):
        part.to(accelerator.device, dtype)
    cast_training_params(unet, TRAINED)
    noising = DDPMScheduler.from_pretrained(base, subfolder="scheduler")
    tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")

    trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
    pictures = Pictures(table, tokenizer, settings)
    loader = DataLoader(
        pictures, batch_size=settings.batch_size, shuffle=True, drop_last=True, num_workers=options.workers
    )
    rate = get_scheduler("constant", optimiser)
    unet, optimiser, loader, rate = accelerator.prepare(unet, optimiser, loader, rate)

    unet.train()
    while True:
        for batch in loader:
            pixels = batch["pixels"].to(dtype)
            latents = vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor
            noise = torch.randn_like(latents)
            steps = noising.config.num_train_timesteps
            timesteps = torch.randint(0, steps, (len(latents),), device=latents.device)
            noisy = noising.add_noise(latents, noise, timesteps)
            text = text_encoder(batch["tokens"], return_dict=False)[0]
            aus = {"image_embeds": [batch["aus"].unsqueeze(1)]}
            predicted = unet(noisy, timesteps, text, added_cond_kwargs=aus).sample
            loss = nn.functional.mse_loss(predicted.float(), noise.float())
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(trained, settings.gradient_clip)
            optimiser.step()
            rate.step()
            optimiser.zero_grad()
            loss.detach().item()  # for the progress bar of the examples
            if ends():
                return


def _models(
    base: Path, settings: FineFaceTrain, options: Options
) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """The base's parts, frozen but for the adapter in its UNet."""
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    vae = AutoencoderKL.from_pretrained(base, subfolder="vae")
    attention = "sdpa" if options.fused else "eager"
    text_encoder = CLIPTextModel.from_pretrained(
        base, subfolder="text_encoder", attn_implementation=attention
    )
    vae.requires_grad_(False)
    text_encoder.requires_grad_(False)
    config = adapter.AdapterConfig(settings.encoder, settings.rank, settings.alpha)
    adapter.install(unet, config, seed=settings.seed)
    if not options.fused:
        write_attention_out(unet)
        vae.set_attn_processor(AttnProcessor())
    if options.checkpointing:
        unet.enable_gradient_checkpointing()
    return unet, vae, text_encoder


def write_attention_out(unet: UNet2DConditionModel) -> None:
    """Give `unet` attention of single operations, with the adapter's own keys and values."""
    reads_text = {f"{name}.processor" for name in networks.text_attentions(unet)}
    processors: dict[str, Any] = {}
    for name, fused in unet.attn_processors.items():
        if name in reads_text:
            processors[name] = IPAdapterAttnProcessor(
                fused.hidden_size, fused.cross_attention_dim, fused.num_tokens, fused.scale
            )
            processors[name].to_k_ip, processors[name].to_v_ip = fused.to_k_ip, fused.to_v_ip
        else:
            processors[name] = AttnProcessor()
    unet.set_attn_processor(processors)
