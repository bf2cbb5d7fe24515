"""Editing by a diffusion adapter: no change is none, change stays within the face, guidance adds to it."""

import dataclasses
import shutil

import numpy as np
import pytest
import tiny_diffusion
import torch
from PIL import Image
from tiny_adapter import CONFIG, shuffled
from tiny_diffusion import make_vae

from inference import adapter
from methods.editing.editor import Material, editor
from methods.fineface.settings import FineFaceTrain
from methods.fineface_edit.settings import FineFaceEditTrain
from settings.profile import Base

SIZE = 32
FACE = [0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25, 0.75]
"""A square outline in the middle."""
SOURCE = [[float(place % 3) for place in range(12)], [0.0] * 12]
TARGET = [[5.0] + [0.0] * 11, [0.0] * 11 + [5.0]]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    from diffusers import UNet2DConditionModel

    folder = tmp_path_factory.mktemp("fineface_edit")
    base = tiny_diffusion.write_base(folder / "base")
    unet = shuffled(unet=UNet2DConditionModel.from_pretrained(base / "unet"))
    adapter.save(unet, folder / "adapter")
    train = FineFaceTrain(rank=CONFIG.rank, alpha=CONFIG.alpha)
    return Material(
        folder / "adapter", "hash", train, Base(model=str(base), size=SIZE), batch_size=2, device="cpu"
    )


class Traced:
    """Gives every picture the same outline."""

    fingerprint = "outlines"

    def __init__(self, outline):
        self.outline = outline

    def trace(self, pictures):
        return [self.outline] * len(pictures)


def make(material, outline=None, **settings):
    settings = {"size": SIZE, "steps": 4, "depth": 0.5} | settings
    made = editor(FineFaceEditTrain(**settings), material)
    made._outlines = Traced(outline)
    return made


def pictures(count=2, size=SIZE):
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(60, 190, (size, size, 3), np.uint8)) for _ in range(count)]


def changed(edited, source):
    """Which pixels differ, bool [n, size, size]."""
    return (values(one for one, _ in edited) != values(source)).any(axis=3)


def values(shown):
    """Pictures as int [n, size, size, 3]."""
    return np.stack([np.asarray(one).astype(int) for one in shown])


def test_no_change_gives_the_picture_back_exactly(material):
    made = make(material).edit(pictures(), SOURCE, SOURCE)
    assert not changed(made, pictures()).any()
    assert [kept for _, kept in made] == [0, 0]


def test_a_change_stays_within_the_face(material):
    given = pictures()
    everywhere = changed(make(material).edit(given, SOURCE, TARGET), given)
    assert everywhere[:, :4].any() and everywhere[:, 12:20, 12:20].mean() > 0.3
    made = make(material, FACE, reach=1.0).edit(given, SOURCE, TARGET)
    within = changed(made, given)
    assert within[:, 12:20, 12:20].any() and not within[:, :4].any() and not within[:, :, -4:].any()
    assert made[0][1] == pytest.approx(1 - 0.25, abs=0.06)


def test_a_picture_under_many_requests_is_traced_once(material):
    made, given = make(material, FACE, steps=2), pictures()
    traced = []
    trace = made._outlines.trace
    made._outlines.trace = lambda some: traced.append(len(some)) or trace(some)
    made.edit([given[0], given[0]], SOURCE, TARGET)
    made.edit(given, SOURCE, TARGET)
    assert traced == [1, 1]


def test_neighbours_do_not_change_an_edit(material):
    given, made = pictures(), make(material)
    together = made.edit(given, SOURCE, TARGET)
    alone = [made.edit([given[k]], [SOURCE[k]], [TARGET[k]])[0] for k in range(2)]
    moved = values(one for one, _ in together) - values(one for one, _ in alone)
    assert np.abs(moved).max() <= 1


def test_guidance_of_nothing_changes_nothing_and_more_changes_more(material):
    given = pictures()

    def moved(**settings):
        made = make(material, **settings).edit(given, SOURCE, TARGET)
        return np.abs(values(one for one, _ in made) - values(given)).mean()

    assert moved(guidance=0) == 0 < moved(guidance=1) < moved(guidance=3)


def test_the_way_back_ends_where_the_way_there_began(material, monkeypatch):
    """Where the network always answers the same, inversion is exact."""
    made = make(material, steps=20, depth=1.0)
    pipe = made._generator.pipe
    monkeypatch.setitem(pipe.scheduler._internal_dict, "prediction_type", "epsilon")
    monkeypatch.setattr(made, "_answer", lambda pipe, latents, time, asked: torch.full_like(latents, 0.1))
    seen = []
    decode = pipe.vae.decode
    monkeypatch.setattr(pipe.vae, "decode", lambda latents: seen.append(latents) or decode(latents))
    made.edit(pictures(), SOURCE, TARGET)
    pixels = torch.from_numpy(values(pictures())).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        encoded = pipe.vae.encode(pixels.float()).latent_dist.mean
    torch.testing.assert_close(seen[0], encoded, rtol=1e-3, atol=1e-3)


def test_the_fingerprint_follows_all_that_decides_an_edit(material):
    first = make(material).fingerprint
    for settings in ({"steps": 5}, {"depth": 0.6}, {"guidance": 2.0}, {"prompt": "a man"}, {"reach": 1.5}):
        assert make(material, **settings).fingerprint != first
    assert make(material).fingerprint == first and make(material).name == "fineface_edit"


def test_it_edits_at_the_published_size(material, tmp_path):
    """512 px, latents of 64 × 64 as Stable Diffusion's, a narrow UNet: there and back in two steps."""
    base = shutil.copytree(material.base.model, tmp_path / "base")
    make_vae(halvings=3).save_pretrained(base / "vae")
    large = dataclasses.replace(material, base=Base(model=str(base), size=512))
    given = pictures(1, size=512)
    made = make(large, FACE, size=512, steps=2, depth=1.0).edit(given, SOURCE[:1], TARGET[:1])
    moved = changed(made, given)
    assert moved.shape == (1, 512, 512) and moved[:, 250:260, 250:260].any() and not moved[:, :60].any()


def test_without_a_trained_model_it_is_refused():
    with pytest.raises(ValueError, match="fineface_edit edits by an experiment's trained model"):
        editor(FineFaceEditTrain(), Material())
