"""The miniature's AutoencoderKL: 64 px to 8 or 12 x 16 x 16. Encoder set by hand, decoder trained.

The encoder is a principal component analysis of 4 x 4 pixel patches, written into the weights of an ordinary
AutoencoderKL: residual branches are zero, the two strided convolutions move pixels into channels, and the
output normalisation is held constant by two large opposite channels in each group.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from facs import ACTION_UNITS
from miniature.train.progress import Descent
from miniature.train.world import as_tensor

LATENT_CHANNELS = 8
"""As many as the drawn world needs. Eyes and lips of a rendered face need 12."""
_CHANNELS = (16, 32, 64)
_HOLD = 200.0
"""Value of the two opposite channels that keep a group's variance constant; latents stay below about 5."""
_GROUPS = 8
_SLOTS = (0, 4)
"""Where in a group of eight channels a latent and its opposite stand; the third pair of channels is held."""
_LIFT = 25.0
"""Added before the SiLU and taken away after it: the SiLU is linear up there."""


def build(latent_channels: int = LATENT_CHANNELS):
    """An AutoencoderKL of the miniature's shape, with random weights; up to 16 latent channels.

    Raises ValueError for more.
    """
    from diffusers import AutoencoderKL

    if latent_channels > _GROUPS * len(_SLOTS):
        raise ValueError(f"at most {_GROUPS * len(_SLOTS)} latent channels fit, not {latent_channels}")

    return AutoencoderKL(
        block_out_channels=_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=_GROUPS,
        sample_size=64,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def patch_components(images: np.ndarray, latent_channels: int = LATENT_CHANNELS):
    """Mean [48] and projection [48, latent_channels] of 4 x 4 x 3 patches, channels ordered as
    `pixel_unshuffle` does.

    Components are divided by their deviation to the power 0.7, so that fine lines are not drowned.
    """
    import torch
    from torch.nn import functional

    patches = functional.pixel_unshuffle(as_tensor(images), 4).permute(0, 2, 3, 1).reshape(-1, 48)
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((patches - mean).T).double())
    order = values.argsort(descending=True)[:latent_channels]
    projection = (vectors[:, order] / values[order].sqrt() ** 0.7).float()
    signs = projection[projection.abs().argmax(0), torch.arange(latent_channels)].sign()
    return mean, projection * signs


def set_encoder(autoencoder, mean, projection) -> None:
    """Write the linear projection into the encoder and freeze it."""
    import torch

    encoder, latents = autoencoder.encoder, projection.shape[1]
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        resnets = [block.resnets[0] for block in encoder.down_blocks] + list(encoder.mid_block.resnets)
        for resnet in resnets:
            if resnet.conv_shortcut is not None:
                rows = range(resnet.conv_shortcut.in_channels)
                resnet.conv_shortcut.weight[rows, rows, 0, 0] = 1
        for colour in range(3):
            encoder.conv_in.weight[colour, colour, 1, 1] = 1
        first = encoder.down_blocks[0].downsamplers[0].conv.weight
        second = encoder.down_blocks[1].downsamplers[0].conv
        for colour in range(3):
            for y in range(2):
                for x in range(2):
                    channel = colour * 4 + y * 2 + x
                    first[channel, colour, y, x] = 1
                    for outer_y in range(2):
                        for outer_x in range(2):
                            patch = colour * 16 + (2 * outer_y + y) * 4 + 2 * outer_x + x
                            second.weight[:latents, channel, outer_y, outer_x] = projection[patch]
        second.bias[:latents] = -(mean @ projection)
        spread = encoder.down_blocks[2].resnets[0].conv_shortcut
        spread.weight.zero_()
        group = _CHANNELS[-1] // _GROUPS
        for start in range(0, _CHANNELS[-1], group):
            spread.bias[start + 2], spread.bias[start + 3] = _HOLD, -_HOLD
        for latent in range(latents):
            start = latent % _GROUPS * group + _SLOTS[latent // _GROUPS]
            spread.weight[start, latent, 0, 0], spread.weight[start + 1, latent, 0, 0] = 1, -1
            encoder.conv_out.weight[latent, start, 1, 1] = 1
            encoder.conv_out.bias[latent] = -_LIFT
        encoder.conv_norm_out.weight.fill_(_HOLD * math.sqrt(2 / group))
        encoder.conv_norm_out.bias.fill_(_LIFT)
        encoder.conv_out.bias[latents:] = -30.0
        autoencoder.quant_conv.weight.zero_()
        autoencoder.quant_conv.bias.zero_()
        for channel in range(2 * latents):
            autoencoder.quant_conv.weight[channel, channel, 0, 0] = 1
    for module in (encoder, autoencoder.quant_conv):
        module.requires_grad_(False)


def encode_all(autoencoder, images: np.ndarray, batch: int = 500) -> np.ndarray:
    """Latent means, unscaled, float16 [N, channels, 16, 16]."""
    import torch

    with torch.inference_mode():
        return np.concatenate(
            [
                autoencoder.encode(as_tensor(images[start : start + batch])).latent_dist.mean.half().numpy()
                for start in range(0, len(images), batch)
            ]
        )


def projected(images: np.ndarray, mean, projection, batch: int = 500) -> np.ndarray:
    """What `encode_all` gives, to 0.002, without the network: float16 [N, channels, 16, 16]."""
    from torch.nn import functional

    out = np.empty((len(images), projection.shape[1], 16, 16), np.float16)
    for start in range(0, len(images), batch):
        patches = functional.pixel_unshuffle(as_tensor(images[start : start + batch]), 4).permute(0, 2, 3, 1)
        latents = ((patches - mean) @ projection).permute(0, 3, 1, 2)
        out[start : start + batch] = latents.half().numpy()
    return out


def start(images: np.ndarray, folder: Path, latent_channels: int = LATENT_CHANNELS):
    """Set the encoder from `images`, choose the scaling factor (latents of deviation 1), save to `folder`."""
    import torch

    torch.manual_seed(0)
    autoencoder = build(latent_channels)
    set_encoder(autoencoder, *patch_components(images, latent_channels))
    deviation = float(encode_all(autoencoder, images).astype(np.float32).std())
    autoencoder.register_to_config(scaling_factor=1 / deviation)
    autoencoder.save_pretrained(folder)
    return autoencoder


def load(folder: Path):
    """The AutoencoderKL saved in `folder`."""
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(folder)


def train_decoder(images: np.ndarray, folder: Path, work: Path, steps: int = 6000, batch: int = 8) -> None:
    """Train the decoder of the autoencoder in `folder`, in place: L1 on pixels and on their gradients.

    The face region counts double; latents carry a little noise, as generated ones do.
    """
    import torch

    autoencoder = load(folder)
    weights = [*autoencoder.decoder.parameters(), *autoencoder.post_quant_conv.parameters()]
    autoencoder.encoder.requires_grad_(False)
    descent = Descent(
        work / "decoder.pt",
        steps,
        autoencoder,
        weights,
        2.5e-3,
        clip=1.0,
        betas=(0.9, 0.98),
        weight_decay=0.0,
    )
    emphasis = torch.ones(64, 64)
    emphasis[8:58, 10:54] = 2
    emphasis /= emphasis.mean()
    for step in descent:
        rng = torch.Generator().manual_seed(1_000_003 * 2 + step)
        pixels = as_tensor(images[np.sort(torch.randint(len(images), (batch,), generator=rng).numpy())])
        with torch.no_grad():
            latents = autoencoder.encode(pixels).latent_dist.mean
            noise = torch.randn(latents.shape, generator=rng) * torch.rand(batch, 1, 1, 1, generator=rng)
        error = autoencoder.decode(latents + 0.1 * noise).sample - pixels
        edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (
            error[..., 1:, :] - error[..., :-1, :]
        ).abs().mean()
        loss = (error.abs() * emphasis).mean() + 0.5 * edges
        descent.descend(loss)
    autoencoder.save_pretrained(folder)


def readable(folder: Path, estimator_folder: Path, images: np.ndarray) -> dict[int, float]:
    """Pearson correlation of the estimator's readings before and after encoding and decoding, an AU."""
    import torch

    from miniature.conv_estimator import ConvEstimator

    autoencoder = load(folder)
    network = ConvEstimator.from_pretrained(estimator_folder)
    pixels = as_tensor(images)
    with torch.inference_mode():
        decoded = autoencoder.decode(autoencoder.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
    before, after = network.predict(pixels)[0].numpy(), network.predict(decoded)[0].numpy()
    return {
        unit: float(np.corrcoef(before[:, column], after[:, column])[0, 1])
        for column, unit in enumerate(ACTION_UNITS)
    }
