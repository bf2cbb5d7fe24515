"""Folded LoRA computes what peft's LoRA computes."""

import pytest
import torch
from tiny_adapter import predict, shuffled

from inference import adapter as au_adapter
from inference.adapter import AdapterConfig
from training.folded_lora import fold


@pytest.mark.parametrize("rank", [16, 1])
def test_outputs_and_gradients_are_those_of_peft(rank):
    usual, folded = (shuffled(AdapterConfig(rank=rank, alpha=3.0)) for _ in range(2))
    layers = 4 * len(usual.attn_processors)
    assert fold(folded) == (layers if rank == 16 else 0)  # rank 1 is cheap beside layers of 16 and 32
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
    fold(unet)
    au_adapter.save(unet, tmp_path / "folded")
    for file in (tmp_path / "usual").iterdir():
        assert file.read_bytes() == (tmp_path / "folded" / file.name).read_bytes()
