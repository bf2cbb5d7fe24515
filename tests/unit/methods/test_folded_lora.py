"""Folded LoRA computes what peft's LoRA computes."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from tiny_adapter import predict, shuffled

from inference import adapter as au_adapter
from inference import lora
from inference.adapter import AdapterConfig
from methods.folded_lora import fold


@pytest.mark.parametrize("rank", [16, 1])
def test_outputs_and_gradients_are_those_of_peft(rank):
    usual, folded = (shuffled(AdapterConfig(rank=rank, alpha=3.0)) for _ in range(2))
    layers = 4 * len(usual.attn_processors)
    assert fold(folded, lora.NAME) == (
        layers if rank == 16 else 0
    )  # rank 1 is cheap beside layers of 16 and 32
    aus = torch.rand(2, 12, generator=torch.Generator().manual_seed(1)) * 5
    torch.testing.assert_close(predict(usual, aus), predict(folded, aus), atol=1e-4, rtol=1e-4)

    noise, text = torch.randn(2, 4, 8, 8), torch.randn(2, 12, 96)
    for unet in (usual, folded):
        output = unet(noise, 500, text, added_cond_kwargs={"image_embeds": [aus.unsqueeze(1)]}).sample
        output.square().mean().backward()
    expected, found = au_adapter.trainable_parameters(usual), au_adapter.trainable_parameters(folded)
    for name, parameter in expected.items():
        torch.testing.assert_close(found[name].grad, parameter.grad, atol=1e-4, rtol=1e-3)


def test_a_folded_adapter_is_saved_like_any(tmp_path):
    unet = shuffled()
    au_adapter.save(unet, tmp_path / "usual")
    fold(unet, lora.NAME)
    au_adapter.save(unet, tmp_path / "folded")
    for file in (tmp_path / "usual").iterdir():
        assert file.read_bytes() == (tmp_path / "folded" / file.name).read_bytes()


def lora_layer(dtype):
    torch.manual_seed(0)
    linear = torch.nn.Linear(1024, 64, bias=False)
    linear.weight.data.normal_(0, 0.1)
    holder = torch.nn.ModuleDict({"layer": linear})
    config = LoraConfig(r=24, lora_alpha=24, target_modules=["layer"], init_lora_weights=True)
    return inject_adapter_in_model(config, holder, adapter_name="x").to(dtype)


@torch.no_grad()
def survives(layer, merge=None, dtype=None):
    """How far a LoRA update of 0.1 % of the weights moves the output for inputs it is meant for, as a share
    of what it should (1: all of it). `merge`: added to the weights, in that format; `dtype`: of the rest.
    """
    generator = torch.Generator().manual_seed(1)
    down, up = torch.randn(24, 1024, generator=generator), torch.randn(64, 24, generator=generator)
    up *= 1e-3 * 0.1 / (up @ down).std()
    x = (torch.randn(512, 24, generator=generator) @ down / 5).to(dtype)
    plain = layer.get_base_layer().weight.to(dtype).clone()
    layer.lora_A["x"].weight.copy_(down)
    layer.lora_B["x"].weight.copy_(up)
    if merge is not None:
        layer.to(merge).merge()
        layer.to(dtype)
    expected = x.float() @ (up @ down).T
    still = torch.nn.functional.linear(x, plain).float()
    return ((layer(x).float() - still) * expected).sum() / expected.square().sum()


@pytest.mark.parametrize("autocast", [False, True])
def test_a_small_update_survives_bfloat16(autocast):
    """What is folded in float32 stays apart in bfloat16."""
    dtype = torch.float32 if autocast else torch.bfloat16
    holder = lora_layer(dtype)
    assert fold(holder, "x") == 1
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert abs(survives(holder["layer"], dtype=dtype) - 1) < 0.2


def test_a_small_update_survives_being_merged_in_float32_only():
    """Merged in float32 and then rounded, which the generator does, the update is there on the average;
    merged in bfloat16, half of it rounds back to the weights it was added to."""
    half = torch.bfloat16
    assert abs(survives(lora_layer(torch.float32)["layer"], torch.float32, dtype=half) - 1) < 0.2
    assert survives(lora_layer(half)["layer"], half, dtype=half) < 0.6
