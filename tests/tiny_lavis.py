"""A folder of tiny random weights, laid out as LAVIS names its files, built from LAVIS' own classes; and what
these say, one picture and one question at a time, loaded without the worker's code.

Run by the python of the environment `lavis`: python tiny_lavis.py FOLDER blip2_t5|blip2_opt PICTURE…
It prints a row a picture as JSON: caption, and for each question its answer and score.
"""

import json
import os
import sys
from pathlib import Path

VISION = {"patch_size": 14, "embed_dim": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0}
SIZE, QUERIES = 28, 3
PROMPTS = ["Question: Is this a cartoon? Answer:", "Question: Is this photo real? Answer:"]
TEXTS = [f"{PROMPTS[0]} yes", f"{PROMPTS[1]} no", "yes no\n"]
MODEL = """\
model:
  arch: tiny
  load_finetuned: False
  pretrained: blip2_tiny.pth
  finetuned: ""
  image_size: {size}
  vision: {vision}
  vit_precision: "fp32"
  freeze_vit: True
  num_query_token: {queries}
  {key}: tiny/language
  prompt: ""
preprocess:
  vis_processor:
    eval: {{name: "blip_image_eval", image_size: {size}}}
"""


def write(folder: Path, name: str):
    """`tiny.yaml` and all that it names, for the model `name` of LAVIS; the model."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "inference" / "environments"))
    from lavis_worker import prepare_import

    prepare_import()
    import torch
    from lavis.common.registry import registry
    from lavis.models import eva_vit
    from lavis.models.blip2_models.blip2 import Blip2Base
    from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel
    from transformers import BertTokenizer

    torch.manual_seed(7)
    folder.mkdir(parents=True, exist_ok=True)
    key = "t5_model" if name == "blip2_t5" else "opt_model"
    vision = ", ".join(f"{field}: {value}" for field, value in VISION.items())
    text = MODEL.format(size=SIZE, queries=QUERIES, key=key, vision=f"{{{vision}}}")
    (folder / "tiny.yaml").write_text(text)

    bert = folder / "bert-base-uncased"
    bert.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "yes", "no"]
    (folder / "words.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "words.txt")).save_pretrained(bert)
    (folder / "words.txt").unlink()
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(words), max_position_embeddings=32, **sizes)
    config.encoder_width, config.add_cross_attention, config.cross_attention_freq = 16, False, 2
    config.query_length = QUERIES
    BertLMHeadModel(config).save_pretrained(bert)

    (write_t5 if name == "blip2_t5" else write_opt)(folder / "tiny" / "language")

    tower = eva_vit.VisionTransformer(
        img_size=SIZE, use_mean_pooling=False, qkv_bias=True, **VISION, norm_layer=torch.nn.LayerNorm
    )
    for weight in tower.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    torch.save(tower.state_dict(), folder / "eva_vit_g.pth")

    # The genuine constructor tells which weights a checkpoint holds: those between tower and language model.
    os.chdir(folder)
    Blip2Base.init_vision_encoder = classmethod(
        lambda cls, *_: (tower, torch.nn.LayerNorm(tower.num_features))
    )
    net = registry.get_model_class(name)(img_size=SIZE, num_query_token=QUERIES, **{key: "tiny/language"})
    bridge = {
        field: torch.randn_like(weight) * 0.3
        for field, weight in net.named_parameters()
        if not field.startswith(("visual_encoder.", "t5_model.", "opt_model."))
    }
    torch.save({"model": bridge}, folder / "blip2_tiny.pth")
    net.load_state_dict(bridge, strict=False)
    return net.float().eval()


def asked_plainly(net, paths: list[str]) -> list[dict]:
    """What LAVIS' own methods say about each picture by itself."""
    from lavis.processors import BlipImageEvalProcessor
    from PIL import Image

    prepare, rows = BlipImageEvalProcessor(image_size=SIZE), []
    for path in paths:
        image = prepare(Image.open(path).convert("RGB"))[None]
        row = {"caption": net.generate({"image": image, "prompt": ""})[0].strip()}
        for prompt in PROMPTS:
            if hasattr(net, "predict_answers"):
                (text,) = net.predict_answers({"image": image, "text_input": [prompt]})
            else:
                (text,) = net.generate({"image": image, "prompt": prompt}, max_length=10)
            row[prompt] = text.strip(), probability_of_yes(net, image, prompt)
        rows.append(row)
    return rows


def probability_of_yes(net, image, prompt: str) -> float:
    """P(yes) / (P(yes) + P(no)) of the first token, from the network's parts."""
    import torch

    with torch.no_grad():
        seen = net.ln_vision(net.visual_encoder(image))
        queries = net.Qformer.bert(
            query_embeds=net.query_tokens,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long),
        ).last_hidden_state
        if hasattr(net, "t5_model"):
            tokenizer, language, queries = net.t5_tokenizer, net.t5_model, net.t5_proj(queries)
            words = language.encoder.embed_tokens(torch.tensor([tokenizer(prompt).input_ids]))
            start = torch.tensor([[language.config.decoder_start_token_id]])
            inputs = torch.cat([queries, words], dim=1)
            logits = language(inputs_embeds=inputs, decoder_input_ids=start).logits[0, 0]
        else:
            tokenizer, language, queries = net.opt_tokenizer, net.opt_model, net.opt_proj(queries)
            ids = torch.tensor([tokenizer(prompt).input_ids])
            mask = torch.ones(1, QUERIES + ids.shape[1], dtype=torch.long)
            logits = language(input_ids=ids, query_embeds=queries, attention_mask=mask).logits[0, -1]
        yes, no = (
            sum(logits[token].exp() for token in single_tokens(tokenizer, word)) for word in ("yes", "no")
        )
    return float(yes / (yes + no))


def single_tokens(tokenizer, word: str) -> set[int]:
    spellings = (space + case for space in ("", " ") for case in (word, word.title(), word.upper()))
    tokens = (tokenizer(spelling, add_special_tokens=False).input_ids for spelling in spellings)
    return {ids[0] for ids in tokens if len(ids) == 1}


def vocabulary() -> tuple[dict, list]:
    """A byte-level BPE of TEXTS: its vocabulary and merges, as JSON has them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(TEXTS * 20, trainer)
    model = json.loads(raw.to_str())["model"]
    return model["vocab"], model["merges"]


def write_t5(folder: Path) -> None:
    from lavis.models.blip2_models.modeling_t5 import T5Config, T5ForConditionalGeneration
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import T5TokenizerFast

    vocab, merges = vocabulary()
    raw = Tokenizer(models.BPE(vocab, [tuple(merge.split(" ")) for merge in merges]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    T5TokenizerFast(tokenizer_object=raw, extra_ids=0, unk_token="<s>").save_pretrained(folder)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    special = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = T5Config(vocab_size=len(vocab), feed_forward_proj="gated-gelu", **sizes, **special)
    config.initializer_factor = 3.0
    T5ForConditionalGeneration(config).save_pretrained(folder)


def write_opt(folder: Path) -> None:
    from lavis.models.blip2_models.modeling_opt import OPTConfig, OPTForCausalLM
    from transformers import GPT2Tokenizer

    vocab, merges = vocabulary()
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges))
    special = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    GPT2Tokenizer(*files, add_bos_token=True, **special).save_pretrained(folder)
    sizes = {"hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 32, "num_hidden_layers": 2}
    config = OPTConfig(
        vocab_size=len(vocab), num_attention_heads=2, max_position_embeddings=96, init_std=0.2, **sizes
    )
    OPTForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # LAVIS prints
    said.write(json.dumps(asked_plainly(write(Path(sys.argv[1]).absolute(), sys.argv[2]), sys.argv[3:])))
    said.close()
