"""Editing methods: shapes, losses by hand, what no change and a collapsed mask do, save and load."""

import json

import pytest
import torch

import methods.registry
from methods.editing.critic import Critic
from methods.editing.layers import with_aus
from methods.editing.losses import gradient_penalty, total_variation
from methods.editing.model import Faces
from methods.ganimation import model as ganimation
from methods.ganimation.settings import GANimationTrain
from methods.model import MethodError
from methods.relative_msf.model import Fusion
from methods.relative_msf.settings import RelativeMSFTrain

EDITING = [name for name, method in methods.registry.METHODS.items() if method.edits and method.model]
"""Those that are trained."""


def model(name, **settings):
    method = methods.registry.get(name)
    return method.trained_model(method.train(**({"size": 32, "channels": 4} | settings)))


def faces(count=3, size=32):
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand(count, 3, size, size, generator=generator) * 2 - 1
    source, target = torch.rand(2, count, 12, generator=generator) * 5
    jitter = torch.rand(count, 2, 12, generator=generator) * 2 - 1
    return Faces(pictures, source, target, jitter, torch.rand(count, generator=generator))


def test_gradient_penalty_of_a_linear_score_is_known():
    """Its gradient is w everywhere: (‖w‖ - 1)². Of a square's, 2x, it depends on the place between."""
    real, made = torch.ones(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    w = torch.zeros(3, 2, 2)
    w[0, 0, 0], w[1, 1, 1] = 3.0, 4.0
    mix = torch.tensor([0.25, 0.75])

    def linear(x):
        return (x * w).sum(dim=(1, 2, 3))[:, None]

    assert gradient_penalty(linear, real, made, mix).item() == pytest.approx(16.0)
    square = gradient_penalty(lambda x: x.square().sum(dim=(1, 2, 3))[:, None], real, made, mix)
    norms = [2 * share * 12**0.5 for share in (0.25, 0.75)]
    assert square.item() == pytest.approx(sum((norm - 1) ** 2 for norm in norms) / 2)


def test_total_variation_by_hand():
    one = torch.tensor([[[[0.0, 1.0], [3.0, 0.0]]]])
    assert total_variation(one).item() == 3 + 1 + 1 + 3
    assert total_variation(torch.cat([one, torch.zeros_like(one)])).item() == 4


def test_action_units_stand_at_every_place():
    joined = with_aus(torch.zeros(2, 3, 4, 5), torch.arange(24.0).reshape(2, 12))
    assert joined.shape == (2, 15, 4, 5)
    assert (joined[1, 3:] == torch.arange(12.0, 24)[:, None, None]).all() and not joined[:, :3].any()


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_critic_ends_at_two_by_two(size):
    score, aus = Critic(size, 2, bias=True)(torch.zeros(2, 3, size, size))
    assert score.shape == (2, 1, 2, 2) and aus.shape == (2, 12)


def test_the_published_widths():
    """At 128 px: 64, then five doublings to 2048 (the papers' critic), which 512 px does not exceed."""
    with torch.device("meta"):
        published, large = Critic(128, 64, bias=False), Critic(512, 64, bias=False)
    assert published.aus.weight.shape == (12, 2048, 2, 2)
    widths = [layer.out_channels for layer in published.trunk if isinstance(layer, torch.nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 1024, 2048]
    assert large.aus.weight.shape == (12, 2048, 2, 2)


def test_fusion_keeps_the_larger_size():
    fusion = Fusion(high=6, low=10, made=7)
    assert fusion(torch.zeros(2, 6, 8, 8), torch.zeros(2, 10, 4, 4), torch.zeros(2, 12)).shape == (2, 7, 8, 8)


@pytest.mark.parametrize("name", EDITING)
@pytest.mark.parametrize("size", [32, 64])
def test_a_face_is_edited_at_its_size(name, size):
    given = faces(2, size)
    made = model(name, size=size).edit(given.pictures, given.source, given.target)
    assert made.pictures.shape == given.pictures.shape and made.pictures.abs().max() <= 1
    if made.kept is not None:
        assert made.kept.shape == (2, 1, size, size)


@pytest.mark.parametrize("name", EDITING)
def test_every_net_takes_its_steps_and_its_parameters_have_gradients(name):
    """The critic's two, and the generator's at its turn; no net's loss reaches the other's parameters."""
    edits, asked = model(name, generator_every=2), []

    def update(net, loss):
        gradients = torch.autograd.grad(loss, list(edits.nets[net].parameters()), allow_unused=True)
        found = [gradient is not None and gradient.isfinite().all() for gradient in gradients]
        asked.append((net, all(found)))

    for step in range(2):
        assert edits.step(step, faces(), update).isfinite()
    # the penalty says nothing of the head that reads AUs
    critic = [("critic", True), ("critic", False)]
    assert asked == [*critic, *critic, ("generator", True)]


def test_relative_msf_is_told_the_change_alone():
    """No change is the same question whatever the face shows; and its loss asks the picture back."""
    edits, given = model("relative_msf"), faces()
    still = edits.edit(given.pictures, given.source, given.source).pictures
    also = edits.edit(given.pictures, given.target, given.target).pictures
    torch.testing.assert_close(still, also)
    losses = edits.generator_losses(given.pictures, given.source / 5, given.target / 5)
    weight = edits.settings.identity_weight
    assert losses["identity"].item() == pytest.approx(weight * (still - given.pictures).abs().mean().item())
    moved = edits.edit(given.pictures, given.source, given.target).pictures
    assert (moved - still).abs().max() > 1e-4


def test_relative_msf_learns_from_jittered_action_units():
    edits, given = model("relative_msf", source_jitter=0.02, target_jitter=0.1), faces(200)
    source, target = edits.conditions(given)
    for found, asked, most in ((source, given.source, 0.02), (target, given.target, 0.1)):
        moved = (found - asked / 5).abs()
        assert 0.8 * most < moved.max() <= most + 1e-6 and found.min() >= 0 and found.max() <= 1


def test_the_generator_has_its_turns():
    early = RelativeMSFTrain(steps=20, generator_every=4, generator_every_late=3, decay_from=0.5)
    assert [step for step in range(20) if early.updates_generator(step)] == [3, 7, 11, 14, 17]
    assert [early.learning_rate_at(step) for step in (0, 10, 15, 19)] == pytest.approx(
        [1e-4, 1e-4, 5e-5, 1e-5]
    )
    other = GANimationTrain(steps=20)
    assert [step for step in range(20) if other.updates_generator(step)] == [4, 9, 14, 19]


@pytest.mark.parametrize(("bias", "said"), [(50.0, "copies the source"), (-50.0, "every pixel anew")])
def test_a_mask_that_collapses_is_named(monkeypatch, bias, said):
    monkeypatch.setattr(ganimation, "PATIENCE", 2)
    edits, given = model("ganimation", generator_every=1), faces()
    attention = edits.generator.attention
    answer = attention.forward
    monkeypatch.setattr(attention, "forward", lambda maps: answer(maps) + bias)
    edits.step(0, given, lambda *_: None)
    with pytest.raises(MethodError, match=f"attention mask of ganimation has collapsed.*{said}"):
        edits.step(1, given, lambda *_: None)


def test_a_mask_of_ones_gives_the_picture_back(monkeypatch):
    edits, given = model("ganimation"), faces()
    monkeypatch.setattr(edits.generator.attention, "forward", lambda maps: torch.full((3, 1, 32, 32), 1e4))
    made = edits.edit(given.pictures, given.source, given.target)
    assert torch.equal(made.pictures, given.pictures)


@pytest.mark.parametrize("name", EDITING)
def test_saved_and_loaded_it_edits_alike(name, tmp_path):
    trained, fresh, given = model(name, seed=1), model(name, seed=1), faces()
    with torch.no_grad():
        for parameter in trained.generator.parameters():
            parameter.add_(0.01)
    trained.save(tmp_path / "model")
    fresh.load(tmp_path / "model")
    ask = given.pictures, given.source, given.target
    assert torch.equal(trained.edit(*ask).pictures, fresh.edit(*ask).pictures)
    assert not any(parameter.requires_grad for parameter in fresh.generator.parameters())
    with pytest.raises(MethodError, match="trained with other settings"):
        model(name, seed=2).load(tmp_path / "model")
    with pytest.raises(MethodError, match="holds no editor"):
        fresh.load(tmp_path)
    assert json.loads((tmp_path / "model" / "editor.json").read_text())["settings"]["method"] == name


@pytest.mark.parametrize("size", [16, 96])
def test_a_size_that_does_not_halve_is_refused(size):
    with pytest.raises(ValueError, match="power of 2 from 32"):
        RelativeMSFTrain(size=size)
