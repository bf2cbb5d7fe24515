"""Tiny random BLIP-2 folders, with OPT and with T5, built from transformers' own classes."""

import json

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    GPT2Tokenizer,
    OPTConfig,
    T5Config,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

QUERIES = 3
TEXTS = [
    "Question: Is this a cartoon? Answer: yes",
    "Question: Is this photo real? Answer: no",
    "a photo of an old woman with curly grey hair",
]


def tokenizer(texts=TEXTS, size=400, **settings):
    """Byte-level BPE with OPT's special tokens; <s> 0, <pad> 1, </s> 2."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    raw.train_from_iterator(texts * 20, trainer)
    bpe = json.loads(raw.to_str())["model"]
    return GPT2Tokenizer(
        vocab=bpe["vocab"],
        merges=[tuple(merge) for merge in bpe["merges"]],
        bos_token="</s>",
        eos_token="</s>",
        unk_token="</s>",
        pad_token="<pad>",
        **settings,
    )


def save(folder, language="opt", image_size=16, words=None):
    """Save a random BLIP-2 with the language model "opt" or "t5" and its processor in `folder`."""
    special = {"add_bos_token": True} if language == "opt" else {"add_eos_token": True}
    images = BlipImageProcessorPil(size={"height": image_size, "width": image_size})
    processor = Blip2Processor(images, words or tokenizer(**special), num_query_tokens=QUERIES)
    vocabulary = len(processor.tokenizer)
    if language == "opt":
        text = OPTConfig(
            vocab_size=vocabulary,
            hidden_size=16,
            word_embed_proj_dim=16,
            ffn_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=96,
            pad_token_id=1,
            bos_token_id=2,
            eos_token_id=2,
            init_std=0.2,
        )
    else:
        text = T5Config(
            vocab_size=vocabulary,
            d_model=16,
            d_kv=8,
            d_ff=32,
            num_layers=2,
            num_heads=2,
            pad_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            initializer_factor=3.0,
        )
    config = Blip2Config(
        vision_config=Blip2VisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=image_size,
            patch_size=8,
            initializer_range=0.2,
        ),
        qformer_config=Blip2QFormerConfig(
            vocab_size=8,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            cross_attention_frequency=1,
            max_position_embeddings=8,
            initializer_range=0.3,
        ),
        text_config=text,
        num_query_tokens=QUERIES,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    net = Blip2ForConditionalGeneration(config)
    net.query_tokens.data.normal_()
    net.language_projection.weight.data.normal_()
    net.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
