"""Pictures from requests: independent of their neighbours, and known by all that decides them."""

import numpy as np
import pytest
import tiny_diffusion
import torch

from inference import adapter, generation
from inference.generation import Generator
from inference.weights import ModelNotFound

PROMPTS = ["a man", "a woman in the park", "a young man", "portrait of a woman"]
VECTORS = [tuple(5.0 if place == row else 0.0 for place in range(12)) for row in range(4)]
SEEDS = [1, 2, 3, 1]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    torch.set_num_threads(1)
    return tiny_diffusion.write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """An adapter that changes pictures."""
    from diffusers import UNet2DConditionModel

    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    adapter.install(unet, adapter.AdapterConfig(rank=2, alpha=2))
    torch.manual_seed(0)
    for parameter in adapter.trainable_parameters(unet).values():
        parameter.data.normal_(0, 0.5)
    adapter.save(unet, folder)
    return folder


def make(base, folder=None, **settings):
    settings = {"size": 16, "steps": 2, "scheduler": "ddim", "device": "cpu", **settings}
    install = folder and (lambda pipe: pipe.load_adapter(folder))
    return Generator(base, install=install, model_hash=folder and "hash", **settings)


def pixels(pictures):
    return np.stack([np.asarray(picture).astype(int) for picture in pictures])


def test_neighbours_and_order_do_not_change_a_picture(base, trained):
    together = pixels(make(base, trained).generate(PROMPTS, VECTORS, SEEDS, 3.0))
    in_pairs = pixels(make(base, trained, batch_size=2).generate(PROMPTS, VECTORS, SEEDS, 3.0))
    turned = make(base, trained, batch_size=3).generate(PROMPTS[::-1], VECTORS[::-1], SEEDS[::-1], 3.0)
    assert abs(together - in_pairs).max() <= 1
    assert abs(together - pixels(turned)[::-1]).max() <= 1


def test_each_row_has_its_own_vector_and_seed(base, trained):
    generator = make(base, trained)
    same = pixels(generator.generate(["a man"] * 3, [VECTORS[0], VECTORS[3], VECTORS[0]], [5, 5, 6], 3.0))
    assert (same[0] != same[1]).any() and (same[0] != same[2]).any()
    assert generator.calls == 3


def test_without_an_adapter_there_are_no_vectors(base):
    (picture,) = make(base).generate(["a man"], None, [1], 3.0)
    assert picture.size == (16, 16) and picture.mode == "RGB"
    with pytest.raises(ValueError, match="no adapter"):
        make(base).generate(["a man"], [VECTORS[0]], [1], 3.0)


def test_arguments_reach_the_pipeline(base, trained):
    """With the AU attention switched off, other AUs draw the same picture."""
    off = make(base, trained, arguments={"au_scale": 0.0})
    pictures = off.generate(["a man"] * 2, [VECTORS[0], VECTORS[3]], [5, 5], 3.0)
    assert (pixels(pictures)[0] == pixels(pictures)[1]).all()


def test_lora_is_fused_in_float32_whatever_the_precision(base, trained):
    """The sum W + s·B·A in bfloat16 would round a small update away: it is rounded once, as a whole."""
    from peft.tuners.lora import Linear

    fused, half = (make(base, trained, precision=p).pipe.unet for p in ("float32", "bfloat16"))
    layers = [name for name, layer in half.named_modules() if isinstance(layer, Linear)]
    assert layers
    for name in layers:
        assert half.get_submodule(name).merged
        weight = half.get_submodule(name).get_base_layer().weight
        assert torch.equal(weight, fused.get_submodule(name).get_base_layer().weight.bfloat16())


def test_lists_must_be_of_one_length(base):
    with pytest.raises(ValueError, match="2 prompts, 1 seeds"):
        make(base).generate(["a man", "a woman"], None, [1], 3.0)


def test_the_fingerprint_follows_all_that_decides_a_picture(base, tmp_path):
    first = make(base).fingerprint
    assert make(base, batch_size=1).fingerprint == first, "batching decides nothing"
    others = [
        make(base, steps=3),
        make(base, scheduler="dpm"),
        make(base, size=32),
        make(base, precision="bfloat16"),
        Generator(base, install=print, model_hash="1", size=16, steps=2),
        Generator(base, install=print, model_hash="2", size=16, steps=2),
        make(base, arguments={"au_scale": 0.5}),
    ]
    assert len({first, *(other.fingerprint for other in others)}) == 8


def test_the_content_of_a_base_is_that_of_its_parts(base, tmp_path):
    import shutil

    copy = shutil.copytree(base, tmp_path / "copy")
    assert generation.base_content(copy) == generation.base_content(base)
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace("0.012", "0.013"))
    assert generation.base_content(copy) != generation.base_content(base)


def test_what_is_no_base_is_named(base, tmp_path):
    import shutil

    with pytest.raises(ModelNotFound, match="nowhere"):
        generation.base_folder(tmp_path / "nowhere")
    copy = shutil.copytree(base, tmp_path / "copy")
    (copy / "model_index.json").unlink()
    with pytest.raises(ModelNotFound, match="not a saved pipeline"):
        generation.base_folder(copy)


def test_wrong_settings_are_refused(base):
    with pytest.raises(ValueError, match="scheduler 'magic' is not one of ddim, dpm, euler, pndm"):
        make(base, scheduler="magic")
    with pytest.raises(ValueError, match="go together"):
        Generator(base, install=print)


@pytest.mark.parametrize("scheduler", sorted(generation.SCHEDULERS))
def test_every_sampler_is_decided_by_the_seed(base, scheduler):
    drawn = [
        pixels(make(base, scheduler=scheduler, steps=5).generate(["a man"], None, [4], 2.0)) for _ in range(2)
    ]
    assert (drawn[0] == drawn[1]).all()
