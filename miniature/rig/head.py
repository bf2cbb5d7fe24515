"""The head rig at run time: people and expressions to vertices. Linear throughout; no pictures here.

Metres; x to the subject's left (the picture's right), -y towards the camera, z up.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from safetensors import safe_open

from facs import ACTION_UNITS

FILE = Path(__file__).with_name("rig.safetensors")
SKIN, EYE_FRONT, EYE_BACK, EYE_CAVITY, MOUTH_CAVITY, TONGUE = range(6)
"""Codes in `Rig.regions`."""


@dataclass(frozen=True, eq=False)
class Rig:
    """A mesh of V vertices and F triangles with its bases; what each holds stands in README.md."""

    mean: np.ndarray
    """float32 [V, 3]: the middle of all sampled people."""
    neutral: np.ndarray
    """float32 [V, 3]: one head, whose coordinates name places on every head ("reference coordinates")."""
    triangles: np.ndarray
    """int32 [F, 3]."""
    regions: np.ndarray
    """uint8 [F]: SKIN, EYE_FRONT, …"""
    eyes: np.ndarray
    """float32 [2, 3]: middles of the left and the right eye's front, reference coordinates."""
    people: np.ndarray
    """float32 [P, K]: coefficients of sampled people."""
    attributes: np.ndarray
    """float32 [P, 6]: what they are, as `attribute_names` says, 0-1; gender 0 is female."""
    attribute_names: tuple[str, ...]
    shapes: tuple[str, ...]
    """Names of the changes of shape; a paired one has {} for its side."""
    people_basis: np.ndarray
    """float32 [K, 3 V]."""
    shape_basis: np.ndarray
    """float32 [S, 3 V]: full change to one end of its range."""
    motion_basis: np.ndarray
    """float32 [26, 3 V]: twelve AUs × (left, right) at their face units' full strength, then both blinks."""

    def still(self, people: np.ndarray, shapes: np.ndarray) -> np.ndarray:
        """Vertices float32 [N, V, 3] of N heads at rest, in metres.

        `people` [N, K] coefficients as in `Rig.people`; `shapes` [N, S], usually within ±1. Raises ValueError
        if a width is wrong.
        """
        shaped = _combined(people, self.people_basis, "people") + _combined(
            shapes, self.shape_basis, "shapes"
        )
        return self.mean + shaped.reshape(len(people), -1, 3)

    def moves(self, motions: np.ndarray) -> np.ndarray:
        """Displacements float32 [N, V, 3], in metres, that `motions` [N, 26] add to a head at rest.

        In the order of `motion_basis`; 0 relaxed, 1 the face units' full strength. The same on every head.
        Raises ValueError if the width is wrong.
        """
        return _combined(motions, self.motion_basis, "motions").reshape(len(motions), -1, 3)

    @functools.cached_property
    def normal_sums(self):
        """Sparse [V, F]: adds up the normals of the triangles around each vertex."""
        from scipy.sparse import csr_matrix

        faces = np.repeat(np.arange(len(self.triangles)), 3)
        ones = np.ones(len(faces), np.float32)
        return csr_matrix((ones, (self.triangles.ravel(), faces)), (len(self.mean), len(self.triangles)))

    def normals(self, vertices: np.ndarray) -> np.ndarray:
        """Smooth unit normals float32 [V, 3] of one head's `vertices` [V, 3]."""
        a, b, c = (vertices[self.triangles[:, k]] for k in range(3))
        summed = self.normal_sums @ np.cross(b - a, c - a)
        return summed / (np.linalg.norm(summed, axis=1, keepdims=True) + 1e-12)


def _combined(weights: np.ndarray, basis: np.ndarray, name: str) -> np.ndarray:
    if weights.ndim != 2 or weights.shape[1] != len(basis):
        raise ValueError(f"{name} must be [N, {len(basis)}], not {list(weights.shape)}")
    used = np.flatnonzero(weights.any(0))
    return weights[:, used].astype(np.float32) @ basis[used]


@functools.cache
def load(path: Path = FILE) -> Rig:
    """The rig in the file `path`. Raises ValueError if its action units are not those of this project."""
    with safe_open(path, "numpy") as file:
        described = file.metadata()
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    units = tuple(json.loads(described["action_units"]))
    if units != ACTION_UNITS:
        raise ValueError(f"{path} moves action units {units}, not {ACTION_UNITS}")

    def basis(name: str) -> np.ndarray:
        return found[name].astype(np.float32).reshape(-1, found["mean"].size)

    return Rig(
        mean=found["mean"],
        neutral=found["neutral"],
        triangles=found["triangles"].astype(np.int32),
        regions=found["regions"],
        eyes=found["eyes"],
        people=found["phenotype_coefficients"].astype(np.float32),
        attributes=found["phenotype_attributes"],
        attribute_names=tuple(json.loads(described["attributes"])),
        shapes=tuple(json.loads(described["shapes"])),
        people_basis=basis("phenotype_basis"),
        shape_basis=basis("shape_basis"),
        motion_basis=np.concatenate([basis("unit_basis"), basis("blink_basis")]),
    )


def shape_weights(rig: Rig, named: dict[str, float]) -> np.ndarray:
    """float32 [S]: the changes of shape in `named`, 0 elsewhere. Raises ValueError for an unknown name."""
    unknown = sorted(set(named) - set(rig.shapes))
    if unknown:
        raise ValueError(f"the rig has no change of shape {', '.join(unknown)}")
    return np.array([named.get(name, 0.0) for name in rig.shapes], np.float32)


def motion_weights(left: ArrayLike, right: ArrayLike, blink: float = 0.0) -> np.ndarray:
    """float32 [26] from twelve strengths a side and the closing of both eyes, 0-1."""
    pairs = np.stack([np.asarray(left, np.float32), np.asarray(right, np.float32)], axis=1)
    return np.concatenate([pairs.ravel(), np.array([blink, blink], np.float32)])
