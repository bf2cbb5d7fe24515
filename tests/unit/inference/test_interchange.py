"""Adapters leave and come back: one folder that suffices, stock pipelines of diffusers, the hub."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
import yaml
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from tiny_adapter import predict, shuffled
from tiny_diffusion import make_unet, write_base

from inference import adapter as au_adapter
from inference import interchange, lora, publishing
from inference.adapter import AdapterConfig, AdapterError
from inference.pipeline import FineFaceImg2ImgPipeline, FineFacePipeline

AUS = torch.tensor([[0.0, 0, 3, 0, 2, 0, 5, 0, 0, 0, 1, 0]])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_base(tmp_path_factory.mktemp("base") / "base")


@pytest.fixture
def saved(base, tmp_path):
    """An adapter whose record names its base, in form for stock pipelines too."""
    folder, unet = tmp_path / "adapter", shuffled()
    au_adapter.save(unet, folder, {"model": str(base), "revision": None})
    interchange.save(unet, folder)
    return folder


def draw(pipe, prompts="a man", **kwargs):
    pipe.set_progress_bar_config(disable=True)
    count = 1 if isinstance(prompts, str) else len(prompts)
    generators = [torch.Generator().manual_seed(row) for row in range(count)]
    settings = {"num_inference_steps": 3, "guidance_scale": 5.0, "output_type": "latent"}
    return pipe(prompts, generator=generators, **settings, **kwargs).images


def stock(base, folder):
    pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipe.load_ip_adapter(
        str(folder), subfolder="", weight_name=interchange.STOCK_FILE, image_encoder_folder=None
    )
    pipe.load_lora_weights(folder, weight_name=lora.FILE)
    return pipe


def embeds(aus):
    """AUs [n, 12] as a stock pipeline takes them: the unconditional half first."""
    return [torch.cat([torch.zeros(len(aus), 1, 12), aus.unsqueeze(1)])]


@pytest.mark.parametrize(
    "encoder", ["none", "mlp", "res_mlp", "res_mlp64", "individual_mlp", "twelve_tokens"]
)
def test_affine_encoders_are_the_same_in_a_stock_unet(encoder, tmp_path):
    ours = shuffled(AdapterConfig(encoder, rank=4, alpha=1))
    aus = torch.cat([AUS, -AUS, torch.zeros(1, 12)])
    expected, wanted = predict(ours, aus), predict(ours, torch.zeros(3, 12))
    au_adapter.save(ours, tmp_path)
    theirs = make_unet()
    theirs._load_ip_adapter_weights([interchange.state_dict(ours)])
    theirs.load_lora_adapter(tmp_path, weight_name=lora.FILE, prefix="unet")
    found = predict(theirs, aus)
    assert (found - expected).abs().max() < 2e-3 * (expected - wanted).abs().max()


def test_what_a_stock_adapter_cannot_express_is_refused():
    with pytest.raises(AdapterError, match="res_3mlp is not affine"):
        interchange.state_dict(shuffled(AdapterConfig("res_3mlp", rank=4, alpha=1)))
    with pytest.raises(AdapterError, match="no adapter"):
        interchange.state_dict(make_unet())


def test_a_stock_pipeline_draws_the_same_picture_but_mixes_the_aus_of_several_prompts(base, saved):
    ours, theirs = FineFacePipeline.from_pretrained(saved), stock(base, saved)
    expected, effect = draw(ours, aus=AUS), draw(ours, aus=AUS) - draw(ours)
    found = draw(theirs, ip_adapter_image_embeds=embeds(AUS))
    assert (found - expected).abs().max() < 1e-2 * effect.abs().max()
    # where it cannot: rows of AUs are repeated for every prompt and folded into one another
    both = torch.cat([AUS, torch.zeros(1, 12)])
    prompts = ["a man", "a man"]
    apart, mixed = draw(ours, prompts, aus=both), draw(theirs, prompts, ip_adapter_image_embeds=embeds(both))
    torch.testing.assert_close(apart[0], expected[0], atol=1e-4, rtol=0)
    assert (mixed[0] - expected[0]).abs().max() > 0.1 * effect.abs().max()


def test_an_adapters_folder_alone_suffices(base, saved):
    one = draw(FineFacePipeline.from_pretrained(base, adapter=saved), aus=AUS)
    assert torch.equal(draw(FineFacePipeline.from_pretrained(saved), aus=AUS), one)
    assert torch.equal(draw(FineFacePipeline.from_pretrained(adapter=saved), aus=AUS), one)
    other = FineFaceImg2ImgPipeline.from_pretrained(saved)
    assert isinstance(other, FineFaceImg2ImgPipeline) and au_adapter.installed(other.unet)


def test_a_base_that_is_not_to_be_had_is_named(base, saved, tmp_path):
    moved = base.rename(base.parent / "moved")
    try:
        with pytest.raises(
            AdapterError, match=f"its base {base} is not to be had .* says which base to take"
        ):
            FineFacePipeline.from_pretrained(saved)
        assert au_adapter.installed(FineFacePipeline.from_pretrained(moved, adapter=saved).unet)
    finally:
        moved.rename(base)
    au_adapter.save(shuffled(), tmp_path / "nameless")
    with pytest.raises(AdapterError, match="the record names no base"):
        FineFacePipeline.from_pretrained(tmp_path / "nameless")
    with pytest.raises(AdapterError, match=r"no adapter .*nowhere/at all"):
        FineFacePipeline.from_pretrained(base, adapter=tmp_path / "nowhere/at all")
    with pytest.raises(ValueError, match="give a base, an adapter"):
        FineFacePipeline.from_pretrained()


def test_a_loaded_adapter_saves_as_it_was_with_its_base(saved, tmp_path):
    pipe = FineFacePipeline.from_pretrained(saved)
    pipe.save_adapter(tmp_path / "again")
    for name in (au_adapter.CONFIG_FILE, au_adapter.WEIGHTS_FILE, lora.FILE):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()
    assert not (tmp_path / "again" / interchange.STOCK_FILE).exists()


class Hub:
    """Stands for Hugging Face's: keeps what would be sent."""

    sent: dict

    def __init__(self, token=None):
        pass

    def create_repo(self, repo, private, exist_ok):
        Hub.sent = {"repo": repo, "private": private}
        return SimpleNamespace(repo_id=repo)

    def upload_folder(self, repo_id, folder_path, allow_patterns, commit_message, create_pr):
        files = [path for path in Path(folder_path).iterdir() if path.name in allow_patterns]
        Hub.sent |= {"to": repo_id, "files": {path.name: path.read_bytes() for path in files}}
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")


@pytest.fixture
def hub(monkeypatch):
    Hub.sent = {}
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    return Hub


PUBLIC = {"model": "somebody/stable-diffusion", "revision": "abc"}


def test_what_goes_to_the_hub_is_the_adapter_and_its_card(hub, saved, tmp_path):
    pipe = FineFacePipeline.from_pretrained(saved)
    url = pipe.push_to_hub("me/smiles", base=PUBLIC, stock=True)
    assert url == "https://hub/me/smiles/commit/1"
    assert hub.sent["private"] is True and hub.sent["to"] == "me/smiles"
    files = hub.sent["files"]
    assert set(files) == set(publishing.FILES)
    assert json.loads(files[au_adapter.CONFIG_FILE])["base"]["model"] == PUBLIC["model"]
    _, front, text = files[publishing.CARD_FILE].decode().split("---\n", 2)
    assert yaml.safe_load(front)["base_model"] == PUBLIC["model"]
    assert "res_mlp64, 1 token(s) of 96" in text and "load_ip_adapter" in text
    # what was sent, fetched, is the adapter
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    reloaded = make_unet()
    au_adapter.load(reloaded, tmp_path)
    assert torch.equal(predict(reloaded, AUS), predict(shuffled(), AUS))
    assert set(load_file(tmp_path / interchange.STOCK_FILE)) > {"image_proj.norm.weight"}


def test_nothing_is_sent_that_names_this_machine_or_is_no_adapter(hub, saved, tmp_path):
    with pytest.raises(AdapterError, match="by a path of this machine"):
        publishing.push(saved, "me/smiles")
    with pytest.raises(AdapterError, match=r"adapter\.json is missing"):
        publishing.push(tmp_path, "me/smiles")
    assert hub.sent == {}


def test_neighbours_of_an_adapter_stay_at_home_and_a_card_of_ones_own_is_kept(hub, tmp_path):
    au_adapter.save(shuffled(), tmp_path, PUBLIC)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / publishing.CARD_FILE).write_text("# My own words")
    publishing.push(tmp_path, "me/smiles", private=False)
    assert hub.sent["private"] is False
    assert set(hub.sent["files"]) == set(publishing.FILES) - {interchange.STOCK_FILE}
    assert hub.sent["files"][publishing.CARD_FILE] == b"# My own words"


def test_an_adapter_comes_from_the_hub_by_its_id(base, saved, monkeypatch, tmp_path):
    """The hub's client is the boundary: it hands out a snapshot."""
    snapshot = shutil.copytree(saved, tmp_path / "snapshot")
    asked = []

    def fetch(repo, **kwargs):
        asked.append(repo)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    pipe = FineFacePipeline.from_pretrained(adapter="me/smiles")
    assert asked == ["me/smiles"] and au_adapter.installed(pipe.unet)
