"""The miniature's Blip2ForConditionalGeneration: answers the two photorealism questions and writes captions.

Its vision tower starts from the trained CLIP's, as the real one's does.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from inference.blip2 import PROMPT
from miniature.train import clip as contrastive
from miniature.train.progress import Descent
from miniature.train.world import Pictures, as_tensor

QUESTIONS = {"Is this a cartoon?": True, "Is this photo real?": False}
"""Question: whether "yes" means a cartoon."""
_QUERIES, _BATCH = 8, 48


def build_processor(captions: list[str]):
    """Image processor and a byte-level BPE tokenizer like OPT's; " yes" and " no" are single tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import Blip2Processor, GPT2Tokenizer
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    answers = [
        PROMPT.format(question=question) + answer for question in QUESTIONS for answer in (" yes", " no")
    ]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learner.train_from_iterator(
        [*captions, *(answers * 100)],
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    pieces = json.loads(learner.to_str())["model"]
    tokenizer = GPT2Tokenizer(
        vocab=pieces["vocab"],
        merges=[tuple(pair) for pair in pieces["merges"]],
        bos_token="</s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="<pad>",
        add_bos_token=True,
        padding_side="right",
        model_max_length=64,
    )
    images = BlipImageProcessorPil(
        size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return Blip2Processor(images, tokenizer, num_query_tokens=_QUERIES)


def build(processor):
    """A 0.7 M-parameter BLIP-2 with an OPT language model and a vision tower shaped like the CLIP's."""
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2QFormerConfig,
        Blip2VisionConfig,
        OPTConfig,
    )

    tokenizer, width = processor.tokenizer, contrastive.WIDTH
    size = {"hidden_size": width, "num_attention_heads": contrastive.HEADS}
    model = Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config=Blip2VisionConfig(
                **size,
                intermediate_size=2 * width,
                num_hidden_layers=contrastive.LAYERS,
                image_size=64,
                patch_size=contrastive.PATCH,
                hidden_act="quick_gelu",
                layer_norm_eps=1e-5,
                initializer_range=0.02,
            ),
            qformer_config=Blip2QFormerConfig(
                **size,
                vocab_size=8,
                num_hidden_layers=2,
                intermediate_size=2 * width,
                cross_attention_frequency=1,
                max_position_embeddings=16,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            ),
            text_config=OPTConfig(
                **size,
                vocab_size=len(tokenizer),
                word_embed_proj_dim=width,
                ffn_dim=2 * width,
                num_hidden_layers=2,
                max_position_embeddings=96,
                dropout=0.0,
                attention_dropout=0.0,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
            ),
            num_query_tokens=_QUERIES,
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        )
    )
    model.query_tokens.data.normal_(std=0.02)
    return model


def start_from_clip(model, clip, pixels) -> None:
    """Copy CLIP's vision tower into BLIP-2's. `pixels` [N, 3, 64, 64] are a few tens of pictures.

    CLIP normalises its embeddings before the first layer and BLIP-2 does not. Centring and gain are
    linear and fold into the weights; the division by the deviation becomes its mean over `pixels`.
    """
    import torch

    source, target = clip.vision_model, model.vision_model
    gain, bias = source.pre_layrnorm.weight, source.pre_layrnorm.bias
    old, new = source.embeddings, target.embeddings
    with torch.no_grad():
        deviation = old(pixels).std(-1, correction=0).mean(0)
        head, patches = deviation[0], deviation[1:].mean()

        def centred(weight, axis):
            return weight - weight.mean(axis, keepdim=True)

        new.class_embedding.copy_((centred(old.class_embedding, 0) * gain / head).view(1, 1, -1))
        new.patch_embedding.weight.copy_(
            centred(old.patch_embedding.weight, 0) * gain[:, None, None, None] / patches
        )
        new.patch_embedding.bias.copy_(bias)
        positions = centred(old.position_embedding.weight, 1) * gain
        new.position_embedding.copy_(torch.cat([positions[:1] / head + bias, positions[1:] / patches])[None])
        for theirs, ours in zip(source.encoder.layers, target.encoder.layers, strict=True):
            attention = theirs.self_attn
            parts = (attention.q_proj, attention.k_proj, attention.v_proj)
            ours.self_attn.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
            ours.self_attn.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
            ours.self_attn.projection.load_state_dict(attention.out_proj.state_dict())
            for name in ("layer_norm1", "layer_norm2", "mlp"):
                getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())
        target.post_layernorm.load_state_dict(source.post_layernorm.state_dict())


def train(
    pictures: Pictures, clip_folder: Path, folder: Path, work: Path, steps: int = 3000, seed: int = 0
) -> None:
    """Train on captions (half of the rows) and on both questions; save model and processor to `folder`."""
    import torch
    from transformers import CLIPModel

    torch.manual_seed(seed)
    processor = build_processor(pictures.captions)
    model = build(processor)
    start_from_clip(model, CLIPModel.from_pretrained(clip_folder).eval(), as_tensor(pictures.images[:64]))
    descent = Descent(
        work / "blip2.pt",
        steps,
        model,
        model.parameters(),
        1e-3,
        clip=1.0,
        betas=(0.9, 0.98),
        weight_decay=0.02,
    )
    for step in descent:
        rng = np.random.default_rng([seed, step])
        batch = _batch(processor, pictures, rng.integers(len(pictures), size=_BATCH), rng)
        loss = model(**batch).loss
        descent.descend(loss)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)


def _batch(processor, pictures: Pictures, rows: np.ndarray, rng: np.random.Generator) -> dict:
    """Model inputs: image places, start token, prompt, then the answer or caption that is learned."""
    import torch

    tokenizer = processor.tokenizer
    places = [tokenizer.convert_tokens_to_ids("<image>")] * _QUERIES
    inputs, labels = [], []
    for row in rows:
        prompt, answer = "", " " + pictures.captions[row]
        if rng.random() < 0.5:
            question = list(QUESTIONS)[rng.integers(len(QUESTIONS))]
            prompt = PROMPT.format(question=question)
            answer = " yes" if QUESTIONS[question] == pictures.cartoons[row] else " no"
        head = places + tokenizer(prompt).input_ids
        tail = [*tokenizer(answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        inputs.append(head + tail)
        labels.append([-100] * len(head) + tail)
    length = max(map(len, inputs))
    return {
        "pixel_values": as_tensor(pictures.images[rows]),
        "input_ids": torch.tensor([ids + [tokenizer.pad_token_id] * (length - len(ids)) for ids in inputs]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids in inputs]),
        "labels": torch.tensor([ids + [-100] * (length - len(ids)) for ids in labels]),
    }


def accuracies(folder: Path, pictures: Pictures) -> dict[str, float]:
    """Share of right answers a question, asked through the class that the pipeline uses."""
    from PIL import Image

    from inference.blip2 import Blip2

    answers = Blip2(folder, batch_size=50).ask_all(
        [Image.fromarray(image) for image in pictures.images], QUESTIONS
    )
    return {
        question: float(
            np.mean(
                [
                    (answer[question].score > 0.5) == (cartoon == means_cartoon)
                    for answer, cartoon in zip(answers, pictures.cartoons, strict=True)
                ]
            )
        )
        for question, means_cartoon in QUESTIONS.items()
    }
