"""The two embedded worlds behind one interface: the writers of raw data do not know which one they write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Size = tuple[int, int]


@dataclass(frozen=True)
class Oddities:
    """Photographs that do not show one face in their middle."""

    shares: dict[str, float]
    """Of "off_centre", "several" (people) and "none"."""
    moved: Callable[[Any, float], Any]
    """A shot with the face this share of the shorter side to the right of the middle."""
    beside: Callable[[Any, Any], Any]
    """The second person, where the first one is."""
    empty: Callable[[Any, Size], np.ndarray]
    """Where a person is, without the person: uint8 [height, width, 3]."""


@dataclass(frozen=True)
class World:
    """What a writer needs of a world. A person and a shot are whatever its `draw_…` return."""

    name: str
    draw_person: Callable[[np.random.Generator], Any]
    draw_shot: Callable[[np.random.Generator], Any]
    caption: Callable[[Any, np.random.Generator], str]
    photo: Callable[[Any, Any, np.ndarray, Size], np.ndarray]
    """Person, shot, twelve intensities 0-5 and (width, height) to uint8 [height, width, 3]."""
    landmarks: Callable[[Any, Any, np.ndarray, Size], np.ndarray]
    """The same to float [68, 2], pixels."""
    box: Callable[[Any, Any, np.ndarray, Size], tuple[int, int, int, int]]
    """The same to x, y, width and height of the face, pixels."""
    seated: Callable[[Any], Any]
    """A person before the camera of a laboratory: in a studio."""
    swayed: Callable[[Any, float, float, float], Any]
    """A shot after its subject moved by (x, y), in percent of the frame, and looked aside, both about 1."""
    cartoon: Callable[[Any, Any, np.ndarray, Size], np.ndarray] | None = None
    """As `photo`, drawn flat; None: this world has no cartoons of its own."""
    oddities: Oddities | None = None


def _drawn() -> World:
    from miniature import faces, landmarks

    return World(
        name="drawn",
        draw_person=faces.draw_identity,
        draw_shot=faces.draw_shot,
        caption=faces.caption,
        photo=lambda person, shot, intensities, size: faces.render(person, shot, intensities, size),
        cartoon=lambda person, shot, intensities, size: faces.render(
            person, shot, intensities, size, "cartoon"
        ),
        landmarks=landmarks.face_landmarks,
        box=landmarks.face_box,
        seated=lambda person: replace(person, background="studio"),
        swayed=lambda shot, x, y, gaze: replace(
            shot, offset_x=shot.offset_x + 1.5 * x, offset_y=shot.offset_y + 1.0 * y, gaze=2.0 * gaze
        ),
    )


def _rendered() -> World:
    from miniature.rendered import backgrounds, landmarks, people, picture, shading

    return World(
        name="rendered",
        draw_person=people.draw_person,
        draw_shot=people.draw_shot,
        caption=people.caption,
        photo=picture.render,
        landmarks=landmarks.face_landmarks,
        box=landmarks.face_box,
        seated=lambda person: replace(person, background="studio"),
        swayed=lambda shot, x, y, gaze: replace(
            shot,
            offset_x=shot.offset_x + 0.012 * x,
            offset_y=shot.offset_y + 0.008 * y,
            yaw=shot.yaw + 0.03 * x,
            gaze_x=0.06 * gaze,
        ),
        oddities=Oddities(
            shares={"off_centre": 0.03, "several": 0.02, "none": 0.02},
            moved=lambda shot, share: replace(shot, offset_x=shot.offset_x + share),
            beside=lambda second, first: replace(
                second, background=first.background, wall_colour=first.wall_colour
            ),
            empty=lambda person, size: shading.to_bytes(backgrounds.paint(person, *size)),
        ),
    )


_WORLDS: dict[str, Callable[[], World]] = {"drawn": _drawn, "rendered": _rendered}


def named(name: str) -> World:
    """The world `name`, "drawn" or "rendered". Raises ValueError for another."""
    if name not in _WORLDS:
        raise ValueError(f"unknown world {name!r}; there are {', '.join(_WORLDS)}")
    return _WORLDS[name]()
