"""Random Stable Diffusions of some hundred thousand parameters, and what goes beside an adapter in them."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDPMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

WIDTH, POOLED, IMAGE = 96, 24, 12
"""Width of the text embeddings, of SDXL's pooled ones, and of the image embeddings."""
UNET = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": 2,
    "norm_num_groups": 8,
    "use_linear_projection": True,
}
WORDS = [
    "a",
    "an",
    "man",
    "woman",
    "young",
    "smiling",
    "in",
    "the",
    "park",
    "portrait",
    "of",
    "black",
    "hair",
]

# Two threads that wait for each other lose most of their time where other tests run beside these.
torch.set_num_threads(1)


def make_unet(width: int = WIDTH, **more) -> UNet2DConditionModel:
    torch.manual_seed(7)
    return UNet2DConditionModel(**(UNET | more), cross_attention_dim=width)


def make_xl_unet(width: int = WIDTH) -> UNet2DConditionModel:
    """With SDXL's further conditions: pooled text, and six numbers that say size and crop."""
    return make_unet(
        width,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + POOLED,
    )


def make_controlnet(unet: UNet2DConditionModel, seed: int = 4) -> ControlNetModel:
    """One whose control picture matters: the layers that start at zero are moved."""
    # The tiny VAE halves a picture once: so does the control picture's embedding.
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8))
    generator = torch.Generator().manual_seed(seed)
    for parameter in controlnet.parameters():
        if not parameter.any():
            parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return controlnet


def image_adapter(unet: UNet2DConditionModel, face_id: bool = False, seed: int = 6) -> dict[str, dict]:
    """A random image adapter as `load_ip_adapter` takes it: IP-Adapter, or FaceID with its LoRA."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=generator) * 0.2

    width, tokens = unet.config.cross_attention_dim, 4
    projection = {"norm.weight": random(width) + 1, "norm.bias": random(width)}
    if face_id:
        projection |= {"proj.0.weight": random(2 * IMAGE, IMAGE), "proj.0.bias": random(2 * IMAGE)}
        projection |= {
            "proj.2.weight": random(tokens * width, 2 * IMAGE),
            "proj.2.bias": random(tokens * width),
        }
    else:
        projection |= {"proj.weight": random(tokens * width, IMAGE), "proj.bias": random(tokens * width)}
    attention = {}
    for place, name in enumerate(unet.attn_processors):
        layer = unet.get_submodule(name.removesuffix(".processor"))
        wide, high = layer.to_k.in_features, layer.to_k.out_features
        if layer.is_cross_attention:
            attention[f"{place}.to_k_ip.weight"] = random(high, wide)
            attention[f"{place}.to_v_ip.weight"] = random(high, wide)
        if face_id:
            for part, inputs in (("to_q", high), ("to_k", wide), ("to_v", wide), ("to_out", high)):
                attention[f"{place}.{part}_lora.down.weight"] = random(2, inputs)
                attention[f"{place}.{part}_lora.up.weight"] = random(high, 2)
    return {"image_proj": projection, "ip_adapter": attention}


def make_image_encoder() -> CLIPVisionModelWithProjection:
    torch.manual_seed(10)
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
            projection_dim=IMAGE,
        )
    )


def write_base(folder: Path, prediction_type: str = "v_prediction", width: int = WIDTH, **unet: Any) -> Path:
    """Write a random base into `folder` and return it; `unet` are settings of its UNet."""
    tokenizer = make_tokenizer()
    torch.manual_seed(8)
    StableDiffusionPipeline(
        text_encoder=CLIPTextModel(text_config(tokenizer, width)),
        tokenizer=tokenizer,
        vae=make_vae(),
        unet=make_unet(width, **unet),
        scheduler=make_scheduler(prediction_type),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def write_xl_base(folder: Path, widths: tuple[int, int] = (40, WIDTH - 40)) -> Path:
    """Write a random SDXL into `folder` and return it; `widths` are those of its two text encoders."""
    tokenizer = make_tokenizer()
    torch.manual_seed(9)
    StableDiffusionXLPipeline(
        text_encoder=CLIPTextModel(text_config(tokenizer, widths[0], layers=2)),
        text_encoder_2=CLIPTextModelWithProjection(
            text_config(tokenizer, widths[1], layers=2, projection_dim=POOLED)
        ),
        tokenizer=tokenizer,
        tokenizer_2=make_tokenizer(),
        vae=make_vae(),
        unet=make_xl_unet(sum(widths)),
        scheduler=make_scheduler("epsilon"),
    ).save_pretrained(folder)
    return folder


def make_tokenizer() -> CLIPTokenizer:
    tokens = [f"{word}</w>" for word in WORDS] + list("abcdefghijklmnopqrstuvwxyz")
    tokens += [f"{letter}</w>" for letter in "bcdefghijklmnopqrstuvwxyz"]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=12)


def text_config(tokenizer: CLIPTokenizer, width: int = WIDTH, layers: int = 1, **more) -> CLIPTextConfig:
    vocabulary = tokenizer.get_vocab()
    return CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
        **more,
    )


def make_vae(halvings: int = 1) -> AutoencoderKL:
    """Latents are the picture halved so often; Stable Diffusion's three times."""
    levels = halvings + 1
    return AutoencoderKL(
        latent_channels=4,
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        norm_num_groups=4,
        sample_size=16,
        scaling_factor=0.5,
    )


def make_scheduler(prediction_type: str) -> DDPMScheduler:
    return DDPMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type=prediction_type,
        clip_sample=False,
        steps_offset=1,
    )
