"""The miniature's CLIPModel: contrastive training on rendered pictures and their captions."""

from __future__ import annotations

from pathlib import Path

from miniature.train.progress import Descent
from miniature.train.tokenizer import encode
from miniature.train.world import Pictures, as_tensor

WIDTH, LAYERS, HEADS, PATCH = 96, 3, 4, 8
"""Of the vision tower, from which BLIP-2's starts."""


def build(tokenizer):
    """A 0.6 M-parameter CLIPModel for 64 px pictures."""
    from transformers import CLIPConfig, CLIPModel

    end = tokenizer.eos_token_id
    size = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": HEADS}
    return CLIPModel(
        CLIPConfig(
            text_config={
                **size,
                "vocab_size": len(tokenizer),
                "num_hidden_layers": 2,
                "max_position_embeddings": 40,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": end,
                "pad_token_id": end,
            },
            vision_config={**size, "image_size": 64, "patch_size": PATCH, "num_hidden_layers": LAYERS},
            projection_dim=64,
        )
    )


def image_processor():
    """Resizes to 64 px and maps 0-255 to [-1, 1]."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(
        size={"height": 64, "width": 64},
        do_center_crop=False,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def train(
    pictures: Pictures, tokenizer, folder: Path, work: Path, steps: int = 2500, batch: int = 96, seed: int = 0
) -> None:
    """Train on `pictures` and save model, image processor and tokenizer to `folder`."""
    import torch

    torch.manual_seed(seed)
    tokens = encode(tokenizer, pictures.captions)
    after_end = (tokens == tokenizer.eos_token_id).int().cumsum(1)
    shown = (after_end - (tokens == tokenizer.eos_token_id).int()) == 0
    model = build(tokenizer)
    descent = Descent(work / "clip.pt", steps, model, model.parameters(), 1.5e-3, clip=1.0, weight_decay=0.05)
    for step in descent:
        rng = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(len(pictures), (batch,), generator=rng)
        pixels = as_tensor(pictures.images[rows.numpy()])
        loss = model(
            input_ids=tokens[rows], attention_mask=shown[rows].long(), pixel_values=pixels, return_loss=True
        ).loss
        descent.descend(loss)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    image_processor().save_pretrained(folder)


def retrieval(folder: Path, pictures: Pictures, among: int = 100) -> float:
    """Share of pictures whose own caption is the nearest of `among`."""
    import torch
    from transformers import CLIPModel, CLIPTokenizer

    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    hits = 0
    for start in range(0, len(pictures) - among + 1, among):
        batch = tokenizer(pictures.captions[start : start + among], padding=True, return_tensors="pt")
        pixels = as_tensor(pictures.images[start : start + among])
        with torch.inference_mode():
            scores = model(**batch, pixel_values=pixels).logits_per_image
        hits += int((scores.argmax(1) == torch.arange(among)).sum())
    return hits / (len(pictures) // among * among)
