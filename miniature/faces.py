"""Paints a face: person, photograph and twelve intensities to pixels. Where things lie is in geometry.py."""

from __future__ import annotations

import numpy as np

from miniature.canvas import UNIT_CIRCLE, Canvas, Colour, arc, brightness, mix, vivid
from miniature.geometry import EYE_Y, Eye, Geometry, Muscles, muscles_from, place
from miniature.identities import (
    COLOURS,
    HAIRS,
    IRISES,
    SKINS,
    Identity,
    Shot,
    caption,
    draw_identity,
    draw_shot,
)

__all__ = ["Identity", "Shot", "caption", "draw_identity", "draw_shot", "render"]

STYLES = ("photo", "cartoon")
_INK = (12, 10, 14)
_WHITE = (255, 255, 255)


def render(identity: Identity, shot: Shot, intensities, size=(64, 64), style: str = "photo") -> np.ndarray:
    """Paint one picture.

    `intensities`: 12 floats, 0-5, in the order 1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26; values outside are
    clipped to [0, 6]. `size`: (width, height) in pixels, any aspect; the face fills the central
    square. `style`: "photo" or "cartoon".
    Returns uint8 [height, width, 3]. Raises ValueError for an unknown style or a wrong number of intensities.
    """
    if style not in STYLES:
        raise ValueError(f"style must be one of {STYLES}, not {style!r}")
    muscles = muscles_from(intensities)
    canvas = Canvas(size, oversampling=4 if min(size) <= 80 else 3)
    _Painter(canvas, identity, shot, muscles, cartoon=style == "cartoon").paint()
    pixels = np.asarray(canvas.finished())
    if style == "photo":
        pixels = np.clip(pixels * np.float32(shot.exposure), 0, 255).astype(np.uint8)
    return pixels


class _Painter:
    """Paints one face from back to front."""

    def __init__(self, canvas: Canvas, identity: Identity, shot: Shot, muscles: Muscles, cartoon: bool):
        self.canvas, self.identity, self.shot, self.muscles, self.cartoon = (
            canvas,
            identity,
            shot,
            muscles,
            cartoon,
        )
        self.face: Geometry = place(identity, muscles)
        tint = (0, 0, 0) if cartoon else identity.skin_tint
        red, green, blue = (min(255, max(0, c + t)) for c, t in zip(SKINS[identity.skin], tint, strict=True))
        self.skin = self.shade((red, green, blue))
        self.hair = self.shade(HAIRS[identity.hair])
        self.cloth = self.shade(COLOURS[identity.clothing_colour])
        self.crease = mix(self.skin, (30, 8, 4), 0.80)
        self.beard = mix(mix(self.hair, (44, 22, 10), 0.28), self.skin, 0.10)
        lower_ground = self.beard if identity.beard else self.skin
        # On a dark beard a fold shows as light, everywhere else as dark.
        dark_ground = identity.beard and brightness(self.beard) < 90
        self.lower_ground = lower_ground
        self.lower_crease = (
            mix(lower_ground, (250, 220, 190), 0.7) if dark_ground else mix(lower_ground, (30, 8, 4), 0.8)
        )
        self.outline = _INK if cartoon else None

    def shade(self, colour: Colour) -> Colour:
        return vivid(colour) if self.cartoon else colour

    def paint(self) -> None:
        shot = self.shot
        self.paint_background()
        self.canvas.set_pose((shot.offset_x, shot.offset_y), shot.roll, shot.scale)
        self.paint_behind_head()
        self.paint_head()
        if self.identity.beard:
            self.paint_beard()
        self.paint_forehead_lines()
        for side, eye in zip((-1, 1), self.face.eyes, strict=True):
            self.paint_cheek(side, eye)
            self.paint_eye(side, eye)
        self.paint_nose()
        self.paint_mouth()
        self.paint_chin()
        self.paint_hair()
        for side, eye in zip((-1, 1), self.face.eyes, strict=True):
            self.paint_brow(side, eye)

    def fold(self, strength: float, start, control, end, width=1.5, ground=None, crease=None) -> None:
        """A wrinkle whose contrast and width grow with `strength` (0-1)."""
        if strength < 0.02:
            return
        colour = mix(ground or self.skin, crease or self.crease, min(1.0, 0.2 + 0.85 * strength))
        self.canvas.line(arc(start, control, end), colour, width * (0.7 + 0.5 * strength))

    # -- behind the face

    def paint_background(self) -> None:
        canvas, kind = self.canvas, self.identity.background
        if kind == "park":
            canvas.box(-200, -200, 200, 12, self.shade((150, 204, 240)))
            canvas.box(-200, 12, 200, 200, self.shade((96, 170, 70)))
            for x in (-100, -47, 47, 100):
                canvas.box(x - 4, -10, x + 4, 24, self.shade((100, 68, 42)))
                canvas.ellipse((x, -28), (18, 26), self.shade((44, 122, 52)), self.outline)
        elif kind == "beach":
            canvas.box(-200, -200, 200, -8, self.shade((136, 208, 252)))
            canvas.box(-200, -8, 200, 18, self.shade((30, 116, 194)))
            canvas.box(-200, 18, 200, 200, self.shade((242, 222, 160)))
            canvas.ellipse((-41, -41), (7, 7), self.shade((255, 240, 130)), self.outline)
        elif kind == "studio":
            canvas.box(-200, -200, 200, 200, self.shade((40, 40, 50)))
        else:
            canvas.box(-200, -200, 200, 200, self.shade(COLOURS[self.identity.wall_colour]))

    def paint_behind_head(self) -> None:
        canvas, identity = self.canvas, self.identity
        width = identity.head_half_width
        if identity.hair_style == "long":
            curtain = [(-width - 9, 60), (-width - 9, -20), (-width * 0.6, -52), (width * 0.6, -52)]
            curtain += [(width + 9, -20), (width + 9, 60)]
            canvas.polygon(curtain, mix(self.hair, (0, 0, 0), 0.15), self.outline)
        neck = mix(self.skin, self.crease, 0.35)
        canvas.polygon([(-17, 20), (17, 20), (19, 60), (-19, 60)], neck, self.outline)
        shoulders = [
            (-130, 200),
            (-80, 42),
            (-46, 35),
            (-19, 31),
            (0, 52),
            (19, 31),
            (46, 35),
            (80, 42),
            (130, 200),
        ]
        canvas.polygon(shoulders, self.cloth, self.outline, 2.2)
        self.paint_collar()
        ear = mix(self.skin, self.crease, 0.2)
        if identity.hair_style != "long":
            for side in (-1, 1):
                canvas.ellipse((side * (width + 0.5), 0), (4.6, 8.5), ear, self.outline)

    def paint_collar(self) -> None:
        canvas, clothing = self.canvas, self.identity.clothing
        contrast = (0, 0, 0) if brightness(self.cloth) > 110 else _WHITE
        trim = mix(self.cloth, contrast, 0.4)
        for side in (-1, 1):
            if clothing == "shirt":
                wing = [(side * 16, 30), (side * 31, 33), (side * 21, 52), (side * 6, 52)]
                canvas.polygon(wing, mix(self.cloth, _WHITE, 0.55), self.outline or trim, 1.0)
            elif clothing == "jacket":
                canvas.polygon([(side * 14, 30), (side * 22, 32), (side * 8, 62), (0, 62)], (235, 235, 235))
                canvas.polygon([(side * 20, 31), (side * 35, 34), (side * 19, 60), (side * 10, 60)], trim)
            else:
                collar = [(side * 17, 29), (side * 24, 30), (side * 12, 53), (0, 53)]
                canvas.polygon(collar, trim, self.outline)

    def paint_head(self) -> None:
        if self.cartoon:
            self.canvas.polygon(self.face.head, self.skin, _INK, 2.2)
            return
        # A dome lit from the shot's light: nested contours, darker at the rim, shifted towards the light.
        rim = mix(self.skin, self.crease, 0.55)
        glow = mix(self.skin, _WHITE, 0.10)
        middle = self.face.head.mean(axis=0)
        light = np.array([self.shot.light_x * 3.0, self.shot.light_y * 2.0])
        for share in (0.0, 0.12, 0.24, 0.38, 0.54, 0.72, 0.9):
            colour = (
                mix(rim, self.skin, min(1.0, share / 0.4)) if share < 0.4 else mix(self.skin, glow, share)
            )
            zoom = 1 - 0.42 * share
            self.canvas.polygon((self.face.head - middle) * zoom + middle + light * share, colour)

    def paint_beard(self) -> None:
        identity, face = self.identity, self.face
        width, jaw = identity.head_half_width, identity.head_half_width * identity.jaw
        mouth = face.mouth
        lower_head = face.head[face.head[:, 1] > 6.0]
        right = lower_head[lower_head[:, 0] >= 0]
        left = lower_head[lower_head[:, 0] < 0]
        moustache_y = min(face.nose_y + 6.5, float(mouth.upper_outer[7, 1]) - 1.0)
        upper_edge = [(-width * 0.8, 12), (-jaw * 0.72, 21), (-12, moustache_y), (0, moustache_y - 0.5)]
        upper_edge += [(12, moustache_y), (jaw * 0.72, 21), (width * 0.8, 12)]
        contour = np.vstack([right[np.argsort(right[:, 1])], left[np.argsort(-left[:, 1])], upper_edge])
        self.canvas.polygon(contour, self.beard, self.outline, 1.4)

    # -- upper face: AU1, AU2, AU4, AU5, AU6

    def paint_forehead_lines(self) -> None:
        muscles, identity = self.muscles, self.identity
        inner, outer = muscles.inner_brow, muscles.outer_brow
        for row in range(3):
            y = -26.5 - 3.6 * row
            self.fold(inner, (-10, y + 1.6), (0, y - 1.8), (10, y + 1.6))
        for side in (-1, 1):
            for row in range(2):
                y = -27.5 - 4.0 * row
                self.fold(outer, (side * 14, y + 0.5), (side * 22, y - 5.5), (side * 29, y + 3.5))
            furrow = muscles.brow_lower * (1 - 0.2 * inner)
            self.fold(furrow, (side * 3.4, -8), (side * 1.8, -15), (side * 3.6, -23 - 1.5 * inner), width=2.0)
        if identity.age == "old":
            for side in (-1, 1):
                self.fold(0.2, (side * 27, 8), (side * 29, 13), (side * 27, 19), width=1.1)

    def paint_cheek(self, side: int, eye: Eye) -> None:
        raised = self.muscles.cheek
        if raised < 0.02:
            return
        centre_x, outer_x = eye.centre_x, eye.centre_x + side * eye.half_width
        flush = mix(self.skin, (226, 70, 62), 0.12 + 0.5 * raised)
        self.canvas.ellipse((centre_x + side * 3, 11.5 - 2 * raised), (9.5, 3.2 + 2.2 * raised), flush)
        bag_y = EYE_Y + eye.opening_down + 2.2
        left, right = centre_x - eye.half_width * 0.85, centre_x + eye.half_width * 0.85
        self.fold(raised, (left, bag_y), (centre_x, bag_y + 3.8), (right, bag_y))
        for spread in (-1, 0, 1):
            start = (outer_x + side * 1.2, EYE_Y + 1.2 * spread)
            end = (outer_x + side * 6.8, EYE_Y + 4.2 * spread + 0.5)
            self.fold(raised, start, ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), end, width=1.3)

    def paint_eye(self, side: int, eye: Eye) -> None:
        canvas, identity = self.canvas, self.identity
        white = _WHITE if self.cartoon else (244, 242, 238)
        canvas.polygon(np.vstack([eye.upper_lid, eye.lower_lid[::-1]]), white)
        radius = 5.0 * identity.eye_scale
        gaze_x = eye.centre_x + self.shot.gaze
        for share, colour in ((1.0, self.shade(IRISES[identity.iris])), (0.5, (10, 8, 10))):
            disc = UNIT_CIRCLE * (radius * share) + (gaze_x, EYE_Y)
            across = np.clip((disc[:, 0] - eye.centre_x) / eye.half_width, -1, 1)
            lid = (1 - across**2) ** 0.625
            disc[:, 1] = np.clip(disc[:, 1], EYE_Y - eye.opening_up * lid, EYE_Y + eye.opening_down * lid)
            canvas.polygon(disc, colour)
        if not self.cartoon and eye.opening_up > 2.5:
            canvas.ellipse((gaze_x + 1.6, EYE_Y - 1.6), (1.1, 1.1), _WHITE)
        woman = identity.gender == "woman"
        canvas.line(eye.upper_lid, _INK, 2.6 if self.cartoon else 2.1 if woman else 1.6)
        canvas.line(eye.lower_lid, _INK if self.cartoon else mix(self.skin, self.crease, 0.7), 1.1)
        if woman:
            corner = eye.upper_lid[-1 if side > 0 else 0]
            canvas.line([corner, (corner[0] + side * 2.6, corner[1] - 2.6)], _INK, 1.8)

    def paint_brow(self, side: int, eye: Eye) -> None:
        taper = np.linspace(1.0, 0.45, len(eye.brow)) * self.identity.brow_thickness
        offset = np.stack([np.zeros_like(taper), taper], axis=1)
        # Brows carry four action units: they stay dark enough to stand out from every skin.
        colour = mix(self.hair, (24, 14, 10), 0.8 if brightness(self.skin) < 140 else 0.55)
        shape = np.vstack([eye.brow - offset, (eye.brow + offset)[::-1]])
        self.canvas.polygon(shape, _INK if self.cartoon else colour)

    # -- lower face: AU9, AU12, AU15, AU17, AU20, AU25, AU26

    def paint_nose(self) -> None:
        canvas, face, wrinkle = self.canvas, self.face, self.muscles.nose
        y, half = face.nose_y, face.nose_half_width
        edge = _INK if self.cartoon else mix(self.skin, self.crease, 0.62)
        if not self.cartoon:
            side = -1 if self.shot.light_x > 0 else 1
            shadow = [(side * 2.2, -6), (side * 3.4, -2), (side * half, y), (side * 2, y)]
            canvas.polygon(shadow, mix(self.skin, self.crease, 0.16))
            canvas.ellipse((0, y - 1.5), (half * 0.5, 2.6), mix(self.skin, _WHITE, 0.22))
        for side in (-1, 1):
            wing = arc((side * half, y - 3.5), (side * (half + 1.6), y + 2.2), (side * half * 0.35, y + 2.2))
            canvas.line(wing, edge, 1.3 + 0.9 * wrinkle)
            canvas.ellipse(
                (side * half * 0.45, y + 1.6), (1.5 + 0.5 * wrinkle, 1.1), mix(self.crease, _INK, 0.4)
            )
            self.fold(wrinkle, (side * 5.2, -3), (side * 6.4, 4), (side * (half + 3.5), y + 1.5), width=1.7)
        for row in range(3):
            top = -9.5 + 3.8 * row
            self.fold(wrinkle, (-5.4, top + 1.2), (0, top - 1.8), (5.4, top + 1.2), width=1.6)

    def paint_mouth(self) -> None:
        canvas, mouth, muscles, identity = self.canvas, self.face.mouth, self.muscles, self.identity
        edge_x, corner_y, nose_half = mouth.half_width, mouth.corner_y, self.face.nose_half_width
        lower = {"ground": self.lower_ground, "crease": self.lower_crease}
        for side in (-1, 1):
            wing = (side * (nose_half + 2.5), self.face.nose_y - 1)
            self.fold(
                muscles.smile,
                wing,
                (side * (edge_x + 4), 14),
                (side * (edge_x + 4.5), corner_y + 3),
                width=2.8,
            )
            droop = (side * (edge_x + 1), corner_y + 0.5)
            droop_end = (side * (edge_x + 3.0), corner_y + 9.0)
            self.fold(
                muscles.frown, droop, (side * (edge_x + 5), corner_y + 3), droop_end, width=4.0, **lower
            )
            for step in (2.6, 6.8):
                x, reach = side * (edge_x + step), 9.6 - 0.4 * step
                bend = (x + side * 2.0, corner_y)
                self.fold(
                    muscles.stretch, (x, corner_y - reach), bend, (x, corner_y + reach), width=3.6, **lower
                )
        lip = mix(mix(self.skin, (206, 66, 76), 0.75), (206, 20, 48), 0.75 * identity.lip_redness)
        if self.cartoon:
            lip = vivid(lip)
        if mouth.gap > 0.25:
            self.paint_mouth_opening()
        canvas.polygon(
            np.vstack([mouth.upper_outer, mouth.upper_inner[::-1]]), mix(lip, (70, 10, 20), 0.2), self.outline
        )
        canvas.polygon(np.vstack([mouth.lower_inner, mouth.lower_outer[::-1]]), lip, self.outline)
        if mouth.gap < 1.2:
            canvas.line(mouth.upper_inner, _INK if self.cartoon else mix(lip, (50, 5, 10), 0.8), 1.9)

    def paint_mouth_opening(self) -> None:
        canvas, mouth, part = self.canvas, self.face.mouth, self.muscles.part
        upper, lower = mouth.upper_inner, mouth.lower_inner
        canvas.polygon(np.vstack([upper, lower[::-1]]), (52, 8, 14))
        if part > 0.02:
            teeth = min(0.86 * mouth.gap, 6.2 * part + 0.4)
            share = teeth / mouth.gap
            canvas.polygon(np.vstack([upper, (upper + (lower - upper) * share)[::-1]])[1:-1], (252, 250, 244))
        if mouth.gap > 9 and part > 0.2:
            tongue = lower + (upper - lower) * 0.28
            canvas.polygon(np.vstack([tongue[3:-3], lower[3:-3][::-1]]), (196, 78, 84))

    def paint_chin(self) -> None:
        raised = self.muscles.chin
        if raised < 0.02:
            return
        y = self.face.chin_y - 4.6
        lower = {"ground": self.lower_ground, "crease": self.lower_crease}
        boss = mix(self.lower_ground, self.lower_crease, 0.6 * raised)
        self.canvas.ellipse((0, y - 0.4), (11.5, 6.2), boss)
        self.fold(raised, (-11, y + 3), (0, y - 11), (11, y + 3), width=3.0, **lower)
        dimple = mix(self.lower_ground, self.lower_crease, min(1.0, 0.1 + 0.9 * raised))
        radius = 0.7 + 0.5 * raised
        for x, dy in ((-4.4, 1.4), (0.0, -0.8), (4.4, 1.4), (-2.2, 3.4), (2.2, 3.4)):
            self.canvas.ellipse((x, y + dy), (radius, radius), dimple)

    def paint_hair(self) -> None:
        style = self.identity.hair_style
        if style == "bald":
            return
        width = self.identity.head_half_width
        side_y = -12 if style == "short" else 12
        outer = [(width + 3, side_y), (width + 3, -24), (width * 0.72, -46), (0, -54)]
        inner = [(0, -38), (width * 0.62, -35.5), (width * 0.9, -22), (width - 0.5, side_y)]
        outer_arc = np.vstack([outer[0], arc(outer[1], (width * 0.95, -50), outer[3])])
        inner_arc = np.vstack([arc(inner[0], (width * 0.75, -39), inner[2]), inner[3]])
        # one closed shape for both halves, so that a cartoon's outline has no seam
        shape = np.vstack([outer_arc, outer_arc[::-1] * [-1, 1], (inner_arc * [-1, 1])[::-1], inner_arc])
        self.canvas.polygon(shape, self.hair, self.outline)
