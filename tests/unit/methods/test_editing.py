"""Editing methods: shapes, losses by hand, what no change and a collapsed mask do, save and load."""

import json
import math

import pytest
import torch

import methods.registry
from facs import ACTION_UNITS
from methods.editing.critic import Critic
from methods.editing.layers import with_aus
from methods.editing.losses import gradient_penalty, total_variation
from methods.editing.model import Faces
from methods.editing.regions import REGIONS, regions
from methods.editing.settings import AdversarialSettings
from methods.ganimation import model as ganimation
from methods.ganimation.settings import GANimationTrain
from methods.model import MethodError
from methods.pattgan.model import PatchCritic
from methods.relative_msf.model import Fusion
from methods.relative_msf.settings import RelativeMSFTrain
from methods.slidergan.model import BLENDSHAPES, blendshapes
from pipelines import profiles

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


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_patch_critic_looks_at_eight_by_eight(size):
    critic = PatchCritic(size, 2, bias=True)
    assert critic.near(torch.zeros(1, 3, size, size)).shape[2:] == (8, 8)
    score, aus = critic(torch.zeros(2, 3, size, size))
    assert score.shape == (2, 1, 2, 2) and aus.shape == (2, 12)


def test_targets_of_every_level_are_equally_likely():
    """AU1 has three 0 and one 5: the 5 as often as those; the other eleven AUs tell nothing apart."""
    aus = torch.zeros(4, 12)
    aus[3, 0] = 5
    found = model("pattgan").target_weights(aus)
    assert found.sum().item() == pytest.approx(1)
    assert found[3].item() == pytest.approx((1 / 2 + 11 / 4) / 12)
    assert found[0].item() == pytest.approx((1 / 6 + 11 / 4) / 12)


def test_lacgan_changes_nothing_where_no_action_unit_does():
    edits, given = model("lacgan"), faces()
    still = edits.edit(given.pictures, given.source, given.source)
    assert torch.equal(still.pictures, given.pictures) and (still.kept == 1).all()
    chin = given.source.clone()
    chin[:, ACTION_UNITS.index(26)] += torch.where(chin[:, ACTION_UNITS.index(26)] > 2.5, -1, 1)
    kept = edits.edit(given.pictures, given.source, chin).kept
    assert kept[:, :, 4].min() > 0.99 > 0.9 > kept[:, :, 25].min()


def test_lacgan_regions_lie_where_they_say():
    found = regions(40)
    for place, au in enumerate(ACTION_UNITS):
        x, y, *_ = REGIONS[au]
        row, column = divmod(int(found[place].argmax()), 40)
        assert abs((column + 0.5) / 40 - x) <= 0.02 and abs((row + 0.5) / 40 - y) <= 0.02


def test_lacgan_weighs_what_changes_outside_its_regions():
    """With no AU changing all is outside; where one changes wholly, its centre is not."""
    edits, given = model("lacgan"), faces()
    source, made = given.source / 5, given.pictures + 0.5
    still = edits.further_losses(given.pictures, made, source, source)["outside"].item()
    assert still == pytest.approx(edits.settings.outside_weight * 0.5, rel=1e-5)
    assert edits.further_losses(given.pictures, made, source, given.target / 5)["outside"].item() < still


def test_slidergan_is_told_the_change_of_blendshapes_alone():
    aus = torch.zeros(1, 12)
    aus[0, ACTION_UNITS.index(12)] = 0.6
    moved = dict(zip(BLENDSHAPES, blendshapes(aus)[0].tolist(), strict=True))
    assert {name for name, value in moved.items() if value} == {"mouthSmileLeft", "mouthSmileRight"}
    assert set(BLENDSHAPES.values()) == set(ACTION_UNITS)
    edits, given = model("slidergan"), faces()
    still = edits.edit(given.pictures, given.source, given.source).pictures
    torch.testing.assert_close(still, edits.edit(given.pictures, given.target, given.target).pictures)


def test_the_relativistic_critic_compares():
    """Scores that are equal cost ln 2 on either side; the critic gains where the real one is higher."""
    edits, given = model("slidergan"), faces()
    real, _ = edits.critic(given.pictures)
    assert edits.unmasking(real, real).item() == pytest.approx(math.log(2), rel=1e-5)
    assert edits.deceiving(real, given.pictures).item() == pytest.approx(math.log(2), rel=1e-5)
    assert edits.unmasking(real + 3, real).item() == pytest.approx(math.log1p(math.exp(-3)), rel=1e-4)


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


def test_the_published_sizes_are_a_profile(tmp_path, monkeypatch):
    """Every editor of the profile `editing` gives and judges pictures of its size: 128 and 512, at full
    width. On the meta device: shapes without arithmetic."""
    for name in ("AFFECTNET", "DISFA"):
        monkeypatch.setenv(name, str(tmp_path))
    editors = profiles.load("editing", tmp_path).editing.editors
    trained = [one for one in editors.values() if isinstance(one, AdversarialSettings)]
    assert [(one.size, one.channels) for one in trained] == [(128, 64)] * 5 + [(512, 64)] * 5
    assert {one.method for one in editors.values()} == {*EDITING, "unedited", "fineface_edit"}
    for settings in trained:
        with torch.device("meta"):
            edits = methods.registry.get(settings.method).trained_model(settings)
            pictures, aus = torch.zeros(2, 3, settings.size, settings.size), torch.zeros(2, 12)
            if settings.method != "lacgan":  # its regions are numbers
                assert edits.generate(pictures, aus, aus).pictures.shape == pictures.shape
            if settings.method != "pattgan":  # and those that its critic begins with
                score, read = edits.critic(pictures)
                assert score.shape == (2, 1, 2, 2) and read.shape == (2, 12)


@pytest.mark.parametrize("size", [16, 96])
def test_a_size_that_does_not_halve_is_refused(size):
    with pytest.raises(ValueError, match="power of 2 from 32"):
        RelativeMSFTrain(size=size)
