"""Who is in a rendered picture, and what differs between two pictures of one person. No geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from miniature.identities import BACKGROUNDS, CLOTHES, COLOURS, HAIRS, SKINS, caption
from miniature.rig import head

__all__ = ["AGES", "Person", "Shot", "caption", "draw_person", "draw_shot"]

AGES = ("young", "", "old")
"""As captions name them; the middle one is not mentioned."""
_AGE_LIMITS = {"young": (0.0, 0.585), "": (0.585, 0.8), "old": (0.8, 1.0)}
# Which origins (african, asian, caucasian) a skin is drawn from: at least so much of the sum of these.
_ORIGINS = {
    "pale": (("caucasian",), 0.5),
    "tan": (("asian", "caucasian"), 0.75),
    "brown": (("african", "asian"), 0.6),
    "dark": (("african",), 0.55),
}
_SHAPE_DEVIATION, _SHAPE_LIMIT = 0.36, 0.85
# Changes that read as an expression, or that close the eyes, are drawn more narrowly.
_CAUTIOUS = {
    "mouth-angles-up": 0.3,
    "mouth-trans-forward": 0.5,
    "mouth-trans-up": 0.6,
    "head-fat-incr": 0.6,
    "eyebrows-angle-up": 0.4,
    "eyebrows-trans-up": 0.35,
    "{}-eye-height1-incr": 0.4,
    "{}-eye-height2-incr": 0.4,
    "{}-eye-height3-incr": 0.4,
    "{}-eye-scale-incr": 0.5,
    "{}-eye-bag-incr": 0.5,
    "{}-eye-eyefold-up": 0.5,
    "mouth-laugh-lines-out": 0.4,
    "chin-jaw-drop-incr": 0.5,
    "chin-prognathism-incr": 0.5,
    "head-age-incr": 0.4,
    "mouth-upperlip-height-incr": 0.6,
    "mouth-lowerlip-height-incr": 0.6,
    "head-scale-vert-incr": 0.5,
    "head-scale-horiz-incr": 0.5,
    "{}-eye-trans-up": 0.5,
}


@dataclass(frozen=True)
class Person:
    """One person, dressed and placed. The words are those of `miniature.identities`, so captions are too."""

    gender: str
    """"man" or "woman"."""
    age: str
    """One of AGES."""
    skin: str
    hair: str
    hair_style: str
    """"short", "long" or "bald"."""
    beard: bool
    clothing: str
    clothing_colour: str
    background: str
    wall_colour: str
    people: tuple[float, ...]
    """Coefficients of the rig's people."""
    shapes: tuple[float, ...]
    """Changes of shape, within ±0.85."""
    skin_tint: tuple[float, float, float]
    """Factors on the red, green and blue of the named skin, about 1."""
    iris: int
    brow: float
    """Thickness of the brows, 0-1."""
    brow_darkness: float
    """0-1."""
    lip_colour: float
    """0: as the skin makes them, 1: painted red."""
    hairline: float
    """How far the hair has receded, metres; below 0 it comes further down."""
    volume: float
    """How far the hair stands off the head, metres."""
    parting: float
    """Where the hair parts, -1 to 1."""
    curl: float
    """0: straight, 1: curled."""
    beard_length: float
    """0: stubble, 1: full."""
    blush: float
    freckles: float
    pattern: int
    """Seed of the person's strands and pores."""


@dataclass(frozen=True)
class Shot:
    """The accidents of one photograph."""

    yaw: float
    pitch: float
    roll: float
    """Radians; positive yaw turns the face to the picture's right."""
    offset_x: float
    offset_y: float
    """Share of the picture's side by which the face is off centre."""
    scale: float
    """Above 1 the face is larger than usual."""
    light_azimuth: float
    """Radians from the camera, positive from the picture's right."""
    light_elevation: float
    key: float
    """Strength of the key light beside the fill, about 1."""
    warmth: float
    """Colour of the light: above 0 warmer."""
    exposure: float
    gaze_x: float
    gaze_y: float
    """Turn of both eyes, radians."""


def draw_person(rng: np.random.Generator, **fixed: str) -> Person:
    """Draw a person; `fixed` sets any of gender, age, skin, hair, hair_style, background or clothing words.

    Sexes, skins and ages are drawn alike (.4 young, .35 middle, .25 old). Raises TypeError for another name.
    """
    unknown = set(fixed) - {
        "gender", "age", "skin", "hair", "hair_style",
        "clothing", "clothing_colour", "background", "wall_colour",
    }  # fmt: skip
    if unknown:
        raise TypeError(f"a person has no word {', '.join(sorted(unknown))} to set")
    rig = head.load()
    gender = ("man", "woman")[rng.integers(2)]
    age = AGES[rng.choice(3, p=[0.4, 0.35, 0.25])]
    skin = tuple(SKINS)[rng.integers(len(SKINS))]
    gender, age, skin = (fixed.get(name, value) for name, value in zip(
        ("gender", "age", "skin"), (gender, age, skin), strict=True
    ))  # fmt: skip
    woman = gender == "woman"
    grey = rng.random() < (0.8 if age == "old" else 0.0)
    dark = skin in ("brown", "dark")
    odds = [0.55, 0.33, 0.07, 0.05] if dark else [0.28, 0.30, 0.24, 0.18]
    colour = tuple(HAIRS)[rng.choice(4, p=odds)]
    style_odds = [0.25, 0.75, 0.0] if woman else [0.7, 0.05, 0.25]
    style = ("short", "long", "bald")[rng.choice(3, p=style_odds)]
    deviations = np.array([_SHAPE_DEVIATION * _CAUTIOUS.get(name, 1.0) for name in rig.shapes])
    shapes = np.clip(rng.normal(0, 1, len(deviations)) * deviations, -_SHAPE_LIMIT, _SHAPE_LIMIT)
    words = {
        "gender": gender,
        "age": age,
        "skin": skin,
        "hair": "grey" if grey else colour,
        "hair_style": style,
        "clothing": CLOTHES[rng.integers(len(CLOTHES))],
        "clothing_colour": tuple(COLOURS)[rng.integers(len(COLOURS))],
        "background": tuple(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))],
        "wall_colour": tuple(COLOURS)[rng.integers(len(COLOURS))],
    } | fixed
    return Person(
        **words,
        beard=bool(not woman and rng.random() < 0.33),
        people=_coefficients(rng, rig, gender, age, skin),
        shapes=tuple(shapes.tolist()),
        skin_tint=tuple(np.exp(rng.normal(0, [0.05, 0.04, 0.05]) + rng.normal(0, 0.07)).tolist()),
        iris=int(rng.choice(4, p=[0.45, 0.05, 0.05, 0.45] if dark else [0.34, 0.28, 0.2, 0.18])),
        brow=rng.uniform(0.05, 0.55) if woman else rng.uniform(0.4, 1.0),
        brow_darkness=rng.uniform(0.55, 1.0),
        lip_colour=rng.uniform(0.3, 1.0) if woman else rng.uniform(0.0, 0.15),
        hairline=rng.normal(0, 0.004) + (0.0 if woman else 0.005 + 0.008 * (age == "old") * rng.random()),
        volume=rng.uniform(0.008, 0.02) if woman else rng.uniform(0.004, 0.016),
        parting=rng.uniform(-1, 1),
        curl=float(rng.beta(1.6, 1.0)) if skin == "dark" else float(rng.beta(0.7, 1.6)),
        beard_length=rng.uniform(0.25, 1.0),
        blush=rng.uniform(0.2, 1.0) if woman else rng.uniform(0.0, 0.5),
        freckles=float(rng.random() ** 4) * (skin in ("pale", "tan")),
        pattern=int(rng.integers(2**31)),
    )


def draw_shot(rng: np.random.Generator) -> Shot:
    """Draw the accidents of a portrait: nearly frontal, lit from a side, the eyes near the camera."""
    return Shot(
        yaw=rng.normal(0, 0.06),
        pitch=rng.normal(0, 0.035),
        roll=rng.normal(0, 0.018),
        offset_x=rng.normal(0, 0.006),
        offset_y=rng.normal(0, 0.006),
        scale=rng.uniform(0.98, 1.03),
        light_azimuth=rng.uniform(-0.75, 0.75),
        light_elevation=rng.uniform(0.25, 0.75),
        key=rng.uniform(0.75, 1.1),
        warmth=rng.normal(0, 0.03),
        exposure=rng.uniform(0.93, 1.07),
        gaze_x=rng.normal(0, 0.05),
        gaze_y=rng.normal(0, 0.03),
    )


def _coefficients(rng, rig: head.Rig, gender: str, age: str, skin: str) -> tuple[float, ...]:
    """A mixture of two sampled people who fit the words."""
    value = dict(zip(rig.attribute_names, rig.attributes.T, strict=True))
    low, high = _AGE_LIMITS[age]
    fits = (value["gender"] >= 0.5) == (gender == "man")
    fits &= (value["age"] >= low) & (value["age"] < high)
    origins, share = _ORIGINS[skin]
    of_origin = sum(value[name] for name in origins) >= share
    rows = np.flatnonzero(fits & of_origin)
    first, second = rng.choice(rows, 2, replace=False)
    weight = rng.uniform(0.0, 0.5)
    return tuple(((1 - weight) * rig.people[first] + weight * rig.people[second]).tolist())
