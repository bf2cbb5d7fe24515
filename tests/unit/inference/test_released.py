"""The reference's released checkpoints give the reference's output, written out here plainly."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from tiny_diffusion import make_unet

from inference.adapter import AdapterError
from inference.released import load_reference

RANK = 4
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def cross_attentions(unet):
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    return [name for name in names if ".attn2" in name]


def write(folder, form, lora_spelling=None, seed=5):
    """A checkpoint of small random weights in the released form; its tensors."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=generator) * 0.1

    unet = make_unet()
    width = unet.config.cross_attention_dim
    hidden = 64 if form == "sd21" else width - 12
    encoder = {"au_encoder.weight": random(hidden, 12), "au_encoder.bias": random(hidden)}
    processors = {}
    for name in cross_attentions(unet):
        for part in ("k", "v"):
            shape = unet.get_submodule(name).to_k.weight.shape
            processors[f"{name}.processor.au_to_{part}.weight"] = random(*shape)
    lora = {}
    if lora_spelling:
        down, up = lora_spelling
        for name in unet.attn_processors:
            for target in ATTENTION:
                path = f"{name.removesuffix('.processor')}.{target}"
                linear = unet.get_submodule(path)
                lora[f"unet.{path}.{down}.weight"] = random(RANK, linear.in_features)
                lora[f"unet.{path}.{up}.weight"] = random(linear.out_features, RANK)
        save_file(lora, folder / "pytorch_lora_weights.safetensors")
    prefix = "" if form == "sd21" else "sd15_"
    torch.save(encoder, folder / f"{prefix}au_encoder.ckpt")
    torch.save(processors, folder / f"{prefix}attn_processors.ckpt")
    return encoder, processors, lora


class ReferenceProcessor:
    """Z = Attn(Q, K_text, V_text) + Attn(Q, K_AU, V_AU), softmax written out."""

    def __init__(self, au_to_k, au_to_v, token):
        self.au_to_k, self.au_to_v, self.token = au_to_k, au_to_v, token

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        query = attn.to_q(hidden_states)

        def attend(key, value):
            q, k, v = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (query, key, value))
            weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
            return (weights @ v).transpose(1, 2).flatten(2)

        text = attend(attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        aus = attend(self.token @ self.au_to_k.T, self.token @ self.au_to_v.T)
        return attn.to_out[0](text + aus) / attn.rescale_output_factor


def reference(encoder, processors, lora, spelling, aus, sample, text):
    """The reference's forward pass: W + B·A in every attention (scale 1), the AU token beside the text."""
    unet = make_unet()
    for name in unet.attn_processors:
        for target in ATTENTION if lora else ():
            path = f"{name.removesuffix('.processor')}.{target}"
            down, up = (lora[f"unet.{path}.{part}.weight"] for part in spelling)
            unet.get_submodule(path).weight.data += up @ down
    projected = aus @ encoder["au_encoder.weight"].T + encoder["au_encoder.bias"]
    width = unet.config.cross_attention_dim
    rest = torch.zeros(len(aus), width - 12 - projected.shape[1])
    token = torch.cat([aus, projected, rest], dim=1).unsqueeze(1)
    for name in cross_attentions(unet):
        weights = (processors[f"{name}.processor.au_to_{part}.weight"] for part in ("k", "v"))
        unet.get_submodule(name).processor = ReferenceProcessor(*weights, token)
    with torch.no_grad():
        return unet(sample, 300, text).sample


@pytest.mark.parametrize(
    ("form", "spelling"),
    [
        ("sd21", ("lora_A", "lora_B")),
        ("sd21", ("lora.down", "lora.up")),
        ("sd15", None),
        ("sd15", ("lora_A", "lora_B")),
    ],
)
def test_both_released_forms_give_the_references_output(tmp_path, form, spelling):
    tensors = write(tmp_path, form, spelling)
    generator = torch.Generator().manual_seed(1)
    aus = torch.rand(3, 12, generator=generator) * 5
    sample = torch.randn(3, 4, 8, 8, generator=generator)
    text = torch.randn(3, 12, make_unet().config.cross_attention_dim, generator=generator)
    unet = load_reference(make_unet(), tmp_path)
    with torch.no_grad():
        found = unet(sample, 300, text, added_cond_kwargs={"image_embeds": [aus.unsqueeze(1)]}).sample
        plain = make_unet()(sample, 300, text).sample
    expected = reference(*tensors, spelling, aus, sample, text)
    assert (found - expected).abs().max() < 1e-5
    assert (found - plain).abs().max() > 1e-2, "the checkpoint says something"
    assert not any(parameter.requires_grad for parameter in unet.parameters())


def test_the_widths_of_the_real_forms(tmp_path):
    """SD 2.1: 12 ‖ 64 ‖ 948 zeros of 1024; SD 1.5: 12 ‖ 756 of 768."""
    from inference.au_encoders import get

    assert get("res_mlp64").make(1024)(torch.zeros(1, 12)).shape == (1, 1, 1024)
    assert get("res_mlp").make(768).mlp.weight.shape == (756, 12)


def test_missing_and_foreign_files_are_named(tmp_path):
    with pytest.raises(AdapterError, match=r"au_encoder\.ckpt or sd15_au_encoder\.ckpt is missing"):
        load_reference(make_unet(), tmp_path)
    write(tmp_path, "sd21")
    (tmp_path / "attn_processors.ckpt").unlink()
    with pytest.raises(AdapterError, match=r"attn_processors\.ckpt or .* is missing"):
        load_reference(make_unet(), tmp_path)
    torch.save({"something.weight": torch.zeros(2)}, tmp_path / "attn_processors.ckpt")
    unet = make_unet()
    with pytest.raises(AdapterError, match="tensors do not fit this base"):
        load_reference(unet, tmp_path)
    assert unet.encoder_hid_proj is None
    torch.save([1, 2], tmp_path / "attn_processors.ckpt")
    with pytest.raises(AdapterError, match="holds no tensors by name"):
        load_reference(make_unet(), tmp_path)


class Runs:
    def __reduce__(self):
        return print, ("this must not run",)


def test_a_checkpoint_that_would_run_something_is_refused(tmp_path, capsys):
    write(tmp_path, "sd21")
    (tmp_path / "au_encoder.ckpt").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(AdapterError, match="damaged or holds more than tensors"):
        load_reference(make_unet(), tmp_path)
    assert "must not run" not in capsys.readouterr().out
