"""The adapter on FLUX: what it computes, that it trains, draws row by row, and comes back as it was."""

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
)
from tiny_diffusion import POOLED, WIDTH, make_vae

from inference import adapter as au_adapter
from inference import lora
from inference.adapter import AdapterConfig, AdapterError
from inference.flux import FineFaceFluxPipeline
from inference.networks import text_attentions

CONFIG = AdapterConfig(rank=4, alpha=1)
AUS = [{"AU12": 5}, None, {"AU4": 3, "AU1": -1}]


def make_transformer():
    torch.manual_seed(3)
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=2,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=POOLED,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )


def shuffled():
    """A transformer whose adapter looks trained."""
    transformer = make_transformer()
    au_adapter.install(transformer, CONFIG)
    generator = torch.Generator().manual_seed(11)
    for parameter in au_adapter.adapter_parameters(transformer).values():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return transformer


def make_pipe(transformer):
    pipe = FineFaceFluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=make_vae(),
        transformer=transformer,
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def texts(rows):
    generator = torch.Generator().manual_seed(1)
    tokens, pooled = (
        torch.randn(3, 12, WIDTH, generator=generator),
        torch.randn(3, POOLED, generator=generator),
    )
    return tokens[list(rows)], pooled[list(rows)]


def draw(pipe, rows=(0, 1, 2), aus=AUS, **kwargs):
    tokens, pooled = texts(rows)
    generators = [torch.Generator().manual_seed(50 + row) for row in rows]
    return pipe(
        prompt_embeds=tokens,
        pooled_prompt_embeds=pooled,
        aus=None if aus is None else [aus[row] for row in rows],
        generator=generators,
        num_inference_steps=3,
        height=16,
        width=16,
        output_type="latent",
        **kwargs,
    ).images


def predict(transformer, latents, timesteps, aus, rows):
    tokens, pooled = texts(rows)
    places = torch.zeros(16, 3)
    places[:, 1], places[:, 2] = torch.arange(16) // 4, torch.arange(16) % 4
    return transformer(
        hidden_states=latents,
        encoder_hidden_states=tokens,
        pooled_projections=pooled,
        timestep=timesteps,
        guidance=torch.ones(len(latents)),
        img_ids=places,
        txt_ids=torch.zeros(12, 3),
        joint_attention_kwargs={"ip_adapter_image_embeds": [aus.unsqueeze(1)]},
        return_dict=False,
    )[0]


def test_au_keys_and_values_start_as_what_the_text_passes():
    transformer = make_transformer()
    au_adapter.install(transformer, CONFIG)
    attentions = text_attentions(transformer)
    assert len(attentions) == 2, "the double-stream blocks"
    text = torch.randn(5, WIDTH)
    for attention in attentions.values():
        entered = transformer.context_embedder(text)
        for own, texts_own in (("to_k_ip", "add_k_proj"), ("to_v_ip", "add_v_proj")):
            ours = getattr(attention.processor, own)[0](text)
            torch.testing.assert_close(ours, getattr(attention, texts_own)(entered), atol=1e-5, rtol=1e-4)


def test_batched_equals_one_by_one():
    pipe = make_pipe(shuffled())
    batched = draw(pipe)
    for row in range(3):
        torch.testing.assert_close(batched[row], draw(pipe, (row,))[0], atol=1e-4, rtol=1e-4)
    swapped = draw(pipe, aus=[AUS[0], {"AU17": 5}, AUS[2]])
    changed = (batched - swapped).abs().amax(dim=(1, 2))
    assert changed[1] > 1e-3 and changed[[0, 2]].max() < 1e-5


def test_scale_and_negative_branch():
    pipe = make_pipe(shuffled())
    off = draw(pipe, au_scale=0.0)
    assert torch.equal(off, draw(pipe, aus=None, au_scale=0.0))
    tokens, pooled = texts((0, 1, 2))
    negative = {"negative_prompt_embeds": tokens * 0, "negative_pooled_prompt_embeds": pooled * 0}
    seen = []
    pipe.transformer.encoder_hid_proj.register_forward_pre_hook(lambda module, args: seen.append(args[0][0]))
    assert draw(pipe, true_cfg_scale=3.0, **negative).isfinite().all()
    assert seen[0].any() and not seen[1].any()


def test_a_saved_adapter_comes_back_as_it_was(tmp_path):
    transformer = shuffled()
    au_adapter.save(transformer, tmp_path, {"model": "somebody/flux", "revision": None})
    reloaded = make_pipe(make_transformer())
    reloaded.load_adapter(tmp_path)
    assert torch.equal(draw(reloaded), draw(make_pipe(transformer)))
    assert not any(parameter.requires_grad for parameter in reloaded.transformer.parameters())
    stock = make_transformer()
    stock.load_lora_adapter(tmp_path, weight_name=lora.FILE, prefix="transformer")
    (config,) = stock.peft_config.values()
    assert (config.r, config.lora_alpha) == (4, 1)


def test_flow_matching_trains_the_adapter_and_nothing_else():
    """A loop of one's own: z_t = (1 - t) x + t ε, and the network answers ε - x."""
    transformer = make_transformer()
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    au_adapter.install(transformer, CONFIG)
    trained = au_adapter.trainable_parameters(transformer)
    assert {name.split(".")[0] for name in trained} == {
        "encoder",
        "transformer_blocks",
        "single_transformer_blocks",
    }
    generator = torch.Generator().manual_seed(4)
    aus = torch.rand(3, 12, generator=generator) * 5
    picture, noise = torch.randn(2, 3, 16, 16, generator=generator)
    picture += aus[:, 6, None, None]
    time = torch.tensor([0.2, 0.5, 0.8])
    noisy = torch.lerp(picture, noise, time[:, None, None])
    optimiser = torch.optim.AdamW(trained.values(), lr=3e-3)
    losses = []
    for _ in range(25):
        answer = predict(transformer, noisy, time, aus, (0, 1, 2))
        loss = (answer - (noise - picture)).square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    after = {name.replace(".base_layer", ""): value for name, value in transformer.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_what_flux_does_not_take_is_refused():
    pipe = make_pipe(shuffled())
    with pytest.raises(ValueError, match="the only condition beside the text"):
        draw(pipe, ip_adapter_image_embeds=[torch.zeros(1, 1, 12)])
    with pytest.raises(ValueError, match="load_ip_adapter cannot be used"):
        pipe.load_ip_adapter("anything", weight_name="any")
    with pytest.raises(ValueError, match="no adapter is loaded"):
        draw(make_pipe(make_transformer()))


def test_sd3_is_refused_by_name():
    """diffusers' SD 3 has a place for one image adapter, whose projection also embeds the timestep."""
    transformer = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=32,
        pooled_projection_dim=POOLED,
        out_channels=4,
        pos_embed_max_size=16,
    )
    with pytest.raises(AdapterError, match="no adapter joins a SD3Transformer2DModel"):
        au_adapter.install(transformer, CONFIG)
