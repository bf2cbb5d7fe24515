"""Guidance by text and AUs apart: its formula, by hand and in a pipeline's loop."""

from types import SimpleNamespace

import pytest
import torch
from tiny_adapter import CONFIG, shuffled
from tiny_diffusion import write_base
from torch import nn

from inference import adapter as au_adapter
from inference import guidance
from inference.pipeline import FineFacePipeline

AUS = [{"AU12": 4, "AU6": 2}, {"AU4": 5}]


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guidance")
    au_adapter.save(shuffled(CONFIG), folder / "adapter")
    made = FineFacePipeline.from_pretrained(write_base(folder / "base"), adapter=folder / "adapter")
    made.set_progress_bar_config(disable=True)
    return made


def draw(pipe, rows=(0, 1), aus=AUS, **kwargs):
    said = {"guidance_scale": 5.0, "num_inference_steps": 3, "output_type": "latent"} | kwargs
    return pipe(
        ["a man", "a young woman in the park"][rows[0] : rows[-1] + 1],
        aus=[aus[row] for row in rows],
        generator=[torch.Generator().manual_seed(row) for row in rows],
        height=16,
        width=16,
        **said,
    ).images


class Answering(nn.Module):
    """Answers 1 to nothing, 3 to a text, and 8 to a text with AUs."""

    def forward(self, latents, timestep, text, added_cond_kwargs, return_dict=True):
        aus = added_cond_kwargs["image_embeds"][-1].flatten(1).any(dim=1)
        said = torch.where(text.flatten(1).any(dim=1), 3.0, 1.0) + 5.0 * aus
        return (said.view(-1, 1, 1, 1).expand_as(latents),)


@pytest.mark.parametrize(
    ("scale", "text_scale", "expected"),
    [
        (5.0, 2.0, 1 + 2 * (3 - 1) + 5 * (8 - 3)),
        (2.0, 6.0, 1 + 6 * (3 - 1) + 2 * (8 - 3)),
        (4.0, 1.0, 3 + 4 * (8 - 3)),
        (3.0, 3.0, 1 + 3 * (8 - 1)),
        (3.0, None, 1 + 3 * (8 - 1)),
    ],
)
def test_the_formula_by_hand(scale, text_scale, expected):
    unet = Answering()
    pipe = SimpleNamespace(unet=unet, guidance_scale=scale, do_classifier_free_guidance=True)
    nothing, text, aus = torch.zeros(2, 5, 6), torch.ones(2, 5, 6), torch.full((2, 1, 12), 0.5)
    added = {"image_embeds": [torch.cat([torch.zeros_like(aus), aus])]}
    with guidance.apart(pipe, text_scale):
        latents = torch.zeros(4, 1, 2, 2)
        (said,) = unet(latents, 7, torch.cat([nothing, text]), added_cond_kwargs=added, return_dict=False)
    unconditional, conditional = said.chunk(2)  # as in every pipeline of diffusers
    guided = unconditional + scale * (conditional - unconditional)
    torch.testing.assert_close(guided, torch.full((2, 1, 2, 2), float(expected)))
    assert not unet._forward_hooks and not unet._forward_pre_hooks


def test_a_pipeline_steps_along_the_formula(pipe, monkeypatch):
    """The first step's prediction, beside the UNet asked for each branch by itself; one call a step."""
    stepped, calls = [], []
    step = pipe.scheduler.step
    monkeypatch.setattr(
        pipe.scheduler, "step", lambda said, *more, **kw: (stepped.append(said), step(said, *more, **kw))[1]
    )
    counting = pipe.unet.conv_in.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    draw(pipe, guidance_scale=5.0, text_guidance_scale=2.0)
    counting.remove()
    assert calls == [6, 6, 6]
    noise = torch.cat([torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(r)) for r in (0, 1)])
    latents = pipe.scheduler.scale_model_input(noise * pipe.scheduler.init_noise_sigma, 0)
    text, nothing = pipe.encode_prompt(["a man", "a young woman in the park"], "cpu", 1, True)
    vectors = torch.tensor([[0, 0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0], [0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0.0]])

    def said(embeds, aus):
        added = {"image_embeds": [aus.unsqueeze(1)]}
        with torch.no_grad():
            return pipe.unet(latents, pipe.scheduler.timesteps[0], embeds, added_cond_kwargs=added).sample

    empty, told, both = said(nothing, 0 * vectors), said(text, 0 * vectors), said(text, vectors)
    expected = empty + 2 * (told - empty) + 5 * (both - told)
    torch.testing.assert_close(stepped[0], expected, atol=1e-4, rtol=1e-4)


def test_with_equal_scales_it_is_the_ordinary_guidance(pipe):
    assert torch.equal(draw(pipe, text_guidance_scale=5.0), draw(pipe))
    close = draw(pipe, text_guidance_scale=5.0 + 1e-6)
    torch.testing.assert_close(close, draw(pipe), atol=1e-3, rtol=1e-3)
    assert (draw(pipe, text_guidance_scale=2.0) - draw(pipe)).abs().max() > 1e-2


def test_without_aus_only_the_texts_scale_counts(pipe):
    """The AUs' direction is none there."""
    neutral = [{}, {}]
    apart = draw(pipe, aus=neutral, text_guidance_scale=3.0)
    torch.testing.assert_close(apart, draw(pipe, aus=neutral, guidance_scale=3.0), atol=1e-4, rtol=1e-4)


def test_batched_equals_one_by_one(pipe):
    batched = draw(pipe, text_guidance_scale=2.0)
    for row in (0, 1):
        alone = draw(pipe, (row,), text_guidance_scale=2.0)[0]
        torch.testing.assert_close(batched[row], alone, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_guided_apart_is_refused(pipe):
    with pytest.raises(ValueError, match=r"that of the AUs then, above 1, not 1"):
        draw(pipe, guidance_scale=1.0, text_guidance_scale=3.0)
    assert not pipe.unet._forward_hooks, "also after an error"
    plain = FineFacePipeline.over(pipe.stock)(**(pipe.components | {"unet": shuffled_away(pipe)}))
    with pytest.raises(ValueError, match="text_guidance_scale was given, but no adapter is loaded"):
        plain("a man", text_guidance_scale=3.0)


def shuffled_away(pipe):
    """A UNet of the same shape without an adapter."""
    return type(pipe.unet).from_config({**pipe.unet.config, "encoder_hid_dim_type": None})
