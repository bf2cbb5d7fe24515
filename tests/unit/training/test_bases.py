"""Bases of other kinds: the adapter takes its width, and the training what else is told, from the base."""

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from tiny_diffusion import POOLED, write_base, write_xl_base
from tiny_training import hold_out, make_job, write_dataset

from inference import adapter as au_adapter
from inference import texts
from inference.generation import Generator, base_content, base_folder
from inference.pipeline import FineFacePipeline
from inference.weights import ModelNotFound, pipeline_parts
from methods.model import Batch
from training.job import JobError
from training.loop import train

BASES = {
    # as Stable Diffusion 1.5: projections by convolution, the noise is predicted
    "sd15": (lambda at: write_base(at, "epsilon", 768, use_linear_projection=False), 768),
    "sd21": (lambda at: write_base(at, "v_prediction", 1024, attention_head_dim=(2, 4)), 1024),
    "sdxl": (lambda at: write_xl_base(at, (768, 1280)), 2048),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return hold_out(write_dataset(tmp_path_factory.mktemp("data") / "data"))


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    return write_xl_base(tmp_path_factory.mktemp("xl") / "base")


@pytest.mark.parametrize("kind", BASES)
def test_each_kind_of_base_is_trained_and_drawn_with(kind, data, tmp_path):
    write, width = BASES[kind]
    base = write(tmp_path / "base")
    job = make_job(base, data, tmp_path / "out", steps=2, validate_every=2, sample_every=2)
    assert train(job)
    model = tmp_path / "out" / "model"
    record = au_adapter.read_record(model)
    assert record["cross_attention_dim"] == width
    assert (tmp_path / "out" / "samples" / "step-00000002.png").is_file()
    generator = Generator(
        base,
        install=lambda pipe: pipe.load_adapter(model),
        model_hash="any",
        size=16,
        steps=2,
        device="cpu",
    )
    smiling = [0.0] * 6 + [5.0] + [0.0] * 5
    pictures = generator.generate(["a man"] * 2, [[0.0] * 12, smiling], [1, 1], 3.0)
    neutral, smile = (np.asarray(picture).astype(int) for picture in pictures)
    assert neutral.shape == (16, 16, 3) and (neutral != smile).any()


def test_a_base_that_lies_in_half_precision_is_trained_in_float32(data, tmp_path):
    base = write_base(tmp_path / "base")
    StableDiffusionPipeline.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(base)
    assert train(make_job(base, data, tmp_path / "out", steps=1))


def test_training_tells_sdxl_what_drawing_does(xl):
    """The same embeddings, pooled texts and sizes; zeros where the pipeline has them for the empty text."""
    pipe = FineFacePipeline.from_pretrained(xl)
    pipe.set_progress_bar_config(disable=True)
    seen = []
    pipe.unet.register_forward_pre_hook(lambda module, args, said: seen.append(said), with_kwargs=True)
    pipe(["a man", "black hair"], num_inference_steps=1, height=16, width=16, output_type="latent")
    said = texts.encode(pipe, ["", "", "a man", "black hair"], torch.device("cpu"))
    added = texts.added_conditions(pipe, said, (8, 8))
    torch.testing.assert_close(said.tokens, seen[0]["encoder_hidden_states"])
    assert not said.tokens[:2].any() and not added["text_embeds"][:2].any()
    assert added["text_embeds"].shape == (4, POOLED)
    for name in ("text_embeds", "time_ids"):
        torch.testing.assert_close(added[name], seen[0]["added_cond_kwargs"][name])
    assert added["time_ids"][0].tolist() == [16, 16, 0, 0, 16, 16]


def test_parts_of_a_batch_take_their_rows_of_all_conditions():
    rows = torch.arange(5.0)
    batch = Batch(rows, rows, rows, rows, rows, {"text_embeds": rows, "time_ids": rows + 10})
    parts = batch.parts(2)
    assert [len(part.latents) for part in parts] == [2, 2, 1]
    assert parts[1].added["time_ids"].tolist() == [12, 13] and parts[2].aus.tolist() == [4]


def test_the_content_of_a_base_holds_all_its_parts(xl):
    assert set(pipeline_parts(xl).models) == {"unet", "vae", "text_encoder", "text_encoder_2"}
    assert set(pipeline_parts(xl).small) == {"tokenizer", "tokenizer_2", "scheduler"}
    before = base_content(xl)
    config = xl / "text_encoder_2" / "config.json"
    text = config.read_text()
    try:
        config.write_text(text.replace('"hidden_act": "quick_gelu"', '"hidden_act": "gelu"'))
        assert base_content(xl) != before
        config.unlink()
        with pytest.raises(ModelNotFound, match=r"text_encoder_2 holds no config\.json"):
            base_folder(xl)
    finally:
        config.write_text(text)


def test_a_base_with_shifted_latents_is_refused(xl, data, tmp_path):
    import json
    import shutil

    base = shutil.copytree(xl, tmp_path / "base")
    config = base / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"latents_mean": [0, 0, 0, 0]}))
    with pytest.raises(JobError, match="latents_mean"):
        train(make_job(base, data, tmp_path / "out"))
