"""BLIP-2 from the package LAVIS, run by the python of the environment `lavis`: yes/no answers, and captions.

What a worker is lives in `answering.py`; which model and weights, in `inference.lavis`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import answering

ANSWER_TOKENS, CAPTION_TOKENS, BEAMS = 10, 30, 5  # LAVIS' own defaults
PICTURE_BYTES = 256 << 20
SIDE = 364  # the largest input of LAVIS' vision towers, in pixels
YES = ("yes", "Yes", "YES", " yes", " Yes", " YES")
NO = ("no", "No", "NO", " no", " No", " NO")
LANGUAGE_MODELS = {"blip2_t5": "t5_model", "blip2_opt": "opt_model"}
FROZEN = ("visual_encoder.", "t5_model.", "opt_model.")  # their weights come from files of their own
VISION_WEIGHTS = {"eva_clip_g": "eva_vit_g.pth", "clip_L": "clip_vit_L.pth"}
BERT = "bert-base-uncased"
# Imported when LAVIS is, called by its other models, data sets and metrics alone; not in the environment.
OTHERS = (
    "cv2",
    "decord",
    "fairscale.nn.checkpoint.checkpoint_activations",
    "iopath.common.download",
    "iopath.common.file_io",
    "pycocoevalcap.eval",
    "pycocotools.coco",
    "spacy",
    "webdataset",
)


def load(settings: Mapping[str, Any], log: Callable[[str], None]) -> answering.Reader:
    """Of each request, in order, `caption`, or `<name>_answer` and `<name>_score` of each of the settings'
    `questions`; `problem` for a picture that does not decode."""
    from inference import devices, images

    here = Path.cwd()  # the model changes the folder
    model = Blip2(settings["model"], Path(settings["weights"]), settings["precision"])
    log(
        f"LAVIS {version('salesforce-lavis')}: {settings['model']} on {model.device}, {settings['precision']}"
    )
    questions = settings.get("questions")
    batch_size = settings.get("batch_size") or devices.fitting(PICTURE_BYTES, model.device)

    def ask(pictures: Sequence[Any]) -> list[dict[str, Any]]:
        return model.captions(pictures) if questions is None else model.answers(pictures, questions)

    read = devices.in_fitting_batches(ask, batch_size)

    def answers(requests: list[answering.Request]) -> Iterator[answering.Answer]:
        requests = [{**request, "path": str(here / request["path"])} for request in requests]
        return images.rows_ahead(requests, read, batch_size, model.prepare, SIDE)

    return answers


class Blip2:
    """A `Blip2T5` or `Blip2OPT` as `load_model_and_preprocess` gives it, from the files in `folder` alone.

    `model` is LAVIS' name and type, as in blip2_t5/pretrain_flant5xl; a YAML file `<type>.yaml` in `folder`
    comes before the one that LAVIS ships. Raises ValueError for an unknown model, FileNotFoundError naming
    all that `folder` lacks.
    """

    def __init__(self, model: str, folder: Path, precision: str):
        name, _, kind = model.partition("/")
        if name not in LANGUAGE_MODELS:
            raise ValueError(f"model {model!r}: {' or '.join(LANGUAGE_MODELS)} is expected before the '/'")
        prepare_import()
        os.chdir(folder)  # what LAVIS asks of the hub by name is then found as a folder here
        import torch
        from lavis.common.registry import registry
        from lavis.models import load_model_and_preprocess

        genuine = registry.get_model_class(name)
        configuration = _configuration(genuine, model, kind, folder)
        take_from(folder, configuration)
        with bridge_found(genuine):
            device = "cuda" if torch.cuda.is_available() else "cpu"
            if precision == "mixed" and device == "cpu":
                raise ValueError("precision mixed: LAVIS needs a CUDA device for it; say float32")
            # On its way through "cpu" LAVIS makes every weight a float32.
            self.net, processors, _ = load_model_and_preprocess(
                name, kind, is_eval=True, device=device if precision == "mixed" else "cpu"
            )
        if precision == "float32":
            self.net.maybe_autocast = lambda dtype=None: contextlib.nullcontext()
        self.net.to(device)
        self.device = torch.device(device)
        self.prepare = processors["eval"]
        self.language = getattr(self.net, LANGUAGE_MODELS[name])
        self.tokenizer = self.net.t5_tokenizer if name == "blip2_t5" else self.net.opt_tokenizer
        self.yes, self.no = _single_tokens(self.tokenizer, YES), _single_tokens(self.tokenizer, NO)
        self._ask = self._ask_t5 if name == "blip2_t5" else self._ask_opt
        once(self.net.visual_encoder)

    def answers(self, pictures: Sequence[Any], questions: Mapping[str, str]) -> list[dict[str, Any]]:
        """`<name>_answer`, verbatim, and `<name>_score`, P(yes) / (P(yes) + P(no)) of its first token 0-1, of
        every question; a picture passes the vision tower once for all of them."""
        image = self._stacked(pictures)
        rows: list[dict[str, Any]] = [{} for _ in pictures]
        for name, prompt in questions.items():
            texts, scores = self._asked(image, prompt)
            for row, text, score in zip(rows, texts, scores, strict=True):
                row |= {f"{name}_answer": text.strip(), f"{name}_score": score}
        return rows

    def captions(self, pictures: Sequence[Any]) -> list[dict[str, Any]]:
        """`caption` of each picture, without a prompt (paper, supplement), as LAVIS searches for it."""
        samples = {"image": self._stacked(pictures), "prompt": ""}
        texts = self.net.generate(samples, num_beams=BEAMS, max_length=CAPTION_TOKENS)
        return [{"caption": text.strip()} for text in texts]

    def _stacked(self, pictures: Sequence[Any]) -> Any:
        import torch

        return torch.stack(list(pictures)).to(self.device)

    def _asked(self, image: Any, prompt: str) -> tuple[list[str], list[float]]:
        """LAVIS' own answers; the scores from what it hands to its language model, seen on the way."""
        import torch

        seen: list[torch.Tensor] = []
        genuine = self.language.generate

        def generate(**given: Any) -> Any:
            seen.append(self._first_logits(given).float())
            return genuine(**given)

        self.language.generate = generate
        try:
            with torch.no_grad():
                texts = self._ask(image, prompt)
        finally:
            self.language.generate = genuine
        odds = seen[0][:, self.yes].logsumexp(-1) - seen[0][:, self.no].logsumexp(-1)
        if not odds.isfinite().all():
            raise FloatingPointError("LAVIS gave logits that are no numbers")
        return texts, odds.sigmoid().tolist()

    def _ask_t5(self, image: Any, prompt: str) -> list[str]:
        samples = {"image": image, "text_input": [prompt] * len(image)}
        return self.net.predict_answers(samples, num_beams=BEAMS, max_len=ANSWER_TOKENS)

    def _ask_opt(self, image: Any, prompt: str) -> list[str]:
        # Blip2OPT of LAVIS 1.0.2 has no predict_answers: its generate with the question as the prompt.
        samples = {"image": image, "prompt": prompt}
        return self.net.generate(samples, num_beams=BEAMS, max_length=ANSWER_TOKENS)

    def _first_logits(self, given: Mapping[str, Any]) -> Any:
        """[N, vocabulary]: of the first token that `generate(**given)` is to choose."""
        import torch

        mask = given["attention_mask"]
        if "inputs_embeds" in given:
            start = self.language.config.decoder_start_token_id
            begin = torch.full((len(mask), 1), start, dtype=torch.long, device=mask.device)
            embeds = given["inputs_embeds"]
            out = self.language(inputs_embeds=embeds, attention_mask=mask, decoder_input_ids=begin)
            return out.logits[:, 0]
        # Blip2OPT repeats the picture's part for each beam before it calls.
        queries = given["query_embeds"][::BEAMS]
        out = self.language(input_ids=given["input_ids"], query_embeds=queries, attention_mask=mask)
        return out.logits[:, -1]


def prepare_import() -> None:
    """LAVIS can then be imported in its environment, and asks no hub."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    import transformers  # noqa: F401  (it looks around for packages: before there are placeholders)

    for name in OTHERS:
        sys.modules.setdefault(name, MagicMock())


def _configuration(genuine: Any, model: str, kind: str, folder: Path) -> Mapping[str, Any]:
    """The model's part of its YAML file; `folder` may hold one of its own."""
    from omegaconf import OmegaConf

    known = genuine.PRETRAINED_MODEL_CONFIG_DICT
    if (own := folder / f"{kind}.yaml").is_file():
        genuine.PRETRAINED_MODEL_CONFIG_DICT = known = {**known, kind: str(own)}
    if kind not in known:
        raise ValueError(f"model {model!r}: LAVIS has {', '.join(known)}, and {own} is no file")
    return OmegaConf.to_container(OmegaConf.load(genuine.default_config_path(kind)))["model"]


def take_from(folder: Path, configuration: Mapping[str, Any]) -> None:
    """Let LAVIS find in `folder` what it would download, by the names of its files."""
    checkpoint = configuration["finetuned" if configuration.get("load_finetuned", True) else "pretrained"]
    hub = "the Hugging Face hub"
    wanted = {
        Path(checkpoint).name: checkpoint,
        VISION_WEIGHTS[configuration.get("vit_model", "eva_clip_g")]: "LAVIS' model zoo",
        BERT: hub,
        configuration.get("t5_model") or configuration["opt_model"]: hub,
    }
    if absent := [
        f"{name} (from {source})" for name, source in wanted.items() if not (folder / name).exists()
    ]:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(absent)}; docs/annotators.md says how it is filled"
        )
    import timm.models.hub
    from lavis.models import eva_vit

    timm.models.hub.get_cache_dir = lambda *_: str(folder)
    timm.models.hub.download_cached_file = lambda url, *_, **__: str(folder / Path(url).name)
    if sizes := configuration.get("vision"):  # an EVA tower of other sizes than the published one
        tower = eva_vit.VisionTransformer
        eva_vit.VisionTransformer = lambda **given: tower(**{**given, **sizes})


@contextlib.contextmanager
def bridge_found(genuine: Any) -> Iterator[None]:
    """LAVIS loads checkpoints leniently; a weight of the bridge that one lacks would stay random, unsaid."""
    lenient = genuine.load_state_dict

    def load(self: Any, state: Mapping[str, Any], strict: bool = True) -> Any:
        found = lenient(self, state, strict=False)
        bridge = {name for name, _ in self.named_parameters()} & set(found.missing_keys)
        lost = sorted(name for name in bridge if not name.startswith(FROZEN))
        if lost:
            raise ValueError(
                f"the checkpoint has no weights for {', '.join(lost[:5])}: is it another model's?"
            )
        return found

    genuine.load_state_dict = load
    try:
        yield
    finally:
        del genuine.load_state_dict


def once(module: Any) -> None:
    """Let `module` answer with its last output when it is given the very same tensor again."""
    forward, last = module.forward, [None, None]

    def remembering(pixels: Any) -> Any:
        if last[0] is not pixels:
            last[:] = [pixels, forward(pixels)]
        return last[1]

    module.forward = remembering


def _single_tokens(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """Ids of the words that the tokenizer writes as one token; ValueError if it has none."""
    found = (tokenizer(word, add_special_tokens=False).input_ids for word in words)
    ids = sorted({tokens[0] for tokens in found if len(tokens) == 1 and tokens[0] != tokenizer.unk_token_id})
    if not ids:
        raise ValueError(f"the tokenizer writes none of {list(words)} as one token: no yes/no score from it")
    return ids


if __name__ == "__main__":
    answering.serve(load)
