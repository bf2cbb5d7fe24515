"""The adapter over every kind of pipeline and beside image adapters, ControlNet and LoRAs, in any order."""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    UniPCMultistepScheduler,
)
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from tiny_adapter import CONFIG, shuffled
from tiny_diffusion import (
    IMAGE,
    WIDTH,
    image_adapter,
    make_controlnet,
    make_image_encoder,
    make_unet,
    make_xl_unet,
    write_base,
    write_xl_base,
)

from inference import adapter as au_adapter
from inference import lora
from inference.adapter import AdapterError
from inference.networks import text_attentions
from inference.pipeline import FineFaceImg2ImgPipeline, FineFaceInpaintPipeline, FineFacePipeline

PROMPTS = ["a man", "a young woman in the park", "black hair"]
AUS = [{"AU12": 5}, {"AU4": 3.5, "AU9": 2}, {"AU1": -2, "AU26": 7}]
FAMILIES = {"sd": (write_base, make_unet), "sdxl": (write_xl_base, make_xl_unet)}


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """A base, and an adapter saved for it, of each family."""
    made = {}
    for name, (write, unet) in FAMILIES.items():
        home = tmp_path_factory.mktemp(name)
        au_adapter.save(shuffled(unet=unet()), home / "adapter")
        made[name] = write(home / "base"), home / "adapter"
    return made


def load(folders, cls=FineFacePipeline, adapter=True, **kwargs):
    base, folder = folders
    pipe = cls.from_pretrained(base, adapter=folder if adapter else None, **kwargs)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def picture(seed, size=16):
    pixels = torch.randint(0, 255, (size, size, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.to(torch.uint8).numpy())


PICTURES = [picture(seed) for seed in range(3)]
MASKS = [picture(seed).convert("L").point(lambda value: 255 * (value > 99)) for seed in range(3, 6)]
CONTROLS = [picture(seed) for seed in range(6, 9)]

TASKS = {
    "text to image": (FineFacePipeline, False, {}),
    "image to image": (FineFaceImg2ImgPipeline, False, {"image": PICTURES, "strength": 0.7}),
    "inpainting": (FineFaceInpaintPipeline, False, {"image": PICTURES, "mask_image": MASKS}),
    "controlnet": (FineFacePipeline, True, {"image": CONTROLS}),
    "controlnet, image to image": (
        FineFaceImg2ImgPipeline,
        True,
        {"image": PICTURES, "control_image": CONTROLS, "strength": 0.7},
    ),
    "controlnet, inpainting": (
        FineFaceInpaintPipeline,
        True,
        {"image": PICTURES, "mask_image": MASKS, "control_image": CONTROLS},
    ),
}


def draw(pipe, rows=(0, 1, 2), aus=AUS, inputs=None, **kwargs):
    generators = [torch.Generator().manual_seed(100 + row) for row in rows]
    settings = {"num_inference_steps": 3, "guidance_scale": 5.0, "output_type": "latent"} | kwargs
    inputs = {
        name: [value[row] for row in rows] if isinstance(value, list) else value
        for name, value in (inputs or {}).items()
    }
    inputs |= {"height": 16, "width": 16} if "mask_image" in inputs or not inputs else {}
    return pipe(
        [PROMPTS[row] for row in rows],
        aus=None if aus is None else [aus[row] for row in rows],
        generator=generators,
        **inputs,
        **settings,
    ).images


@pytest.fixture(scope="module")
def whole(homes):
    """A pipeline of each family with AU adapter and image adapter, whose models all tasks share."""
    made = {}
    for family, folders in homes.items():
        pipe = load(folders, image_encoder=make_image_encoder())
        pipe.load_ip_adapter(image_adapter(pipe.unet), None, "")
        pipe.set_ip_adapter_scale(0.6)
        made[family] = pipe, make_controlnet(FAMILIES[family][1]())
    return made


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_batched_equals_one_by_one(whole, family, task):
    """Each row follows its own AUs, and its own image prompt, in every pipeline."""
    (base, controlnet), (cls, controlled, inputs) = whole[family], TASKS[task]
    pipe = cls.from_pipe(base, **({"controlnet": controlnet} if controlled else {}))
    pipe.set_progress_bar_config(disable=True)
    assert isinstance(pipe, cls) and isinstance(pipe, pipe.stock)
    assert pipe.unet is base.unet
    prompts = torch.randn(3, 1, IMAGE, generator=torch.Generator().manual_seed(2))

    def sample(rows, aus=AUS):
        embeds = prompts[list(rows)]
        both = torch.cat([torch.zeros_like(embeds), embeds])
        return draw(pipe, rows, aus, inputs, ip_adapter_image_embeds=[both])

    batched = sample((0, 1, 2))
    for row in range(3):
        torch.testing.assert_close(batched[row], sample((row,))[0], atol=1e-4, rtol=1e-4)
    swapped = sample((0, 1, 2), [AUS[0], {"AU17": 4}, AUS[2]])
    changed = (batched - swapped).abs().amax(dim=(1, 2, 3))
    assert changed[1] > 1e-3
    assert changed[[0, 2]].max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_text_and_aus_guide_apart_in_every_pipeline(whole, family):
    """Beside an image adapter and a ControlNet; batched as one by one, and with equal scales as ever."""
    base, controlnet = whole[family]
    cls, _, inputs = TASKS["controlnet, inpainting"]
    pipe = cls.from_pipe(base, controlnet=controlnet)
    pipe.set_progress_bar_config(disable=True)
    prompts = torch.randn(3, 1, IMAGE, generator=torch.Generator().manual_seed(2))

    def sample(rows, **kwargs):
        both = torch.cat([torch.zeros_like(prompts[list(rows)]), prompts[list(rows)]])
        return draw(pipe, rows, AUS, inputs, ip_adapter_image_embeds=[both], **kwargs)

    apart = sample((0, 1, 2), text_guidance_scale=2.0)
    for row in range(3):
        alone = sample((row,), text_guidance_scale=2.0)[0]
        torch.testing.assert_close(apart[row], alone, atol=1e-4, rtol=1e-4)
    close = sample((0, 1, 2), text_guidance_scale=5.0 + 1e-6)
    torch.testing.assert_close(close, sample((0, 1, 2)), atol=1e-3, rtol=1e-3)
    assert (apart - close).abs().max() > 1e-2


@pytest.fixture
def pipe(homes):
    return load(homes["sd"], image_encoder=make_image_encoder())


def images_beside(pipe, face_id=False):
    pipe.load_ip_adapter(image_adapter(pipe.unet, face_id), None, "", image_encoder_folder=None)
    return pipe


def with_images(pipe, **kwargs):
    embeds = torch.randn(1, 1, IMAGE, generator=torch.Generator().manual_seed(2))
    return draw(pipe, ip_adapter_image_embeds=[torch.cat([torch.zeros_like(embeds), embeds])], **kwargs)


@pytest.mark.parametrize("face_id", [False, True], ids=["ip-adapter", "face-id"])
def test_either_order_of_loading_gives_the_same_pictures(homes, pipe, face_id):
    after = images_beside(pipe, face_id)
    first = images_beside(load(homes["sd"], adapter=False, image_encoder=make_image_encoder()), face_id)
    first.load_adapter(homes["sd"][1])
    assert au_adapter.installed(first.unet) == au_adapter.installed(after.unet) == CONFIG
    loras = {lora.NAME, "faceid_0"} if face_id else {lora.NAME}
    assert set(first.unet.active_adapters()) == set(after.unet.active_adapters()) == loras
    drawn = with_images(after)
    torch.testing.assert_close(with_images(first), drawn, atol=1e-5, rtol=0)
    assert (with_images(after, aus=None) - drawn).abs().max() > 1e-2


def test_eq_5_by_hand():
    """Z = Attn(Q, K_text, V_text) + λ_image Attn(Q, K_image, V_image) + λ_AU Attn(Q, K_AU, V_AU)."""
    unet = shuffled()
    with au_adapter.set_aside(unet):
        unet._load_ip_adapter_weights([image_adapter(unet)])
    au_adapter.set_scale(unet, 0.7)
    attention = next(iter(text_attentions(unet).values()))
    attention.processor.scale[0] = 0.4
    aus = torch.rand(2, 1, 12) * 5
    image_tokens, au_tokens = unet.encoder_hid_proj([torch.randn(2, 1, IMAGE), aus])
    hidden, text = torch.randn(2, 5, attention.to_q.in_features), torch.randn(2, 12, WIDTH)

    def attend(keys, values):
        query = attention.to_q(hidden)
        q, k, v = (x.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for x in (query, keys, values))
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)
        return (weights @ v).transpose(1, 2).flatten(2)

    with torch.no_grad():
        found = attention(hidden, encoder_hidden_states=(text, [image_tokens, au_tokens]))
        keys, values = attention.processor.to_k_ip, attention.processor.to_v_ip
        z = attend(attention.to_k(text), attention.to_v(text))
        z = z + 0.4 * attend(keys[0](image_tokens[:, 0]), values[0](image_tokens[:, 0]))
        z = z + 0.7 * attend(keys[1](au_tokens[:, 0]), values[1](au_tokens[:, 0]))
        torch.testing.assert_close(found, attention.to_out[0](z), atol=1e-5, rtol=1e-4)


def test_the_two_scales_are_apart(pipe):
    aus_alone = draw(pipe)
    images_beside(pipe)
    both = with_images(pipe)
    with pytest.raises(ValueError, match="2 scales for 1 image adapters; that of the AUs is au_scale"):
        pipe.set_ip_adapter_scale([0.5, 0.5])
    pipe.set_ip_adapter_scale(0.0)
    torch.testing.assert_close(with_images(pipe), aus_alone, atol=1e-5, rtol=0)
    pipe.set_ip_adapter_scale(1.0)
    torch.testing.assert_close(with_images(pipe), both, atol=1e-5, rtol=0)
    no_aus = with_images(pipe, au_scale=0.0)
    assert (no_aus - both).abs().max() > 1e-2
    assert torch.equal(no_aus, with_images(pipe, au_scale=0.0, aus=None))


def test_pictures_and_embeds_are_the_same_image_prompt(pipe):
    images_beside(pipe)
    embeds = pipe.prepare_ip_adapter_image_embeds(PICTURES[0], None, "cpu", 1, True)
    assert [one.shape for one in embeds] == [(2, 1, IMAGE)]
    torch.testing.assert_close(
        draw(pipe, ip_adapter_image=PICTURES[0]),
        draw(pipe, ip_adapter_image_embeds=embeds),
        atol=1e-5,
        rtol=0,
    )


def test_unloading_the_image_adapter_leaves_the_aus(pipe):
    before = draw(pipe)
    images_beside(pipe).unload_ip_adapter()
    torch.testing.assert_close(draw(pipe), before, atol=1e-5, rtol=0)


def test_a_failed_loading_leaves_all_as_it_was(pipe):
    before = draw(pipe)
    broken = image_adapter(pipe.unet)
    broken["ip_adapter"].popitem()
    with pytest.raises(KeyError):
        pipe.load_ip_adapter(broken, None, "", image_encoder_folder=None)
    assert torch.equal(draw(pipe), before)


def test_image_prompts_must_match_the_image_adapters(pipe):
    images_beside(pipe)
    with pytest.raises(ValueError, match=r"0 image prompts for 1 image adapters: .* unload_ip_adapter"):
        draw(pipe)
    with pytest.raises(ValueError, match="2 image prompts for 1 image adapters"):
        draw(pipe, ip_adapter_image=PICTURES[:2])
    with pytest.raises(ValueError, match="2 rows of image embeds for 3 images"):
        draw(pipe, ip_adapter_image_embeds=[torch.zeros(4, 1, IMAGE)])


def test_masks_of_image_adapters_leave_the_aus_everywhere(pipe):
    images_beside(pipe)
    nowhere = torch.zeros(1, 1, 16, 16)
    masked = with_images(pipe, cross_attention_kwargs={"ip_adapter_masks": [nowhere]})
    again = with_images(pipe, cross_attention_kwargs={"ip_adapter_masks": nowhere})
    neither = with_images(pipe, cross_attention_kwargs={"ip_adapter_masks": [nowhere, nowhere]})
    pipe.set_ip_adapter_scale(0.0)
    torch.testing.assert_close(masked, with_images(pipe), atol=1e-5, rtol=0)
    torch.testing.assert_close(again, masked, atol=1e-5, rtol=0)
    torch.testing.assert_close(neither, with_images(pipe, au_scale=0.0), atol=1e-5, rtol=0)


def test_a_stock_loading_behind_the_pipeline_is_noticed(pipe):
    """What diffusers' own pipelines would do: all of the AU part is gone, and the UNet has no adapter."""
    pipe.unet._load_ip_adapter_weights([image_adapter(pipe.unet)])
    with pytest.raises(ValueError, match="no adapter is loaded"):
        draw(pipe)


def style(unet, folder):
    """Another LoRA, saved as diffusers does."""
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"]), "style")
    generator = torch.Generator().manual_seed(8)
    for name, parameter in unet.named_parameters():
        if ".style." in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    layers = get_peft_model_state_dict(unet, adapter_name="style")
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)
    return folder


def test_a_style_lora_beside_the_adapters_own(pipe, tmp_path):
    """Loaded, weighed, fused, unfused, dropped: the AU adapter's LoRA takes part throughout."""
    folder = style(make_unet(), tmp_path)
    before = draw(pipe)
    pipe.load_lora_weights(folder, adapter_name="style")
    assert set(pipe.unet.active_adapters()) == {lora.NAME, "style"}
    both = draw(pipe)
    assert (both - before).abs().max() > 1e-2
    pipe.set_adapters(["style"], [0.0])
    torch.testing.assert_close(draw(pipe), before, atol=1e-5, rtol=0)
    pipe.set_adapters(["style"], [1.0])
    torch.testing.assert_close(draw(pipe), both, atol=1e-5, rtol=0)
    pipe.fuse_lora(adapter_names=["style"])
    torch.testing.assert_close(draw(pipe), both, atol=1e-3, rtol=0)
    with pytest.raises(AdapterError, match="fused into the base"):
        au_adapter.save(pipe.unet, tmp_path / "no")
    pipe.unfuse_lora()
    torch.testing.assert_close(draw(pipe), both, atol=1e-3, rtol=0)
    pipe.unload_lora_weights()
    torch.testing.assert_close(draw(pipe), before, atol=1e-3, rtol=0)


def test_fused_and_unloaded_is_the_same_model_for_good(pipe):
    """The usual way to speed: no LoRA layers are left, and the AUs still work."""
    before = draw(pipe)
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    assert not [name for name, _ in pipe.unet.named_parameters() if "lora" in name]
    torch.testing.assert_close(draw(pipe), before, atol=1e-3, rtol=0)


def test_a_lora_that_is_fused_already_must_be_let_go_first(homes, tmp_path):
    """peft would leave the adapter's own LoRA out, without a word."""
    pipe = load(homes["sd"], adapter=False)
    pipe.load_lora_weights(style(make_unet(), tmp_path), adapter_name="style")
    pipe.fuse_lora()
    with pytest.raises(AdapterError, match="unload_lora_weights"):
        pipe.load_adapter(homes["sd"][1])
    pipe.unload_lora_weights()
    pipe.load_adapter(homes["sd"][1])
    assert (draw(pipe) - draw(pipe, aus=None)).abs().max() > 1e-2


def test_adapters_switched_off_behind_the_pipeline_are_noticed(pipe, tmp_path):
    pipe.load_lora_weights(style(make_unet(), tmp_path), adapter_name="style")
    pipe.unet.set_adapters(["style"])
    with pytest.raises(AdapterError, match="switched off"):
        draw(pipe)


@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler,
        DPMSolverMultistepScheduler,
        EulerDiscreteScheduler,
        LCMScheduler,
        UniPCMultistepScheduler,
    ],
)
def test_schedulers_are_those_of_a_stock_pipeline(homes, pipe, scheduler):
    """With neutral AUs switched off and no LoRA there is nothing but the base, whatever the scheduler."""
    plain = load(homes["sd"], adapter=False)
    stock = StableDiffusionPipeline(**plain.components, requires_safety_checker=False)
    for one in (pipe, stock):
        one.scheduler = scheduler.from_config(plain.scheduler.config)
        one.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 4, "output_type": "latent"}
    pipe.disable_lora()
    ours, theirs = (
        one(PROMPTS, generator=[torch.Generator().manual_seed(row) for row in range(3)], **settings, **more)
        for one, more in ((pipe, {"au_scale": 0.0}), (stock, {}))
    )
    torch.testing.assert_close(ours.images, theirs.images, atol=1e-5, rtol=0)
    pipe.enable_lora()
    assert draw(pipe, **settings).isfinite().all()


def test_aus_beyond_the_scale_go_on_in_a_straight_line(pipe):
    """The encoder is linear: AU12 = 8 is as far past 5 as 5 is past 2, and -3 lies on the other side of 0."""
    seen = []
    pipe.unet.encoder_hid_proj.register_forward_hook(lambda module, args, tokens: seen.append(tokens[0]))
    for intensity in (-3, 2, 5, 8):
        drawn = pipe("a man", aus={"AU12": intensity}, num_inference_steps=1, output_type="latent").images
        assert drawn.isfinite().all()
    low, two, five, eight = (tokens[-1] for tokens in seen)
    torch.testing.assert_close(eight - five, five - two, atol=1e-5, rtol=0)
    torch.testing.assert_close(two - low, (five - two) * 5 / 3, atol=1e-5, rtol=0)


def test_the_class_follows_the_base(homes, whole):
    xl = load(homes["sdxl"], FineFaceImg2ImgPipeline)
    assert isinstance(xl, StableDiffusionXLImg2ImgPipeline)
    assert au_adapter.installed(xl.unet) == CONFIG
    back = FineFacePipeline.from_pipe(FineFaceImg2ImgPipeline.from_pipe(whole["sd"][0]))
    assert back.stock is StableDiffusionPipeline and type(back) is type(whole["sd"][0])


def test_a_base_without_a_unet_is_refused():
    from diffusers import FluxPipeline

    with pytest.raises(AdapterError, match="FluxPipeline has no UNet"):
        FineFacePipeline.over(FluxPipeline)
