"""BLIP-2: yes/no questions about a picture, with a score, and captions. Thresholds live in `curation/`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from inference import devices
from inference.abilities import Answer
from inference.pretrained import Pretrained
from store.hashing import fingerprint

if TYPE_CHECKING:
    import torch
    from PIL import Image

CODE_VERSION = "3"
PROMPT = "Question: {question} Answer:"
ANSWER_TOKENS = 5
CAPTION_TOKENS = 30
YES = (" yes", "yes", " Yes", "Yes", " YES", "YES")
NO = (" no", "no", " No", "No", " NO", "NO")
# Activations and attention cache of one picture in bfloat16, generously; a guess too high is halved.
PICTURE_BYTES = 128 << 20


class Blip2(Pretrained):
    """`Blip2ForConditionalGeneration` from a hub id or a local folder; OPT and T5 language models alike.

    The Q-Former does not see the prompt, so an image passes the vision tower and the Q-Former once for all
    questions; every row of a batch has the same prompt, so nothing is padded. `beams` affects captions only
    (the original library captions with 5, transformers with 1). `batch_size` None is as many as fit.
    """

    def __init__(
        self,
        model: str | os.PathLike,
        revision: str | None = None,
        precision: str = "float32",
        batch_size: int | None = None,
        device: str = "auto",
        beams: int = 1,
    ):
        super().__init__(model, revision, precision, device)
        self.beams, self._batch_size = beams, batch_size

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides an answer or a caption, the prompt aside. Loads no model."""
        return fingerprint(
            kind="blip2",
            code=CODE_VERSION,
            **self.identity,
            precision=self.precision,
            beams=self.beams,
            tokens=[ANSWER_TOKENS, CAPTION_TOKENS],
            template=PROMPT,
        )

    @property
    def batch_size(self) -> int:
        """Images a forward pass; without one given the model is loaded to see how many fit beside it."""
        if self._batch_size is None:
            self._batch_size = devices.fitting(PICTURE_BYTES, self._loaded.device)
        return self._batch_size

    @property
    def side(self) -> int:
        """The longer side of the vision tower's input."""
        return max(dict(self._processor.image_processor.size).values())

    @cached_property
    def prepare(self) -> Callable[[Image.Image], torch.Tensor]:
        """Picture → pixels [3, side, side], as the model's own processor makes them; safe in threads."""
        images = self._processor.image_processor
        return lambda picture: images(picture, return_tensors="pt").pixel_values[0]

    def ask(self, pictures: Sequence[Any], question: str) -> list[Answer]:
        """One Answer a picture, in order."""
        return [answers[question] for answers in self.ask_all(pictures, [question])]

    def ask_all(self, pictures: Sequence[Any], questions: Iterable[str]) -> list[dict[str, Answer]]:
        """Every question about every picture (or what `prepare` made of it): a dict question → Answer a
        picture, in order."""
        questions = list(questions)

        def read(batch: Sequence[Any]) -> list[dict[str, Answer]]:
            features = self._features(batch)
            answers = [self._answer(features, PROMPT.format(question=question)) for question in questions]
            return [dict(zip(questions, (a[i] for a in answers), strict=True)) for i in range(len(batch))]

        return self._in_batches(read, pictures)

    def caption(self, pictures: Sequence[Any]) -> list[str]:
        """One caption a picture (or what `prepare` made of it), in order, without a prompt (paper,
        supplement)."""

        def read(batch: Sequence[Any]) -> list[str]:
            prompt = self._loaded.caption_prompt
            out = self._generate(self._features(batch), prompt, CAPTION_TOKENS, num_beams=self.beams)
            return self._decode(out.sequences)

        return self._in_batches(read, pictures)

    def _in_batches(self, read: Callable[[Sequence[Any]], list], pictures: Sequence[Any]) -> list:
        if not pictures:
            return []
        answers, self._batch_size = devices.halving(read, pictures, self.batch_size)
        self.calls += len(answers)
        return answers

    @cached_property
    def _processor(self):
        from transformers import Blip2Processor

        return Blip2Processor.from_pretrained(self.folder, backend="pil", local_files_only=True)

    @cached_property
    def _loaded(self) -> _Loaded:
        return _Loaded(self.folder, self._processor, devices.pick(self.device), devices.dtype(self.precision))

    def _features(self, batch: Sequence[Any]) -> torch.Tensor:
        """Pictures → [N, query tokens, language width]."""
        import torch

        model = self._loaded
        pixels = torch.stack([one if isinstance(one, torch.Tensor) else self.prepare(one) for one in batch])
        with torch.inference_mode():
            return model.net.get_image_features(pixels.to(model.device, model.dtype)).pooler_output

    def _answer(self, features: torch.Tensor, prompt: str) -> list[Answer]:
        """The first token's yes/no odds and the greedy text, for one prompt over a batch."""
        model = self._loaded
        tokens = model.processor.tokenizer(prompt).input_ids
        out = self._generate(features, tokens, ANSWER_TOKENS, output_logits=True)
        logits = out.logits[0].float()
        odds = logits[:, model.yes].logsumexp(-1) - logits[:, model.no].logsumexp(-1)
        scores = odds.sigmoid().tolist()
        if not all(map(math.isfinite, scores)):
            raise FloatingPointError(f"{self.model} gave logits that are no numbers in {self.precision}")
        return [Answer(text, score) for text, score in zip(self._decode(out.sequences), scores, strict=True)]

    def _generate(self, features: torch.Tensor, tokens: list[int], new_tokens: int, **settings):
        """Features in front of the prompt, as embeddings: then OPT too returns only what it adds."""
        import torch

        model = self._loaded
        with torch.inference_mode():
            ids = torch.tensor([tokens], device=features.device).expand(len(features), -1)
            embeds = model.net.get_input_embeddings()(ids)
            embeds = torch.cat([features.to(embeds.dtype), embeds], dim=1)
            return model.net.language_model.generate(
                inputs_embeds=embeds,
                attention_mask=embeds.new_ones(embeds.shape[:2], dtype=torch.long),
                max_new_tokens=new_tokens,
                do_sample=False,
                return_dict_in_generate=True,
                pad_token_id=model.pad,
                **settings,
            )

    def _decode(self, sequences: torch.Tensor) -> list[str]:
        tokenizer = self._loaded.processor.tokenizer
        return [text.strip() for text in tokenizer.batch_decode(sequences, skip_special_tokens=True)]


class _Loaded:
    """Network and processor, and what the tokenizer calls yes, no, padding and an empty prompt."""

    def __init__(self, folder: os.PathLike, processor: Any, device: torch.device, dtype: torch.dtype):
        from transformers import Blip2ForConditionalGeneration

        self.device, self.dtype, self.processor = device, dtype, processor
        net = Blip2ForConditionalGeneration.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True
        )
        self.net = net.to(device).eval()
        tokenizer = self.processor.tokenizer
        self.yes, self.no = _single_tokens(tokenizer, YES), _single_tokens(tokenizer, NO)
        text = net.config.text_config
        # As Blip2ForConditionalGeneration.generate begins a caption; T5 configurations may have no BOS.
        begin = getattr(text, "bos_token_id", None)
        self.caption_prompt = [begin] if begin is not None else tokenizer("").input_ids
        pads = (text.pad_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
        self.pad = next((token for token in pads if token is not None), 0)


def _single_tokens(tokenizer, words: Iterable[str]) -> list[int]:
    """Ids of the words that the tokenizer writes as one token; ValueError if it has none."""
    found = (tokenizer(word, add_special_tokens=False).input_ids for word in words)
    ids = sorted({tokens[0] for tokens in found if len(tokens) == 1 and tokens[0] != tokenizer.unk_token_id})
    if not ids:
        raise ValueError(f"the tokenizer writes none of {list(words)} as one token: no yes/no score from it")
    return ids
