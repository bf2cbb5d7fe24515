"""Rays against triangles: what each ray meets first, and where no light reaches. No colours."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

DISTANCE = 1.1
"""From the camera to the plane y = 0 in which the frame is measured, metres: the length of a portrait."""


class Hits(NamedTuple):
    """What the rays met: for H of them which ray, which triangle, and the weights of its three corners."""

    rays: np.ndarray
    triangles: np.ndarray
    weights: np.ndarray
    """float32 [H, 3]."""


class Caster:
    """A mesh, `vertices` float32 [V, 3] in metres and `triangles` int [F, 3], ready to be looked at."""

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray):
        from embreex import rtcore_scene
        from embreex.mesh_construction import TriangleMesh

        self._scene = rtcore_scene.EmbreeScene()
        TriangleMesh(
            self._scene,
            np.ascontiguousarray(vertices, dtype=np.float32),
            np.ascontiguousarray(triangles, dtype=np.int32),
        )

    def look(self, frame: float, width: int, height: int) -> Hits:
        """What a camera at y = -DISTANCE sees with `width` × `height` rays, row by row from the top left.

        `frame`: length of the picture's shorter side in the plane y = 0, metres; its middle is x = z = 0.
        """
        found = self._scene.run(*_camera_rays(frame, width, height), output=1)
        rays = np.flatnonzero(found["primID"] >= 0)
        u, v = found["u"][rays], found["v"][rays]
        return Hits(rays, found["primID"][rays], np.stack([1 - u - v, u, v], axis=1))

    def blocked(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """float32 [N]: 1 where the way from `points` [N, 3] along `directions` [N, 3] is blocked, else 0."""
        found = self._scene.run(
            np.ascontiguousarray(points, np.float32),
            np.ascontiguousarray(directions, np.float32),
            query="OCCLUDED",
        )
        return (found >= 0).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _camera_rays(frame: float, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    side = min(width, height)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) * frame / side
    z = (height / 2 - 0.5 - np.arange(height, dtype=np.float32)) * frame / side
    across, up = np.meshgrid(x, z)
    directions = np.stack([across, np.full_like(across, DISTANCE), up], axis=-1).reshape(-1, 3)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origins = np.zeros_like(directions)
    origins[:, 1] = -DISTANCE
    return origins, directions.astype(np.float32)
