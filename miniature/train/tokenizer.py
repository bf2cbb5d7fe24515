"""The miniature's text tokenizer: a small byte-pair vocabulary in CLIP's manner."""

from __future__ import annotations

from pathlib import Path

from facs import NAMES

MAXIMUM_TOKENS = 40
_END, _START = "<|endoftext|>", "<|startoftext|>"


def train(captions: list[str], folder: Path, vocabulary: int = 600):
    """Learn the vocabulary from captions, AU names and the QA questions; save a CLIPTokenizer in `folder`."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    names = [f"{name.lower()} {level}" for name in NAMES.values() for level in range(6)]
    questions = ["Question: Is this a cartoon? Answer: yes", "Question: Is this photo real? Answer: no"]
    learner = Tokenizer(models.BPE(unk_token=_END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z]+|[0-9]|[^\sa-z0-9]+"), "removed", invert=True)
    learner.train_from_iterator(
        [*captions, *((names + questions) * 50)],
        trainers.BpeTrainer(
            vocab_size=vocabulary, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    vocab_file, merges_file = (Path(path) for path in learner.model.save(str(folder)))
    merges = [
        tuple(line.split(" "))
        for line in merges_file.read_text().splitlines()
        if line and not line.startswith("#")
    ]
    ranks = {
        token: rank
        for rank, token in enumerate(sorted(learner.get_vocab(), key=learner.get_vocab().__getitem__))
    }
    for token in (*letters, *(letter + "</w>" for letter in letters), _START, _END):
        ranks.setdefault(token, len(ranks))
    vocab_file.unlink()
    merges_file.unlink()
    tokenizer = CLIPTokenizer(vocab=ranks, merges=merges, model_max_length=MAXIMUM_TOKENS, pad_token=_END)
    tokenizer.save_pretrained(folder)
    return tokenizer


def load(folder: Path):
    """The tokenizer saved in `folder`."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)


def encode(tokenizer, texts: list[str]):
    """Token ids [N, 40], padded with the end token as Stable Diffusion does."""
    return tokenizer(
        texts, padding="max_length", truncation=True, max_length=MAXIMUM_TOKENS, return_tensors="pt"
    ).input_ids
