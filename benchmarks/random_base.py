"""Stable Diffusion bases with random weights, for programs that measure and not for pictures.

python benchmarks/random_base.py sd21 FOLDER
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

SIZES: dict[str, dict[str, dict[str, Any]]] = {
    # As the configurations of stabilityai/stable-diffusion-2-1-base say: 866 M, 340 M and 84 M parameters.
    "sd21": {
        "unet": {
            "block_out_channels": (320, 640, 1280, 1280),
            "layers_per_block": 2,
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
        },
        "text": {"hidden_size": 1024, "num_hidden_layers": 23, "num_attention_heads": 16},
        "vae": {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
    },
    "tiny": {
        "unet": {
            "block_out_channels": (32, 32, 32, 32),
            "layers_per_block": 1,
            "cross_attention_dim": 96,
            "attention_head_dim": 2,
        },
        "text": {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3},
        "vae": {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_num_groups": 4},
    },
}


def write(size: str, folder: Path) -> None:
    """Write a random base of `size` into `folder`, in bfloat16: its own tokens are letters and digits."""
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    sizes = SIZES[size]
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    text = CLIPTextConfig(
        **sizes["text"],
        intermediate_size=4 * sizes["text"]["hidden_size"],
        vocab_size=len(tokens),
        bos_token_id=len(tokens) - 2,
        eos_token_id=len(tokens) - 1,
        pad_token_id=len(tokens) - 1,
    )
    blocks = len(sizes["vae"]["block_out_channels"])
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            **sizes["vae"],
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(
            vocab={token: place for place, token in enumerate(tokens)}, merges=[], model_max_length=77
        ),
        unet=UNet2DConditionModel(**sizes["unet"], sample_size=64, use_linear_projection=True),
        scheduler=DDPMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(torch.bfloat16).save_pretrained(folder)


def write_apart(size: str, folder: Path) -> None:
    """`write` in a process of its own: its memory is not that of what is measured."""
    subprocess.run([sys.executable, __file__, size, str(folder)], check=True)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
