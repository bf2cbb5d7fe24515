"""Perceptual hashes: copies of a picture stay alike, another face does not come near."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from inference.perceptual import PerceptualHash
from miniature.faces import draw_identity, draw_shot, render

WITHIN = 16
"""The default of the profiles, in bits of 256."""


def face(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(render(draw_identity(rng), draw_shot(rng), np.zeros(12), (128, 128)))


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def distances(picture: Image.Image, *others: Image.Image) -> list[int]:
    first, *rest = (int(PerceptualHash().prepare(one), 16) for one in (picture, *others))
    return [(first ^ other).bit_count() for other in rest]


@pytest.mark.parametrize("seed", range(3))
def test_a_copy_of_other_size_quality_light_or_colour_is_within_reach_and_no_other_face_is(seed):
    picture = face(seed)
    copies = [
        jpeg(picture, 90),
        jpeg(picture, 40),
        picture.resize((256, 256)),
        jpeg(picture.resize((80, 80)), 80),
        picture.convert("L").convert("RGB"),
        ImageEnhance.Brightness(picture).enhance(1.1),
    ]
    assert max(distances(picture, *copies)) <= WITHIN
    assert min(distances(picture, *(face(other) for other in range(3, 15)))) > WITHIN


def test_a_hash_is_256_bits_in_hexadecimal():
    hashes = {PerceptualHash().prepare(face(seed)) for seed in range(5)}
    assert len(hashes) == 5
    assert all(len(text) == 64 and int(text, 16) > 0 for text in hashes)
