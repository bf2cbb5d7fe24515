"""FineFacePipeline: one AU vector a prompt, and every image independent of its batch."""

import pytest
import torch
from diffusers import StableDiffusionPipeline
from tiny_adapter import shuffled
from tiny_diffusion import write_base

from facs import ACTION_UNITS
from inference import adapter as au_adapter
from inference.pipeline import FineFacePipeline, au_vectors

PROMPTS = ["a man", "a young woman in the park", "portrait of an smiling man", "black hair"]
AUS = [{"AU12": 5}, {"AU4": 3.5, "AU9": 2}, None, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 5]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("models")
    au_adapter.save(shuffled(), home / "adapter")
    return write_base(home / "base"), home / "adapter"


@pytest.fixture
def pipe(folders):
    base, adapter = folders
    pipe = FineFacePipeline.from_pretrained(base, adapter=adapter)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def plain(folders):
    pipe = FineFacePipeline.from_pretrained(folders[0])
    pipe.set_progress_bar_config(disable=True)
    return pipe


def generators(count):
    return [torch.Generator().manual_seed(100 + row) for row in range(count)]


def sample(pipe, prompts=PROMPTS, aus=AUS, generator=None, **kwargs):
    settings = {"num_inference_steps": 3, "guidance_scale": 5.0, "output_type": "latent"} | kwargs
    if generator is None:
        generator = generators(len(prompts) * kwargs.get("num_images_per_prompt", 1))
    return pipe(prompts, aus=aus, generator=generator, **settings).images


def alone(pipe, row, **kwargs):
    return sample(pipe, [PROMPTS[row]], [AUS[row]], generator=[generators(4)[row]], **kwargs)[0]


@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_batched_equals_one_by_one(pipe, guidance):
    batched = sample(pipe, guidance_scale=guidance)
    for row in range(4):
        torch.testing.assert_close(batched[row], alone(pipe, row, guidance_scale=guidance), atol=1e-4, rtol=0)


def test_each_row_follows_its_own_aus(pipe):
    swapped = sample(pipe, aus=[AUS[0], {"AU4": 1}, *AUS[2:]])
    changed = (sample(pipe) - swapped).abs().amax(dim=(1, 2, 3))
    assert changed[1] > 1e-2
    assert changed[[0, 2, 3]].max() < 1e-5


def test_several_images_a_prompt_keep_their_prompts_aus(pipe):
    images = sample(pipe, PROMPTS[:2], AUS[:2], num_images_per_prompt=2)
    again = sample(pipe, [PROMPTS[0]] * 2 + [PROMPTS[1]] * 2, [AUS[0]] * 2 + [AUS[1]] * 2)
    torch.testing.assert_close(images, again, atol=1e-4, rtol=0)


def test_unconditional_branch_has_no_text_and_no_aus(pipe):
    seen = []
    pipe.unet.register_forward_pre_hook(lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True)
    sample(pipe, num_inference_steps=1)
    (embeds,) = seen[0]["added_cond_kwargs"]["image_embeds"]
    assert embeds.shape == (8, 1, 12)
    assert not embeds[:4].any()
    assert torch.equal(embeds[4:, 0], au_vectors(AUS, 4))
    empty, _ = pipe.encode_prompt("", "cpu", 1, False)
    text = seen[0]["encoder_hidden_states"]
    torch.testing.assert_close(text[:4], empty.expand(4, -1, -1), atol=1e-5, rtol=0)


def test_same_generator_seed_gives_same_noise_with_and_without_aus(pipe):
    """The pairs of the evaluation: the no-AU sample has the prompt and the noise of its partner."""
    nothing = sample(pipe, aus=None)
    assert torch.equal(nothing, sample(pipe, aus=[{}] * 4))
    assert (nothing[0] - sample(pipe)[0]).abs().max() > 1e-2
    torch.testing.assert_close(nothing[2], sample(pipe)[2], atol=1e-5, rtol=0)


def test_scale_zero_switches_the_aus_off_and_is_not_kept(pipe):
    with_aus = sample(pipe)
    off = sample(pipe, au_scale=0.0)
    assert torch.equal(off, sample(pipe, aus=None, au_scale=0.0))
    assert torch.equal(sample(pipe), with_aus)


def test_pictures_come_out(pipe):
    image = pipe("a man", aus={"AU12": 3}, num_inference_steps=1).images[0]
    assert image.size == (16, 16)


def test_plain_pipeline_is_stable_diffusion(plain, folders):
    settings = {"num_inference_steps": 2, "output_type": "latent"}
    stock = StableDiffusionPipeline.from_pretrained(
        folders[0], safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    ours = plain(PROMPTS, generator=generators(4), **settings).images
    assert torch.equal(ours, stock(PROMPTS, generator=generators(4), **settings).images)


def test_aus_without_adapter_are_refused(plain):
    with pytest.raises(ValueError, match="no adapter is loaded"):
        plain("a man", aus={"AU12": 3})


@pytest.mark.parametrize(
    ("prompts", "aus", "message"),
    [
        (["a man", "a woman"], [{"AU12": 3}], "2 prompts but 1 AU vectors"),
        (["a man", "a woman"], {"AU12": 3}, "2 prompts but 1 AU vectors"),
        ("a man", [{}, {}], "1 prompts but 2 AU vectors"),
        ("a man", {"AU3": 1}, "AU3"),
        ("a man", {"AU12": float("nan")}, "AU12"),
        ("a man", [[1.0, 2.0]], "12 values, not 2"),
        ("a man", [], "1 prompts but 0"),
        (None, None, "prompt"),
    ],
)
def test_bad_requests_say_what_is_wrong(pipe, prompts, aus, message):
    with pytest.raises(ValueError, match=message):
        pipe(prompts, aus=aus, num_inference_steps=1)


def test_generators_must_match_the_images(pipe):
    with pytest.raises(ValueError, match="3 generators for 4 images"):
        sample(pipe, generator=generators(3))


def test_image_prompts_without_an_image_adapter_are_refused(pipe):
    with pytest.raises(ValueError, match="1 image prompts for 0 image adapters"):
        pipe("a man", aus={"AU12": 1}, ip_adapter_image_embeds=[torch.zeros(1, 1, 12)])


@pytest.mark.parametrize(
    "method",
    ["fuse_qkv_projections", "enable_attention_slicing", "enable_xformers_memory_efficient_attention"],
)
def test_what_would_destroy_the_adapter_is_forbidden(pipe, method):
    with pytest.raises(ValueError, match=f"{method} cannot be used with an adapter"):
        getattr(pipe, method)()


def test_adapter_destroyed_behind_the_pipeline_is_noticed(pipe):
    pipe.unet.fuse_qkv_projections()
    with pytest.raises(au_adapter.AdapterError, match="replaced"):
        sample(pipe)


def test_save_pretrained_refuses_an_adapter_and_writes_a_base(pipe, plain, tmp_path):
    with pytest.raises(ValueError, match="save_adapter"):
        pipe.save_pretrained(tmp_path / "no")
    assert not (tmp_path / "no").exists()
    plain.save_pretrained(tmp_path / "base")
    again = FineFacePipeline.from_pretrained(tmp_path / "base")
    again.set_progress_bar_config(disable=True)
    assert torch.equal(sample(again, aus=None), sample(plain, aus=None))


def test_vectors_take_every_form():
    row = [0.0] * 12
    row[ACTION_UNITS.index(12)] = 6.5
    expected = torch.tensor([row])
    for aus in ({"AU12": 6.5}, [{12: 6.5}], row, [row], expected, expected[0], [{"au12": 6.5}]):
        assert torch.equal(au_vectors(aus, 1), expected)
    assert au_vectors([], 0).shape == (0, 12)
