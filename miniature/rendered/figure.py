"""A person with an expression as one mesh: the head, hair that stands off it, teeth, clothes. No light."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from facs import ACTION_UNITS
from miniature.rendered import muscles, wardrobe
from miniature.rendered.people import Person
from miniature.rig import head

LIPS_PART, JAW = ACTION_UNITS.index(25), ACTION_UNITS.index(26)
MATERIALS = ("skin", "eye", "cavity", "mouth", "tongue", "curtain", "teeth", "cloth")
SKIN, EYE, CAVITY, MOUTH, TONGUE, CURTAIN, TEETH, CLOTH = range(len(MATERIALS))
_OF_REGION = np.array([SKIN, EYE, EYE, CAVITY, MOUTH, TONGUE], np.uint8)
_MIDDLE_Z = 0.1075
"""Height of the frame's middle on the reference head, metres."""
_SHUT = -0.0006
"""Metres between the edges of the lips at rest: a little more than touching, so that no light
falls through."""


@dataclass(frozen=True)
class Figure:
    """V vertices and F triangles; x, y, z as in the rig, centred on the face, one size for every head."""

    vertices: np.ndarray
    """float32 [V, 3], metres."""
    normals: np.ndarray
    """float32 [V, 3]."""
    triangles: np.ndarray
    """int32 [F, 3]."""
    materials: np.ndarray
    """uint8 [F], see MATERIALS."""
    fields: np.ndarray
    """float32 [V, 7]: reference coordinates (3), hair (above 0.5 it covers the skin), lash, open air,
    and on sheets that are not the head a coordinate across them."""


@dataclass(frozen=True)
class _Places:
    """What is known of each vertex of the rig once and for all, float32 [V] each."""

    height: np.ndarray
    """How far above the hairline of a usual person a place lies, metres; below 0 no hair grows."""
    side: np.ndarray
    """1 at the sides and the back of the head, 0 on top and in front."""
    beard: np.ndarray
    lash: np.ndarray
    air: np.ndarray
    """Share of the sky that a place sees on the reference head."""
    normals: np.ndarray


@functools.cache
def places() -> _Places:
    """Fields over the rig's vertices, from reference coordinates."""
    rig = head.load()
    x, y, z = rig.neutral.T
    ax = np.abs(x)
    normals = rig.normals(rig.neutral)
    skin = np.zeros(len(x), bool)
    skin[np.unique(rig.triangles[rig.regions == head.SKIN])] = True
    # The hairline: over the forehead, down the temples, in front of the ear, and round the neck.
    forehead = 0.1975 - 4.0 * np.clip(ax - 0.030, 0, None) ** 2 - 0.25 * np.clip(ax - 0.052, 0, None)
    front = z - forehead
    temple = np.clip((y + 0.068) / 0.020, -1, 1.6) * 0.012
    lateral = np.where(z > 0.118, temple, temple - (0.118 - z) * 1.2)
    lateral = np.where(y > -0.025, np.maximum(lateral, (z - 0.070) * 0.6), lateral)
    height = np.maximum(front, np.where(ax > 0.052, lateral, -0.05))
    height = np.where((y > 0.0), z - 0.065, height)
    ear = (ax > 0.0755) & (z > 0.090) & (z < 0.158) & (y > -0.075) & (y < -0.008)
    height = np.where(ear, -0.05, height)
    height[~skin] = -0.05
    cheek_edge = 0.064 + np.clip((ax - 0.030) / 0.042, 0, 1) ** 1.1 * 0.066
    beard = 1 / (1 + np.exp(np.clip((z - np.where(ax > 0.028, cheek_edge, 0.057)) / 0.004, -40, 40)))
    beard *= skin & (z > 0.022) & (y < -0.045) & ~ear
    beard[~skin] = 0
    edge = np.intersect1d(
        rig.triangles[rig.regions == head.SKIN], rig.triangles[rig.regions == head.EYE_CAVITY]
    )
    lash = np.zeros(len(x), np.float32)
    lash[edge] = np.where(z[edge] > 0.1425, 1.0, 0.35)
    return _Places(
        height.astype(np.float32),
        np.clip((ax - 0.05) / 0.02, 0, 1).astype(np.float32),
        beard.astype(np.float32),
        lash,
        _open_air(rig, normals),
        normals,
    )


def _open_air(rig: head.Rig, normals: np.ndarray, directions: int = 48) -> np.ndarray:
    from miniature.rendered.caster import Caster

    rng = np.random.default_rng(5)
    sky = rng.standard_normal((directions, 3)).astype(np.float32)
    sky /= np.linalg.norm(sky, axis=1, keepdims=True)
    caster = Caster(rig.neutral, rig.triangles)
    start = rig.neutral + 0.0012 * normals
    seen, weight = np.zeros(len(start), np.float32), np.zeros(len(start), np.float32)
    for direction in sky:
        facing = np.clip(normals @ direction, 0, None)
        free = 1 - caster.blocked(start, np.broadcast_to(direction, start.shape))
        seen += facing * free
        weight += facing
    open_air = seen / np.maximum(weight, 1e-6)
    for _ in range(2):
        open_air = 0.5 * open_air + 0.5 * _neighbours(rig) @ open_air
    return open_air.astype(np.float32)


@functools.cache
def _neighbours(rig: head.Rig):
    """Sparse [V, V]: the mean over the triangles around a vertex."""
    adjacency = rig.normal_sums @ rig.normal_sums.T
    adjacency = adjacency.multiply(1 / adjacency.sum(1)).tocsr()
    return adjacency.astype(np.float32)


def smooth(values: np.ndarray) -> np.ndarray:
    """Values [V] over the rig's vertices, each the mean of its neighbourhood."""
    return _neighbours(head.load()) @ values


def build(person: Person, intensities, asymmetry=None, blink: float = 0.0) -> Figure:
    """The mesh of `person` with twelve `intensities` (0-5).

    `asymmetry` [12] from -1 (only the subject's right side moves) over 0 (both alike) to 1 (only the left);
    `blink` 0 open to 1 closed.
    """
    rig, known = head.load(), places()
    strengths = muscles.strengths(intensities)
    lean = np.zeros(12) if asymmetry is None else np.asarray(asymmetry, dtype=float)
    left, right = strengths * np.minimum(1, 1 + lean), strengths * np.minimum(1, 1 - lean)
    people, shapes = np.array([person.people], np.float32), np.array([person.shapes], np.float32)
    still = rig.still(people, shapes)[0]
    closing = _closing(still)
    jaw_only = np.zeros(12)
    jaw_only[JAW] = strengths[JAW]
    moves = rig.moves(
        np.stack(
            [
                head.motion_weights(left + closing, right + closing, blink),
                head.motion_weights(jaw_only, jaw_only),
            ]
        )
    )
    moved, jaw = still + moves[0], still + moves[1]
    mouth = np.unique(rig.triangles[rig.regions == head.TONGUE])
    moved[mouth] += np.array(
        [0, 0.006, -0.003], np.float32
    )  # at rest the rig's tongue stands between the lips
    hair = _hair(person, known)
    beard = known.beard * (0.005 * person.beard_length**2 if person.beard else 0.0)
    thickness = _thickness(person, known, hair) + beard
    moved += thickness[:, None] * known.normals
    normals = rig.normals(moved)

    fields = np.stack([*rig.neutral.T, hair, known.lash, known.air, np.zeros_like(hair)], axis=1)
    seen = _may_be_seen()
    parts = [(moved, normals, rig.triangles[seen], _OF_REGION[rig.regions[seen]], fields)]
    if person.hair_style == "long":
        parts.append(_dressed(wardrobe.curtain(person, still), CURTAIN))
    upper, lower = wardrobe.teeth(still, jaw)
    parts += [_dressed(upper, TEETH), _dressed(lower, TEETH), _dressed(wardrobe.clothes(person), CLOTH)]
    return _joined(parts, _placement(still))


@functools.cache
def _may_be_seen() -> np.ndarray:
    """Rows of the rig's triangles that a camera in front can see: about half of all."""
    rig = head.load()
    corners = rig.neutral[rig.triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    depth = corners[:, :, 1].mean(1)
    furthest = np.array([0.02, 1.0, -1.0, -0.112, 1.0, 1.0])[rig.regions]
    kept = depth < furthest
    kept &= (rig.regions != head.SKIN) | (normal[:, 1] < 0.35) | (depth < -0.10)
    return np.flatnonzero(kept)


@functools.cache
def _lips() -> tuple[np.ndarray, np.ndarray]:
    """Rows of the rig's vertices where the upper and the lower lip meet, near the middle."""
    rig = head.load()
    parting = rig.motion_basis[2 * LIPS_PART].reshape(-1, 3) + rig.motion_basis[2 * LIPS_PART + 1].reshape(
        -1, 3
    )
    x, y, z = rig.neutral.T
    near = (np.abs(x) < 0.012) & (np.abs(z - 0.0735) < 0.006) & (y < -0.140)
    upper = np.flatnonzero(near & (parting[:, 2] > 0.002))
    lower = np.flatnonzero(near & (parting[:, 2] < -0.002))
    return upper[np.argsort(z[upper])[:6]], lower[np.argsort(-z[lower])[:6]]


def _gap(vertices: np.ndarray) -> float:
    upper, lower = _lips()
    return float(vertices[upper, 2].mean() - vertices[lower, 2].mean())


@functools.cache
def _gap_of_parting() -> float:
    rig = head.load()
    return _gap(rig.motion_basis[2 * LIPS_PART : 2 * LIPS_PART + 2].sum(0).reshape(-1, 3))


def _closing(still: np.ndarray) -> np.ndarray:
    """float [12]: the strength of AU25, mostly below 0, that closes the lips of a head at rest [V, 3].

    Some changes of shape part the lips; a mouth at rest is to be shut, whoever's it is.
    """
    closing = np.zeros(len(ACTION_UNITS))
    closing[LIPS_PART] = np.clip((_SHUT - _gap(still)) / _gap_of_parting(), -0.7, 0.3)
    return closing


def _hair(person: Person, known: _Places) -> np.ndarray:
    """Coverage over the rig's vertices: 0.5 at the edge of the hair."""
    if person.hair_style == "bald":
        return np.zeros_like(known.height)
    receded = person.hairline * (1 - known.side)
    return np.clip(0.5 + (known.height - receded) / 0.020, 0, 1)


def _thickness(person: Person, known: _Places, hair: np.ndarray) -> np.ndarray:
    full = np.clip((hair - 0.5) * 2, 0, 1) ** 0.6
    volume = person.volume * (1 - 0.45 * known.side * (person.hair_style == "short"))
    x, y, z = head.load().neutral.T
    lumps = 1 + 0.16 * np.sin(70 * x + person.pattern % 7) * np.sin(60 * z + 55 * y + person.pattern % 11)
    part = 1 - 0.35 * np.exp(-(((x - 0.03 * person.parting) / 0.010) ** 2)) * (z > 0.2)
    curl = 1 + 0.7 * person.curl
    return (full * volume * lumps * part * curl).astype(np.float32)


_EYES, _CHIN = np.array([0.0, -0.128, 0.1446]), np.array([0.0, -0.140, 0.0365])
"""Of the reference head: between the eyes, and the tip of the chin."""


@functools.cache
def _anchors() -> tuple[np.ndarray, np.ndarray]:
    """Rows of the rig's vertices around both eyes and at the chin."""
    reference = head.load().neutral
    beside = np.abs(np.abs(reference[:, 0]) - 0.0335) >= 0.012
    eyes = np.abs(reference - _EYES)[:, [1, 2]].sum(1) + beside
    chin = np.linalg.norm(reference - _CHIN, axis=1)
    return np.argsort(eyes)[:24], np.argsort(chin)[:12]


def _placement(still: np.ndarray) -> tuple[np.ndarray, float]:
    """What to take away from coordinates, and what to divide them by, to centre a face of the usual size."""
    reference = head.load().neutral
    eye, tip = (
        still[rows].mean(0) - reference[rows].mean(0) + place
        for rows, place in zip(_anchors(), (_EYES, _CHIN), strict=True)
    )
    size = (eye[2] - tip[2]) / (_EYES[2] - _CHIN[2])
    middle = np.array([0.0, eye[1] + 0.075, eye[2] - (_EYES[2] - _MIDDLE_Z) * size])
    return middle, float(size)


def _dressed(part, material: int):
    vertices, normals, triangles, back = part
    fields = np.zeros((len(vertices), 7), np.float32)
    fields[:, :3], fields[:, 5], fields[:, 6] = vertices, 1.0, back
    return vertices, normals, triangles, np.full(len(triangles), material, np.uint8), fields


def _joined(parts, placement) -> Figure:
    middle, size = placement
    starts = np.cumsum([0, *(len(part[0]) for part in parts[:-1])])
    vertices = np.concatenate([part[0] for part in parts])
    return Figure(
        ((vertices - middle) / size).astype(np.float32),
        np.concatenate([part[1] for part in parts]).astype(np.float32),
        np.concatenate([part[2] + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part[3] for part in parts]),
        np.concatenate([part[4] for part in parts]).astype(np.float32),
    )
