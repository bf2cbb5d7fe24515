"""A tiny UNet with an adapter that looks trained, and one prediction of it."""

import torch
from tiny_diffusion import WIDTH, make_unet

from inference import adapter as au_adapter
from inference.adapter import AdapterConfig

CONFIG = AdapterConfig(rank=4, alpha=1)


def predict(unet, aus):
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(len(aus), 4, 8, 8, generator=generator)
    text = torch.randn(len(aus), 12, WIDTH, generator=generator)
    with torch.no_grad():
        return unet(noise, 500, text, added_cond_kwargs={"image_embeds": [aus.unsqueeze(1)]}).sample


def shuffled(config=CONFIG, seed=11, unet=None):
    """A UNet (the tiny one, if none is given) whose adapter looks trained: every parameter moved."""
    unet = make_unet() if unet is None else unet
    au_adapter.install(unet, config)
    generator = torch.Generator().manual_seed(seed)
    for parameter in au_adapter.adapter_parameters(unet).values():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return unet
