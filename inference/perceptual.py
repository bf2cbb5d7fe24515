"""Perceptual hashes: alike for pictures that look alike. Comparing them is in `curation.duplicates`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 16
"""The hash has SIDE² = 256 bits. Of 64 bits, different faces in one pose and light differ in as few as 2."""


class PerceptualHash:
    """The DCT hash of a picture, asked for like a model's answer, but made while the picture is decoded."""

    name = "imagehash.phash"
    fingerprint = f"imagehash.phash {SIDE}, shrunk by whole steps"
    batch_size = 64
    side = 4 * SIDE  # what imagehash resizes to

    def prepare(self, picture: Image) -> str:
        """The hash of an RGB picture: 64 hexadecimal digits.

        It survives another size, format, quality, brightness or grey; not cropping, turning or mirroring.
        """
        import imagehash

        return str(imagehash.phash(picture, SIDE))
