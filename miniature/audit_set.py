"""The annotator audit's pictures: which there are, with their true intensities, and the faces themselves."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property, partial

import numpy as np
import polars as pl

from evaluation.annotator_audit import TRUTH
from facs import ACTION_UNITS
from inference.needs import Need, package
from miniature.identities import SKINS
from miniature.rendered.many import drawn
from miniature.rendered.people import AGES, Shot, draw_person
from miniature.rendered.picture import render
from miniature.rig.head import FILE
from store.hashing import fingerprint, hash_file

CODE_VERSION = "1"
SIDE = 256
"""Pixels of the pictures, but for those that vary it."""
_PEOPLE_SEED = 4_000
"""Of the audit's people, who occur nowhere else."""
_ONE_SIDED = (2, 4, 5, 6, 9, 12, 15, 20, 25)
"""AUs that people do show on one side."""
_POSES = {"left 30°": (-0.52, 0.0), "left 15°": (-0.26, 0.0),
          "right 15°": (0.26, 0.0), "right 30°": (0.52, 0.0),
          "down 15°": (0.0, 0.26), "up 15°": (0.0, -0.26)}  # fmt: skip
_LIGHTS = {
    "left": (-1.3, 0.2, 1.0),
    "right": (1.3, 0.2, 1.0),
    "above": (0.0, 1.35, 1.0),
    "dim": (0.4, 0.5, 0.35),
}
_RESOLUTIONS = (32, 48, 64, 96, 128, 512)
# Under a condition: nothing, and three looks that between them move all twelve.
_LOOKS: tuple[dict[int, float], ...] = (
    {},
    {6: 3, 12: 4, 25: 3},
    {1: 4, 2: 3, 5: 4, 26: 3},
    {4: 4, 9: 4, 15: 3, 17: 3, 20: 2},
)
_STRAIGHT = Shot(
    yaw=0.0, pitch=0.0, roll=0.0, offset_x=0.0, offset_y=0.0, scale=1.0,
    light_azimuth=0.45, light_elevation=0.5, key=0.95, warmth=0.0, exposure=1.0, gaze_x=0.0, gaze_y=0.0,
)  # fmt: skip


def plan(people: int = 24, seed: int = 0) -> pl.DataFrame:
    """What is to be rendered, a row a picture: picture_id, kind, person, gender, age, skin, pose, light,
    resolution (pixels), lean (-1 right side only, 1 left side only, 0 both) and true_au1 … (0-5).

    Sexes, ages and skins are balanced when `people` is a multiple of 24. Each shows nothing and every AU
    alone at 1-5; pairs, sides and conditions go round among them.
    """
    rows: list[dict] = []
    kinds = list(itertools.product(SKINS, AGES, ("woman", "man")))
    order = np.random.default_rng([seed, 7]).permutation(len(kinds))
    words = [kinds[order[person % len(kinds)]] for person in range(people)]

    def add(kind: str, person: int, aus: dict[int, float], lean: int = 0, **condition) -> None:
        skin, age, gender = words[person]
        row = {
            "picture_id": f"{len(rows):06d}",
            "kind": kind,
            "person": person,
            "gender": gender,
            "age": age or "middle",
            "skin": skin,
            "pose": "straight",
            "light": "usual",
            "resolution": SIDE,
            "lean": lean,
        }
        rows.append(row | condition | {f"true_au{au}": float(aus.get(au, 0)) for au in ACTION_UNITS})

    for person in range(people):
        add("neutral", person, {})
        for au, intensity in itertools.product(ACTION_UNITS, range(1, 6)):
            add("alone", person, {au: intensity})
    for turn, (first, second) in enumerate(itertools.combinations(ACTION_UNITS, 2)):
        for intensity in (2, 4):
            add("pair", (2 * turn + intensity // 4) % people, {first: intensity, second: intensity})
    for turn, (au, lean) in enumerate(itertools.product(_ONE_SIDED, (-1, 1))):
        for intensity in (2, 4):
            add("asymmetric", (turn + intensity) % people, {au: intensity}, lean)
    for person in range(0, people, 2):
        for look in _LOOKS:
            for pose in _POSES:
                add("pose", person, look, pose=pose)
            for light in _LIGHTS:
                add("light", person, look, light=light)
            for resolution in _RESOLUTIONS:
                add("resolution", person, look, resolution=resolution)
    return pl.DataFrame(rows, schema_overrides={"person": pl.Int64, "resolution": pl.Int64, "lean": pl.Int64})


def picture(row: dict, seed: int = 0) -> np.ndarray:
    """The picture of one row of `plan`, uint8 [resolution, resolution, 3]."""
    rng = np.random.default_rng([seed, _PEOPLE_SEED, row["person"]])
    age = "" if row["age"] == "middle" else row["age"]
    person = draw_person(rng, skin=row["skin"], age=age, gender=row["gender"])
    shot = _STRAIGHT
    if row["pose"] in _POSES:
        yaw, pitch = _POSES[row["pose"]]
        shot = dataclasses.replace(shot, yaw=yaw, pitch=pitch)
    if row["light"] in _LIGHTS:
        azimuth, elevation, exposure = _LIGHTS[row["light"]]
        shot = dataclasses.replace(shot, light_azimuth=azimuth, light_elevation=elevation, exposure=exposure)
    side = row["resolution"]
    return render(
        person, shot, [row[name] for name in TRUTH], (side, side), asymmetry=np.full(12, float(row["lean"]))
    )


class Renderer:
    """Renders the plan's pictures, by several processes; see `inference.abilities.FaceRenderer`."""

    name = "rendered faces"

    def __init__(self, people: int = 24, seed: int = 0, processes: int = 2):
        self.people, self.seed, self.processes = people, seed, processes

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the rig, seed and code version. Loads nothing."""
        return fingerprint(kind="audit", code=CODE_VERSION, rig=hash_file(FILE), seed=self.seed)

    def needs(self) -> Iterator[Need]:
        """What casts the rays."""
        yield package("embreex", "make environment")

    def plan(self) -> pl.DataFrame:
        """The rows of `plan`."""
        return plan(self.people, self.seed)

    def render(self, rows: Sequence[dict]) -> Iterator[np.ndarray]:
        """The picture of each row, in order: uint8 [resolution, resolution, 3]."""
        yield from drawn(partial(picture, seed=self.seed), rows, self.processes)
