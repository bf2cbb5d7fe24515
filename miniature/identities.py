"""Who is in the picture: identities, the accidents of one photograph, and captions. No drawing here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

SKINS = {"pale": (246, 216, 194), "tan": (224, 176, 134), "brown": (176, 120, 82), "dark": (124, 82, 58)}
HAIRS = {
    "black": (30, 26, 28),
    "brown": (100, 60, 34),
    "blonde": (232, 196, 104),
    "red": (184, 74, 26),
    "grey": (176, 176, 180),
}
COLOURS = {
    "red": (204, 40, 40),
    "blue": (48, 84, 200),
    "green": (48, 144, 72),
    "yellow": (236, 204, 56),
    "white": (238, 238, 238),
    "black": (36, 36, 42),
    "pink": (238, 140, 178),
    "purple": (124, 60, 156),
}
IRISES = ((66, 38, 20), (64, 112, 176), (76, 124, 62), (40, 26, 16))
CLOTHES = ("shirt", "sweater", "jacket")
BACKGROUNDS = {
    "park": "in a park",
    "beach": "at the beach",
    "studio": "in a dark studio",
    "wall": "in front of a {} wall",
}


class Described(Protocol):
    """The words of a person that a caption is made of."""

    @property
    def gender(self) -> str: ...
    @property
    def age(self) -> str: ...
    @property
    def skin(self) -> str: ...
    @property
    def hair(self) -> str: ...
    @property
    def hair_style(self) -> str: ...
    @property
    def beard(self) -> bool: ...
    @property
    def clothing(self) -> str: ...
    @property
    def clothing_colour(self) -> str: ...
    @property
    def background(self) -> str: ...
    @property
    def wall_colour(self) -> str: ...


@dataclass(frozen=True)
class Identity:
    """One person, dressed and placed. Lengths are face units (a face-filled square is 100 units wide)."""

    gender: str
    """"man" or "woman"."""
    age: str
    """"young", "" or "old"."""
    skin: str
    hair: str
    hair_style: str
    """"short", "long" or "bald"."""
    beard: bool
    clothing: str
    clothing_colour: str
    background: str
    wall_colour: str
    iris: int
    """Index into IRISES."""
    head_half_width: float
    chin_drop: float
    """How far the chin lies below the average chin."""
    jaw: float
    """Width of the jaw as a share of the head's."""
    eye_spacing: float
    """Distance of each pupil from the face's axis."""
    eye_scale: float
    brow_height: float
    """How far the brows lie above the average brow."""
    brow_thickness: float
    nose_half_width: float
    nose_drop: float
    mouth_half_width: float
    lip_scale: float
    lip_redness: float
    """0-1."""
    skin_tint: tuple[int, int, int]
    """Added to the named skin colour."""


@dataclass(frozen=True)
class Shot:
    """What differs between two photographs of one person: small offsets, roll, scale, light and gaze."""

    offset_x: float
    offset_y: float
    """Face units."""
    roll: float
    """Radians."""
    scale: float
    light_x: float
    light_y: float
    """Where the light comes from, about -1 to 1."""
    exposure: float
    gaze: float
    """Horizontal shift of the irises, face units."""


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw a person at random."""
    gender = ("man", "woman")[rng.integers(2)]
    woman = gender == "woman"
    age = ("young", "", "old")[rng.choice(3, p=[0.4, 0.35, 0.25])]
    grey = age == "old" and rng.random() < 0.8
    hair = "grey" if grey else tuple(HAIRS)[rng.choice(4, p=[0.32, 0.28, 0.22, 0.18])]
    style_odds = [0.25, 0.75, 0.0] if woman else [0.7, 0.05, 0.25]
    return Identity(
        gender=gender,
        age=age,
        skin=tuple(SKINS)[rng.integers(len(SKINS))],
        hair=hair,
        hair_style=("short", "long", "bald")[rng.choice(3, p=style_odds)],
        beard=bool(not woman and rng.random() < 0.33),
        clothing=CLOTHES[rng.integers(len(CLOTHES))],
        clothing_colour=tuple(COLOURS)[rng.integers(len(COLOURS))],
        background=tuple(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))],
        wall_colour=tuple(COLOURS)[rng.integers(len(COLOURS))],
        iris=int(rng.integers(len(IRISES))),
        head_half_width=rng.uniform(36.5, 40.0),
        chin_drop=rng.uniform(-1.2, 1.2),
        jaw=rng.uniform(0.76, 0.84) if woman else rng.uniform(0.84, 0.93),
        eye_spacing=rng.uniform(17.8, 19.2),
        eye_scale=rng.uniform(0.94, 1.06) * (1.05 if age == "young" else 1.0),
        brow_height=rng.uniform(-0.8, 0.8),
        brow_thickness=rng.uniform(1.3, 1.6) if woman else rng.uniform(1.9, 2.4),
        nose_half_width=rng.uniform(5.6, 7.4),
        nose_drop=rng.uniform(-1.0, 1.0),
        mouth_half_width=rng.uniform(12.8, 14.8),
        lip_scale=rng.uniform(1.0, 1.25) if woman else rng.uniform(0.8, 1.0),
        lip_redness=rng.uniform(0.6, 1.0) if woman else rng.uniform(0.0, 0.25),
        skin_tint=_tint(rng.normal(0.0, 4.0, 3)),
    )


def _tint(drawn: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in drawn)
    return red, green, blue


def draw_shot(rng: np.random.Generator) -> Shot:
    """Draw the accidents of one photograph: a frontal face that fills the frame, hardly moved."""
    return Shot(
        offset_x=rng.normal(0.0, 0.6),
        offset_y=rng.normal(0.0, 0.5),
        roll=rng.normal(0.0, 0.012),
        scale=rng.uniform(0.98, 1.02),
        light_x=rng.uniform(-1.0, 1.0),
        light_y=rng.uniform(-1.0, 0.2),
        exposure=rng.uniform(0.95, 1.05),
        gaze=rng.normal(0.0, 0.5),
    )


def caption(identity: Described, rng: np.random.Generator) -> str:
    """Describe a person as a captioning model would, parts left out at random; never the expression."""
    opening = ("a photo of ", "a close-up of ", "")[rng.choice(3, p=[0.25, 0.1, 0.65])]
    words = [identity.age] if identity.age and rng.random() < 0.8 else []
    if rng.random() < 0.5:
        words.append(f"{identity.skin}-skinned")
    words.append(identity.gender)
    text = " ".join(words)
    text = f"{opening}{'an' if text[0] in 'aeiou' else 'a'} {text}"
    features = []
    if rng.random() < 0.75:
        bald = identity.hair_style == "bald"
        features.append("no hair" if bald else f"{identity.hair_style} {identity.hair} hair")
    if identity.beard and rng.random() < 0.9:
        features.append(f"a {identity.hair} beard" if rng.random() < 0.3 else "a beard")
    if features:
        text += " with " + " and ".join(features)
    if rng.random() < 0.7:
        text += f" wearing a {identity.clothing_colour} {identity.clothing}"
    if rng.random() < 0.75:
        text += " " + BACKGROUNDS[identity.background].format(identity.wall_colour)
    return text
