"""The adapter: what it computes, what it trains, and that a saved one comes back as it was."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_adapter import CONFIG, predict, shuffled
from tiny_diffusion import WIDTH, make_unet

from inference import adapter as au_adapter
from inference.adapter import AdapterConfig, AdapterError
from inference.networks import text_attentions


@pytest.fixture
def aus():
    return torch.rand(3, 12, generator=torch.Generator().manual_seed(5)) * 5


def test_output_is_text_attention_plus_scaled_au_attention(aus):
    """Eq. 4 by hand on one layer: one AU token has a softmax of 1, so it adds λ · V_AU at every place."""
    unet = shuffled()
    name, attention = next(iter(text_attentions(unet).items()))
    token = unet.encoder_hid_proj([aus.unsqueeze(1)])[0]
    assert token.shape == (3, 1, 1, WIDTH)
    hidden = torch.randn(3, 5, attention.to_q.in_features)
    text = torch.randn(3, 12, WIDTH)
    with torch.no_grad():
        unet_scale = 0.7
        au_adapter.set_scale(unet, unet_scale)
        both = attention(hidden, encoder_hidden_states=(text, [token]))
        au_adapter.set_scale(unet, 0)
        alone = attention(hidden, encoder_hidden_states=(text, [token]))
        value = unet.get_parameter(f"{name}.processor.to_v_ip.0.weight")
        added = unet_scale * token.reshape(3, 1, WIDTH) @ value.T
        linear = attention.to_out[0]
        expected = linear(added) - linear(torch.zeros_like(added))
    torch.testing.assert_close(both - alone, expected.expand_as(both), atol=1e-5, rtol=1e-4)


def test_fresh_adapter_starts_at_the_base_text_weights():
    plain, unet = make_unet(), make_unet()
    au_adapter.install(unet, CONFIG)
    for name, attention in text_attentions(plain).items():
        processor = unet.get_submodule(name).processor
        assert torch.equal(processor.to_k_ip[0].weight, attention.to_k.weight)
        assert torch.equal(processor.to_v_ip[0].weight, attention.to_v.weight)


def test_fresh_lora_changes_nothing(aus):
    """With the AU attention switched off, an untrained adapter is the base itself."""
    plain, unet = make_unet(), make_unet()
    au_adapter.install(unet, CONFIG)
    au_adapter.set_scale(unet, 0)
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(3, 4, 8, 8, generator=generator)
    text = torch.randn(3, 12, WIDTH, generator=generator)
    with torch.no_grad():
        base = plain(noise, 500, text).sample
    assert torch.equal(predict(unet, aus), base)


def test_only_the_adapter_trains_and_everything_of_it_does(aus):
    unet = make_unet()
    base_parameters = sum(p.numel() for p in unet.parameters())
    au_adapter.install(unet, CONFIG)
    trainable = au_adapter.trainable_parameters(unet)
    assert sum(p.requires_grad for p in unet.parameters()) == len(trainable)
    # encoder 12·64 + 64; K and V of every cross-attention; all else is LoRA on 4 projections an attention
    assert sum(p.numel() for n, p in trainable.items() if n.startswith("encoder.")) == 832
    assert len([n for n in trainable if "_ip." in n]) == 2 * len(text_attentions(unet))
    lora = [n for n in trainable if "lora_" in n]
    assert len(lora) == 2 * 4 * len(unet.attn_processors)
    assert len(lora) + 2 + len([n for n in trainable if "_ip." in n]) == len(trainable)
    added = sum(p.numel() for p in trainable.values())
    assert sum(p.numel() for p in unet.parameters()) == base_parameters + added


def test_install_draws_from_its_seed_alone():
    first, second, other = make_unet(), make_unet(), make_unet()
    au_adapter.install(first, CONFIG, seed=1)
    torch.manual_seed(99)
    au_adapter.install(second, CONFIG, seed=1)
    au_adapter.install(other, CONFIG, seed=2)
    values = [au_adapter.adapter_parameters(unet) for unet in (first, second, other)]
    assert all(torch.equal(values[0][name], values[1][name]) for name in values[0])
    assert not torch.equal(values[0]["encoder.mlp.weight"], values[2]["encoder.mlp.weight"])


def test_reloaded_adapter_differs_by_nothing(tmp_path, aus):
    unet = shuffled()
    au_adapter.save(unet, tmp_path, base={"model": "tiny"})
    reloaded = make_unet()
    assert au_adapter.load(reloaded, tmp_path) == CONFIG
    assert (predict(unet, aus) - predict(reloaded, aus)).abs().max() == 0
    assert not any(p.requires_grad for p in reloaded.parameters())


def test_alpha_is_part_of_the_saved_adapter(tmp_path, aus):
    """Alpha 1 and alpha 4 with the same weights are different models, and each reloads as itself."""
    for alpha in (1, 4):
        unet = shuffled(AdapterConfig(rank=4, alpha=alpha))
        au_adapter.save(unet, tmp_path / str(alpha))
    outputs = []
    for alpha in (1, 4):
        unet = make_unet()
        au_adapter.load(unet, tmp_path / str(alpha))
        assert torch.equal(predict(unet, aus), predict(shuffled(AdapterConfig(rank=4, alpha=alpha)), aus))
        outputs.append(predict(unet, aus))
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


def test_lora_file_is_readable_by_diffusers_with_its_alpha(tmp_path):
    unet = shuffled()
    au_adapter.save(unet, tmp_path)
    plain = make_unet()
    plain.load_lora_adapter(tmp_path, weight_name="pytorch_lora_weights.safetensors", prefix="unet")
    (config,) = plain.peft_config.values()
    assert (config.r, config.lora_alpha) == (4, 1)


def test_equal_adapters_give_equal_files(tmp_path):
    for name in ("a", "b", "c", "d"):
        au_adapter.save(shuffled(), tmp_path / name, base={"model": "tiny"})
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["adapter.json", "adapter.safetensors", "pytorch_lora_weights.safetensors"]
    for file in files:
        assert len({(tmp_path / name / file).read_bytes() for name in ("a", "b", "c", "d")}) == 1


def test_half_precision_base_takes_the_adapter(tmp_path, aus):
    unet = shuffled()
    au_adapter.save(unet, tmp_path)
    half = make_unet().to(torch.bfloat16)
    au_adapter.load(half, tmp_path)
    assert {p.dtype for p in au_adapter.adapter_parameters(half).values()} == {torch.bfloat16}


@pytest.fixture
def saved(tmp_path):
    au_adapter.save(shuffled(), tmp_path, base={"model": "tiny"})
    return tmp_path


def test_wrong_base_width_names_both_widths(saved):
    with pytest.raises(AdapterError, match=r"width 96, this base has 128"):
        au_adapter.load(make_unet(width=128), saved)


def test_other_layers_are_refused_and_leave_the_base_plain(saved):
    weights = load_file(saved / "pytorch_lora_weights.safetensors")
    weights.popitem()
    save_file(weights, saved / "pytorch_lora_weights.safetensors")
    unet = make_unet()
    with pytest.raises(AdapterError, match="1 tensors do not fit"):
        au_adapter.load(unet, saved)
    assert au_adapter.installed(unet) is None
    assert not [name for name in unet.state_dict() if "lora" in name or "_ip" in name or "base_layer" in name]


@pytest.mark.parametrize("name", ["adapter.json", "adapter.safetensors", "pytorch_lora_weights.safetensors"])
def test_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(AdapterError, match=name):
        au_adapter.load(make_unet(), saved)


def test_damaged_weights_are_named(saved):
    path = saved / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(AdapterError, match=r"adapter\.safetensors is damaged"):
        au_adapter.load(make_unet(), saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something"}, "does not describe"),
        ({"version": 99}, "format version 99"),
        ({"encoder": "unknown"}, "unknown AU encoder 'unknown'"),
    ],
)
def test_foreign_record_is_refused(saved, change, message):
    path = saved / "adapter.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AdapterError, match=message):
        au_adapter.load(make_unet(), saved)


def test_another_base_of_the_same_shape_warns(saved):
    other = make_unet()
    for parameter in other.parameters():
        parameter.data.mul_(1.01)
    with pytest.warns(UserWarning, match="trained on tiny"):
        au_adapter.load(other, saved)


def test_second_adapter_is_refused(saved):
    with pytest.raises(AdapterError, match="already has an adapter"):
        au_adapter.load(shuffled(), saved)


def test_too_narrow_base_and_bad_settings():
    with pytest.raises(ValueError, match="width of 76, the base has 64"):
        au_adapter.install(make_unet(width=64), CONFIG)
    with pytest.raises(AdapterError, match="rank"):
        AdapterConfig(rank=0)
    with pytest.raises(AdapterError, match="alpha"):
        AdapterConfig(alpha=0)
    with pytest.raises(AdapterError, match="nothing to save"):
        au_adapter.save(make_unet(), "nowhere")


def test_replaced_processors_are_found_out():
    unet = shuffled()
    unet.fuse_qkv_projections()
    with pytest.raises(AdapterError, match="was replaced by"):
        au_adapter.installed(unet)
