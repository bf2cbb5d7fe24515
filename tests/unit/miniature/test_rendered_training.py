"""Training on either world: twelve latent channels, a plan that can be cut short, pictures by name."""

import numpy as np
import pytest

from miniature.train import autoencoder, base, world


def smooth_pictures(count: int = 60) -> np.ndarray:
    from PIL import Image

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(one).resize((64, 64), Image.Resampling.BICUBIC)) for one in coarse]
    )


@pytest.mark.parametrize("channels", [8, 12])
def test_the_encoder_set_by_hand_is_the_projection(channels):
    pictures = smooth_pictures()
    components = autoencoder.patch_components(pictures, channels)
    coder = autoencoder.build(channels)
    autoencoder.set_encoder(coder, *components)
    walked = autoencoder.encode_all(coder, pictures[:6]).astype(np.float32)
    assert walked.shape == (6, channels, 16, 16)
    np.testing.assert_allclose(walked, autoencoder.projected(pictures[:6], *components), atol=0.004)


def test_too_many_latent_channels_are_refused():
    with pytest.raises(ValueError, match="16 latent channels"):
        autoencoder.build(17)


def test_a_plan_with_a_decay_keeps_its_rate_until_the_end_is_near():
    plan = base.Plan(1000, learning_rate=1e-3, decay=200)
    assert plan.rate(0) < plan.rate(50) < plan.rate(200) == plan.rate(799) == 1e-3
    assert plan.rate(900) == pytest.approx(5e-4)
    shorter = base.Plan(600, learning_rate=1e-3, decay=200)
    assert [plan.rate(step) for step in range(300)] == [shorter.rate(step) for step in range(300)]
    assert base.Plan(1000).rate(500) < base.Plan(1000).rate(150)


def test_attention_can_start_below_the_first_level():
    import torch

    everywhere, below = base.build_unet(12), base.build_unet(12, attention_from=1)
    assert len(below.attn_processors) < len(everywhere.attn_processors)
    out = below(torch.zeros(1, 12, 16, 16), torch.tensor([5]), torch.zeros(1, 40, base.TEXT_WIDTH)).sample
    assert out.shape == (1, 12, 16, 16)


def test_worlds_have_their_own_faces_and_share_cartoons(tmp_path):
    with pytest.raises(ValueError, match="unknown world 'painted'"):
        world.pictures(tmp_path, "few", 2, seed=0, world="painted")
    calm = np.zeros(12)
    faces = {
        name: world.WORLDS[name](np.random.default_rng(1), calm, "photo", 64)[0] for name in world.WORLDS
    }
    assert not np.array_equal(faces["drawn"], faces["rendered"])
    cartoons = [world.WORLDS[name](np.random.default_rng(1), calm, "cartoon", 64) for name in world.WORLDS]
    assert np.array_equal(cartoons[0][0], cartoons[1][0]) and cartoons[0][1] == cartoons[1][1]


def test_joined_pictures_keep_their_order():
    def some(value: int, cartoon: bool) -> world.Pictures:
        images = np.full((2, 64, 64, 3), value, np.uint8)
        return world.Pictures(images, np.zeros((2, 12), np.float32), [str(value)] * 2, np.full(2, cartoon))

    both = world.joined(some(1, False), some(2, True))
    assert both.images[:, 0, 0, 0].tolist() == [1, 1, 2, 2]
    assert both.captions == ["1", "1", "2", "2"] and both.cartoons.tolist() == [False, False, True, True]


def test_each_world_has_folders_of_its_own():
    import typer

    from miniature.train import command

    drawn, rendered = (command._folders(name, None, None) for name in ("drawn", "rendered"))
    assert set(drawn).isdisjoint(rendered) and drawn[1] == command.MODELS
    with pytest.raises(typer.BadParameter, match="painted"):
        command._folders("painted", None, None)


def test_parts_may_be_trained_in_any_order(tmp_path):
    import json

    from miniature.train import command

    for part, done in (
        ("decoder", "10 steps"),
        ("UNet and text encoder", "5 steps"),
        ("decoder", "20 steps"),
    ):
        command._record(tmp_path, part, done)
    assert json.loads((tmp_path / command.TRAININGS).read_text()) == [
        "UNet and text encoder, 5 steps",
        "decoder, 20 steps",
    ]
