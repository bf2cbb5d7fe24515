"""inference.blip2 against transformers' own forward and generate, on tiny random models."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny_blip2
import torch
from PIL import Image

from inference import devices
from inference.blip2 import Answer, Blip2

CARTOON, REAL = "Is this a cartoon?", "Is this photo real?"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads cost more than they give on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("blip2")
    return {language: tiny_blip2.save(root / language, language) for language in ("opt", "t5")}


@pytest.fixture(params=["opt", "t5"])
def folder(folders, request):
    return folders[request.param]


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (20 + i, 16, 3), dtype=np.uint8)) for i in range(5)]


@pytest.fixture
def blip2(folder):
    return Blip2(folder, batch_size=2, device="cpu")


def _stock(folder, picture, prompt, new_tokens, dtype=torch.float32):
    """The first logits and the new text, as transformers' documentation does it: one picture at a time."""
    from transformers import Blip2ForConditionalGeneration, Blip2Processor

    processor = Blip2Processor.from_pretrained(folder, backend="pil")
    net = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
    inputs = processor(images=picture, text=prompt, return_tensors="pt")
    inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    out = net.generate(
        **inputs, max_new_tokens=new_tokens, do_sample=False, output_logits=True, return_dict_in_generate=True
    )
    new = out.sequences
    if net.config.use_decoder_only_language_model:
        new = new[:, -len(out.logits) :]
    return processor.tokenizer, out.logits[0][0], processor.tokenizer.decode(new[0], skip_special_tokens=True)


def _odds(tokenizer, logits):
    """P(yes) / (P(yes) + P(no)); "Ġ" is how byte-level vocabularies write a leading space."""
    chances, ids = logits.float().softmax(-1), tokenizer.convert_tokens_to_ids
    yes, no = (float(chances[ids([word, "Ġ" + word])].sum()) for word in ("yes", "no"))
    return yes / (yes + no)


def test_answers_equal_transformers_own(blip2, folder, pictures):
    answers = blip2.ask_all(pictures, [CARTOON, REAL])
    assert len(answers) == 5 and list(answers[0]) == [CARTOON, REAL]
    for index in (0, 4):
        for question in (CARTOON, REAL):
            prompt = f"Question: {question} Answer:"
            tokenizer, logits, text = _stock(folder, pictures[index], prompt, new_tokens=5)
            assert answers[index][question].score == pytest.approx(_odds(tokenizer, logits), abs=1e-4)
            assert answers[index][question].text == text.strip()


def test_the_answer_depends_on_the_picture_and_the_question(blip2, pictures):
    answers = blip2.ask_all(pictures, [CARTOON, REAL])
    assert len({round(answer[CARTOON].score, 4) for answer in answers}) == 5
    assert sum(abs(answer[CARTOON].score - answer[REAL].score) > 1e-4 for answer in answers) >= 3


def test_captions_equal_transformers_own(blip2, folder, pictures):
    captions = blip2.caption(pictures)
    from transformers import Blip2ForConditionalGeneration, Blip2Processor

    processor = Blip2Processor.from_pretrained(folder, backend="pil")
    net = Blip2ForConditionalGeneration.from_pretrained(folder).eval()
    inputs = processor(images=pictures[1], return_tensors="pt")
    if not net.config.use_decoder_only_language_model:  # transformers wants a BOS, which T5 has not
        inputs["input_ids"] = torch.tensor([[net.config.image_token_index] * tiny_blip2.QUERIES + [2]])
    out = net.generate(**inputs, max_new_tokens=30, do_sample=False)
    assert captions[1] == processor.tokenizer.decode(out[0], skip_special_tokens=True).strip()
    assert "<image>" not in captions[1] and "</s>" not in captions[1]


def test_batches_do_not_change_answers_and_pictures_are_counted_once(folder, blip2, pictures):
    together = Blip2(folder, batch_size=5, device="cpu")
    for one, other in zip(blip2.ask(pictures, REAL), together.ask(pictures, REAL), strict=True):
        assert one.text == other.text and one.score == pytest.approx(other.score, abs=1e-5)
    assert blip2.calls == together.calls == 5
    together.ask_all(pictures, [CARTOON, REAL])
    assert together.calls == 10


def test_one_vision_pass_serves_both_questions_and_prepared_pictures_are_the_same(
    blip2, pictures, monkeypatch
):
    expected = blip2.ask_all(pictures, [CARTOON, REAL])
    passes, tower = [], blip2._loaded.net.get_image_features
    monkeypatch.setattr(
        blip2._loaded.net, "get_image_features", lambda pixels: passes.append(len(pixels)) or tower(pixels)
    )
    assert blip2.ask_all([blip2.prepare(picture) for picture in pictures], [CARTOON, REAL]) == expected
    assert passes == [2, 2, 1]


def test_a_batch_that_does_not_fit_is_halved_and_nothing_is_lost(blip2, folder, pictures, monkeypatch):
    expected = blip2.caption(pictures)
    small, sizes = Blip2(folder, batch_size=4, device="cpu"), []
    features = small._features

    def crowded(batch):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return features(batch)

    monkeypatch.setattr(small, "_features", crowded)
    assert small.caption(pictures) == expected
    assert sizes == [4, 2, 1, 1, 1, 1, 1] and small.batch_size == 1 and small.calls == 5


def test_a_picture_too_large_for_the_memory_is_an_error(blip2, pictures, monkeypatch):
    def full(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(blip2, "_features", full)
    with pytest.raises(MemoryError, match="out of memory with one at a time"):
        blip2.caption(pictures[:1])


def test_without_a_batch_size_it_is_as_large_as_memory_allows(folders, monkeypatch):
    assert Blip2(folders["opt"], device="cpu").batch_size == 16
    cuda = torch.device("cuda")
    for free, fits in ((70 << 30, 256), (5 << 30, 32), (1 << 20, 1)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 80 << 30))
        assert devices.fitting(128 << 20, cuda) == fits


def test_the_score_sums_over_the_ways_to_write_yes_and_no(folders, monkeypatch, pictures):
    """P(yes) 0.1 + 0.2, P(no) 0.05 + 0.05, the rest elsewhere: 0.3 / 0.4, whatever the greedy word is."""
    blip2 = Blip2(folders["opt"], device="cpu")
    (yes, other_yes), (no, other_no) = blip2._loaded.yes, blip2._loaded.no
    chances = torch.full((1, len(blip2._loaded.processor.tokenizer)), 1e-9)
    chances[0, [yes, other_yes, no, other_no, 50]] = torch.tensor([0.1, 0.2, 0.05, 0.05, 0.6])
    out = SimpleNamespace(logits=[chances.log()], sequences=torch.tensor([[50, 2]]))
    monkeypatch.setattr(blip2, "_generate", lambda *args, **kwargs: out)
    text, score = blip2.ask(pictures[:1], CARTOON)[0]
    assert score == pytest.approx(0.75) and text == blip2._loaded.processor.tokenizer.decode([50])


def test_logits_that_are_no_numbers_are_an_error(folders, monkeypatch, pictures):
    blip2 = Blip2(folders["opt"], device="cpu")
    out = SimpleNamespace(logits=[torch.full((1, 400), torch.nan)], sequences=torch.tensor([[50]]))
    monkeypatch.setattr(blip2, "_generate", lambda *args, **kwargs: out)
    with pytest.raises(FloatingPointError, match="float32"):
        blip2.ask(pictures[:1], CARTOON)


def test_no_pictures_and_no_questions(blip2, pictures):
    assert blip2.ask([], CARTOON) == [] and blip2.caption([]) == []
    assert blip2.ask_all(pictures[:2], []) == [{}, {}]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_gives_what_transformers_gives_at_that_precision(folder, pictures, precision):
    """Not "near float32": on random weights a rounding may turn an answer; transformers' does too."""
    answers = Blip2(folder, batch_size=1, device="cpu", precision=precision).ask(pictures[:3], CARTOON)
    for picture, answer in zip(pictures, answers, strict=False):
        prompt = f"Question: {CARTOON} Answer:"
        tokenizer, logits, _ = _stock(folder, picture, prompt, new_tokens=1, dtype=getattr(torch, precision))
        assert answer.score == pytest.approx(_odds(tokenizer, logits), abs=1e-2)


def test_beams_change_captions_only_by_fingerprint_and_search(folders, pictures):
    greedy, beams = (Blip2(folders["opt"], device="cpu", beams=n) for n in (1, 3))
    assert greedy.fingerprint != beams.fingerprint
    assert len(beams.caption(pictures[:2])) == 2
    assert beams.ask(pictures[:1], REAL)[0] == greedy.ask(pictures[:1], REAL)[0]


def test_the_fingerprint_loads_no_model(folder, blip2):
    assert blip2.fingerprint == Blip2(str(folder), batch_size=7).fingerprint
    assert blip2.fingerprint != Blip2(folder, precision="float16").fingerprint
    assert "_loaded" not in vars(blip2)


def test_a_tokenizer_without_yes_and_no_is_refused(tmp_path, pictures):
    words = tiny_blip2.tokenizer(texts=["abc abd"], size=262, add_bos_token=True)
    tiny_blip2.save(tmp_path, words=words)
    with pytest.raises(ValueError, match=r"none of .*yes.* as one token"):
        Blip2(tmp_path, device="cpu").ask(pictures, CARTOON)


def test_an_answer_is_a_text_and_a_score():
    text, score = Answer("yes", 0.9)
    assert (text, score) == ("yes", 0.9)
