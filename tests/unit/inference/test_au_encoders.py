"""The AU encoders: what each computes, by hand, and what all keep to."""

import subprocess
import sys

import pytest
import torch
from tiny_adapter import predict, shuffled
from tiny_diffusion import make_unet

from inference import adapter as au_adapter
from inference import au_encoders
from inference.adapter import AdapterConfig
from inference.au_encoders import ENCODERS, AUEncoder

WIDTH = 80
VALUES = torch.arange(12.0).unsqueeze(0)


def filled(name, width=WIDTH):
    """The encoder with every weight 0.01 · its running number (from 0), so that a hand can follow."""
    encoder = au_encoders.get(name).make(width)
    for parameter in encoder.parameters():
        parameter.data = torch.arange(float(parameter.numel())).reshape(parameter.shape) * 0.01
    return encoder


def test_the_papers_table_2_is_there_and_one_that_goes_past_it():
    assert list(ENCODERS) == [
        *("none", "mlp", "res_mlp", "res_mlp64", "res_3mlp", "individual_mlp"),
        "twelve_tokens",
    ]
    assert {name: encoder.tokens for name, encoder in ENCODERS.items() if encoder.tokens != 1} == {
        "twelve_tokens": 12
    }


def test_none_is_the_raw_values_then_zeros():
    assert not list(filled("none").parameters())
    assert filled("none")(VALUES)[0, 0].tolist() == [*map(float, range(12)), *[0.0] * 68]


def test_mlp_is_one_linear_layer():
    token = filled("mlp")(VALUES)[0, 0]
    # row i of the weight is 0.01·(12i … 12i+11); with y = 0 … 11: 0.01·(12i·66 + 506); bias 0.01·i
    assert token[0].item() == pytest.approx(5.06)
    assert token[3].item() == pytest.approx(0.01 * (36 * 66 + 506) + 0.03)


@pytest.mark.parametrize(("name", "hidden"), [("res_mlp", 68), ("res_mlp64", 64)])
def test_res_mlps_are_raw_values_then_projection_then_zeros(name, hidden):
    token = filled(name)(VALUES)[0, 0]
    projected = [0.01 * (12 * i * 66 + 506) + 0.01 * i for i in range(hidden)]
    expected = [*map(float, range(12)), *projected, *[0.0] * (WIDTH - 12 - hidden)]
    torch.testing.assert_close(token, torch.tensor(expected))


def test_res_3mlp_is_three_layers_beside_the_raw_values():
    encoder = au_encoders.get("res_3mlp").make(WIDTH)
    assert [tuple(p.shape) for p in encoder.parameters() if p.ndim == 2] == [(256, 12), (256, 256), (68, 256)]
    first, norm1, _, second, norm2, _, last = encoder.mlp
    token = encoder(VALUES * 0.4)[0, 0]
    assert torch.equal(token[:12], VALUES[0] * 0.4)

    def by_hand(linear, norm, x):
        x = linear.weight @ x + linear.bias
        x = (x - x.mean()) / (x.var(unbiased=False) + norm.eps).sqrt() * norm.weight + norm.bias
        return torch.where(x > 0, x, 0.01 * x)

    hidden = by_hand(second, norm2, by_hand(first, norm1, VALUES[0] * 0.4))
    torch.testing.assert_close(token[12:], last.weight @ hidden + last.bias, atol=1e-5, rtol=1e-4)


def test_individual_mlp_sums_twelve_layers_and_their_interaction():
    encoder = au_encoders.get("individual_mlp").make(WIDTH)
    expected = encoder.interaction.weight @ VALUES[0] + encoder.interaction.bias
    for place, layer in enumerate(encoder.individual):
        expected = expected + layer.weight[:, 0] * place + layer.bias
    torch.testing.assert_close(encoder(VALUES)[0, 0], expected, atol=1e-4, rtol=1e-4)


def test_twelve_tokens_are_one_an_au():
    encoder = filled("twelve_tokens", width=2)
    tokens = encoder(VALUES)[0]
    # w = b = 0.01·[[0, 1], [2, 3], …]: token i = i·w_i + b_i = (i + 1)·0.01·(2i, 2i + 1)
    assert tokens.shape == (12, 2)
    expected = [[(i + 1) * 0.01 * 2 * i, (i + 1) * 0.01 * (2 * i + 1)] for i in range(12)]
    torch.testing.assert_close(tokens, torch.tensor(expected))


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_keeps_its_word(name):
    """The shape it declares, finite values beyond 0–5 too, each row for itself, gradients for all it has."""
    declared = ENCODERS[name]
    width = max(96, declared.least_width)
    encoder = declared.make(width)
    aus = torch.linspace(-2, 8, 36).reshape(3, 12)
    tokens = encoder(aus)
    assert tokens.shape == (3, declared.tokens, width) and tokens.isfinite().all()
    torch.testing.assert_close(encoder(aus[1:2]), tokens[1:2], atol=1e-5, rtol=1e-4)
    assert (tokens[0] - tokens[1]).abs().max() > 1e-3
    if parameters := list(encoder.parameters()):
        tokens.square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in parameters)


@pytest.mark.parametrize("name", [name for name, encoder in ENCODERS.items() if encoder.least_width > 1])
def test_a_base_too_narrow_is_named(name):
    least = ENCODERS[name].least_width
    assert ENCODERS[name].make(least)(VALUES).shape[-1] == least
    with pytest.raises(ValueError, match=f"{name} needs a cross-attention width of {least}, the base has 11"):
        ENCODERS[name].make(11)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_is_installed_saved_and_loaded(name, tmp_path):
    config = AdapterConfig(name, rank=2, alpha=2)
    unet, aus = shuffled(config), torch.rand(3, 12, generator=torch.Generator().manual_seed(5)) * 5
    tokens = {tuple(p.num_tokens) for p in unet.attn_processors.values() if hasattr(p, "num_tokens")}
    au_adapter.save(unet, tmp_path)
    again = make_unet()
    assert au_adapter.load(again, tmp_path) == config == au_adapter.installed(again)
    assert torch.equal(predict(again, aus), predict(unet, aus))
    assert tokens == {(ENCODERS[name].tokens,)}
    assert au_adapter.read_record(tmp_path)["tokens"] == ENCODERS[name].tokens


def test_one_token_adds_one_vector_everywhere_and_twelve_do_not():
    """Why the keys of a single token learn nothing: its softmax is 1 whatever they are."""
    gradients = {}
    for name in ("res_mlp64", "twelve_tokens"):
        unet = shuffled(AdapterConfig(name, rank=2, alpha=2))
        for parameter in au_adapter.adapter_parameters(unet).values():
            parameter.requires_grad_(True)
        sample, text = torch.randn(1, 4, 8, 8), torch.randn(1, 12, 96)
        conditions = {"image_embeds": [torch.full((1, 1, 12), 3.0)]}
        unet(sample, 500, text, added_cond_kwargs=conditions).sample.square().mean().backward()
        keys = [p.grad for n, p in au_adapter.adapter_parameters(unet).items() if "to_k_ip" in n]
        gradients[name] = max(float(gradient.abs().max()) for gradient in keys)
    assert gradients["res_mlp64"] < 1e-5 * gradients["twelve_tokens"], "rounding only"


def test_encoders_register_once_and_unknown_ones_are_named():
    with pytest.raises(ValueError, match="'mlp' is registered already"):
        au_encoders.register(AUEncoder("mlp", 1, 1, "somewhere:Else"))
    with pytest.raises(au_encoders.UnknownEncoder, match="unknown AU encoder 'res_mlp46'; known: indiv"):
        au_encoders.get("res_mlp46")


def test_encoders_are_known_without_torch():
    code = "import sys, inference.au_encoders as e; print(len(e.ENCODERS), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert said.split() == ["7", "False"]
