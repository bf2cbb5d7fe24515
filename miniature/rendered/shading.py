"""Colours of what the rays met: skin, hair, eyes, mouth and cloth under a key, a fill and a rim light."""

from __future__ import annotations

import numpy as np

from facs import ACTION_UNITS
from miniature.identities import COLOURS
from miniature.rendered import figure as figures
from miniature.rendered import markings, muscles
from miniature.rendered.figure import Figure
from miniature.rendered.people import Person, Shot
from miniature.rig import head

SKINS = {"pale": (236, 196, 174), "tan": (206, 154, 116), "brown": (148, 98, 68), "dark": (88, 57, 42)}
HAIRS = {
    "black": (24, 20, 20),
    "brown": (78, 48, 28),
    "blonde": (206, 166, 92),
    "red": (150, 58, 22),
    "grey": (158, 158, 162),
}
IRISES = ((82, 52, 30), (72, 108, 150), (84, 108, 66), (40, 26, 18))
_RELIEF = 0.52
"""How dark a fold of full strength is, as a share of the light it takes away."""
_GAMMA = 2.2


def linear(colour) -> np.ndarray:
    """sRGB 0-255 → light 0-1, float32 [3]."""
    return (np.asarray(colour, np.float32) / 255) ** _GAMMA


def to_bytes(light: np.ndarray) -> np.ndarray:
    """Light 0-1, any shape → uint8 sRGB."""
    return (np.clip(light, 0, 1) ** (1 / _GAMMA) * 255 + 0.5).astype(np.uint8)


class Lights:
    """Directions towards the key and the rim light, with their colours, as `shot` says."""

    def __init__(self, shot: Shot):
        azimuth, elevation = shot.light_azimuth, shot.light_elevation
        self.key = np.array(
            [
                np.sin(azimuth) * np.cos(elevation),
                -np.cos(azimuth) * np.cos(elevation),
                np.sin(elevation),
            ],
            np.float32,
        )
        self.rim = np.array([-np.sign(azimuth or 1) * 0.75, 0.45, 0.48], np.float32)
        warm = np.array([1 + shot.warmth, 1.0, 1 - 1.3 * shot.warmth], np.float32)
        self.key_colour = warm * np.float32(0.86 * shot.key)
        self.fill_colour = np.array([0.97, 1.0, 1.05], np.float32) * np.float32(0.42)


def colours(
    person: Person,
    shot: Shot,
    intensities,
    built: Figure,
    normals: np.ndarray,
    shadow: np.ndarray,
    triangles: np.ndarray,
    weights: np.ndarray,
    fine: float,
) -> np.ndarray:
    """Light float32 [H, 3] that comes from H hits.

    `normals` [V, 3] as posed, `shadow` [V] 0-1 of the key light; `triangles` [H] hit at `weights` [H, 3];
    `fine`: how much of pores and single hairs to show, 0 at 64 px to 1 at 512 px.
    """
    corners = built.triangles[triangles]
    table = np.concatenate([built.fields, normals, shadow[:, None]], axis=1)
    value = np.einsum("hc,hcf->hf", weights, table[corners], optimize=True)
    x, _, z, hair, lash, air, back = value[:, :7].T
    normal = value[:, 7:10] / (np.linalg.norm(value[:, 7:10], axis=1, keepdims=True) + 1e-9)
    behind = normal[:, 1] > 0.15  # a fold seen from behind: light it as its front
    normal[behind] *= -1
    lit = 1 - value[:, 10]
    material = built.materials[triangles]

    albedo = np.empty((len(x), 3), np.float32)
    shine = np.zeros(len(x), np.float32)
    is_skin = material == figures.SKIN
    rows = np.flatnonzero(is_skin)
    albedo[rows], shine[rows] = _skin(person, intensities, value[rows, :3], hair[rows], lash[rows], fine)
    for code, colour in (
        (figures.CAVITY, linear(SKINS[person.skin]) * np.array([0.9, 0.55, 0.5], np.float32)),
        (figures.MOUTH, linear((92, 26, 26))),
        (figures.TONGUE, linear((176, 84, 84))),
        (figures.TEETH, linear((232, 226, 212))),
    ):
        albedo[material == code] = colour
    eye = np.flatnonzero(material == figures.EYE)
    albedo[eye] = _eye(person, shot, x[eye], z[eye])
    curtain = np.flatnonzero(material == figures.CURTAIN)
    albedo[curtain] = _strands(
        person, back[curtain] + 0.12 * person.curl * np.sin(60 * z[curtain]) * 0.1, z[curtain], fine
    )
    cloth = np.flatnonzero(material == figures.CLOTH)
    albedo[cloth] = _cloth(person, x[cloth], back[cloth])

    lights = Lights(shot)
    facing = normal @ lights.key
    facing_lit = np.clip(facing, 0, 1) * lit
    # Skin lets light through: the terminator is wide, and redder than the rest.
    wrapped = np.clip((facing + 0.30) / 1.30, 0, 1) ** 1.4 * (0.35 + 0.65 * lit)
    key = np.stack(
        [
            0.45 * wrapped + 0.55 * facing_lit,
            0.22 * wrapped + 0.78 * facing_lit,
            0.15 * wrapped + 0.85 * facing_lit,
        ],
        axis=1,
    )
    key[~is_skin] = (0.25 * np.clip(facing + 0.3, 0, 1) + 0.75 * facing_lit)[~is_skin, None]
    sky = (0.72 + 0.28 * normal[:, 2]) * air**1.3
    rim = np.clip(normal @ lights.rim, 0, 1) * 0.28 * air
    light = key * lights.key_colour + sky[:, None] * lights.fill_colour + rim[:, None]
    inside = np.isin(material, (figures.MOUTH, figures.TONGUE, figures.TEETH))
    light[inside] *= np.where(material[inside] == figures.TEETH, 0.80, 0.55)[:, None]
    out = albedo * light

    half = lights.key + np.array([0, -1, 0], np.float32)
    half /= np.linalg.norm(half)
    gloss = np.clip(normal @ half, 0, 1)
    out += (shine * gloss**22 * 0.10 * lit)[:, None] * lights.key_colour
    if len(eye):
        out[eye] = out[eye] * _lid_shade(z[eye])[:, None] + _catchlight(person, shot, x[eye], z[eye])[:, None]
    return out


def _skin(person: Person, intensities, place, hair, lash, fine):
    """Albedo [N, 3] and shine [N] of places on the head."""
    x, y, z = place.T
    paint = markings.at(x, z)
    in_front = np.clip((-0.035 - y) / 0.02, 0, 1).astype(np.float32)
    paint *= in_front[:, None]
    get = markings.INDEX
    skin = linear(SKINS[person.skin]) * np.array(person.skin_tint, np.float32)
    hair_colour = linear(HAIRS[person.hair])

    folds = muscles.shares(intensities).astype(np.float32)
    relief = paint[:, : len(ACTION_UNITS)] @ folds + paint[:, get["age"]] * _age_relief(person)
    relief = np.clip(relief, -1.25, 0.8) * np.float32(_RELIEF)
    albedo = np.broadcast_to(skin, (len(x), 3)).copy()
    raised_cheek = folds[ACTION_UNITS.index(6)]
    flush = paint[:, get["blush"]] * (0.18 * person.blush + 0.10 * raised_cheek)
    albedo *= 1 + flush[:, None] * np.array([0.35, -0.55, -0.40], np.float32)
    albedo *= 1 - paint[:, get["shadow"], None] * np.array([0.10, 0.16, 0.14], np.float32) * (
        1.6 if person.age == "old" else 1.0
    )
    albedo *= 1 + (0.05 * fine + 0.03) * paint[:, get["pores"], None]
    albedo *= 1 - 0.45 * person.freckles * paint[:, get["freckles"], None] * np.array(
        [0.5, 0.8, 0.9], np.float32
    )

    natural = skin * np.array([0.92, 0.52, 0.50], np.float32)
    painted = linear((168, 34, 48)) * (0.45 + 0.55 * np.sqrt(skin.mean() / 0.5))
    lip = natural + (painted - natural) * np.float32(person.lip_colour)
    lips = paint[:, get["lips"], None]
    albedo += (lip - albedo) * lips * np.float32(0.85)
    albedo *= 1 - 0.60 * paint[:, get["lip_line"], None]

    if person.beard:
        cover = np.maximum(paint[:, get["moustache"]] * 0.95, paint[:, get["beard"]])
        cover = np.clip(cover * (0.42 + 0.56 * person.beard_length), 0, 0.97)
        beard = hair_colour * 0.85 + linear((40, 24, 14)) * 0.15
        albedo += (beard - albedo) * cover[:, None]
    elif person.gender == "man":
        cover = 0.10 * paint[:, get["beard"]]
        albedo *= 1 - cover[:, None] * np.array([1.0, 0.8, 0.6], np.float32)

    brow = paint[:, get["brow_thin"]] * (1 - person.brow) + paint[:, get["brow_thick"]] * person.brow
    brow = np.clip(brow * 1.15, 0, 1) * np.float32(0.70 + 0.28 * person.brow_darkness)
    brow_colour = hair_colour * np.float32(_brow_tone(person))
    albedo += (brow_colour - albedo) * brow[:, None]
    albedo *= (1 + relief * (1 - 0.35 * brow))[:, None]

    albedo *= 1 - (0.85 if person.gender == "woman" else 0.62) * np.clip(lash, 0, 1)[:, None] ** 1.5

    ragged = hair + 0.10 * paint[:, get["strands"]]
    cover = np.clip((ragged - 0.47) / 0.08, 0, 1)
    if person.hair_style == "bald" and person.hair != "grey":
        cover = np.zeros_like(cover)
    across = np.where(np.abs(x) > 0.06, y, x + 0.15 * z * np.sign(x - 0.03 * person.parting))
    strands = _strands(person, across, z, fine)
    albedo += (strands - albedo) * cover[:, None]
    oil = 1.0 - 0.75 * cover + 0.8 * paint[:, get["lips"]] * (0.4 + person.lip_colour)
    return albedo, oil.astype(np.float32)


def _brow_tone(person: Person) -> float:
    """Brows as a share of the hair's colour: they stand out from the skin, for they carry four AUs."""
    if person.skin in ("pale", "tan"):
        return 0.40
    return 0.95 if person.hair == "grey" else 0.12


def _age_relief(person: Person) -> np.float32:
    return np.float32({"young": 0.0, "": 0.12, "old": 0.48}[person.age])


def _strands(person: Person, across: np.ndarray, z: np.ndarray, fine: float) -> np.ndarray:
    """Hair colour [N, 3] with strands that run across `across` (metres)."""
    colour = linear(HAIRS[person.hair])
    phase = person.pattern % 97
    tone = 0.5 * np.sin(across * 520 + phase) + 0.3 * np.sin(across * 1130 + 2.1 * phase + 30 * z)
    tone += fine * 0.5 * np.sin(across * 3900 + 7 * np.sin(60 * z + phase))
    if person.curl > 0.3:
        tone = (1 - person.curl) * tone + person.curl * np.sin(across * 640 + phase) * np.sin(z * 620 + phase)
    return colour * (1 + 0.38 * tone[:, None]).astype(np.float32)


def _eye(person: Person, shot: Shot, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Albedo of the eyeball's front: sclera, iris with a dark rim, pupil."""
    eyes = head.load().eyes
    side = np.where(x > 0, 0, 1)
    from_axis_x = x - eyes[side, 0] - 0.012 * shot.gaze_x - 0.0018 * np.sign(x)
    from_axis_z = z - eyes[side, 2] - 0.012 * shot.gaze_y + 0.0006
    radius = np.hypot(from_axis_x, from_axis_z)
    white = linear((232, 226, 220))
    white_redder = white * np.array([1.0, 0.86, 0.84], np.float32)
    corner = np.clip((np.abs(from_axis_x) - 0.007) / 0.006, 0, 1)[:, None]
    colour = white + (white_redder - white) * corner
    iris = linear(IRISES[person.iris]) * (0.75 + 0.5 * np.clip(-from_axis_z / 0.006, -1, 1))[:, None].astype(
        np.float32
    )
    in_iris = np.clip((0.0062 - radius) / 0.0007, 0, 1)[:, None]
    rim = np.clip(1 - np.abs(radius - 0.0057) / 0.0010, 0, 1)[:, None]
    pupil = np.clip((0.0027 - radius) / 0.0005, 0, 1)[:, None]
    colour = colour + (iris - colour) * in_iris
    colour = colour * (1 - 0.6 * rim)
    return (colour * (1 - 0.97 * pupil)).astype(np.float32)


def _lid_shade(z: np.ndarray) -> np.ndarray:
    """The upper lid and its lashes keep light from the upper part of the eye."""
    return np.clip(1.0 - 0.45 * np.clip((z - 0.1445) / 0.006, 0, 1), 0, 1).astype(np.float32)


def _catchlight(person: Person, shot: Shot, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    eyes = head.load().eyes
    side = np.where(x > 0, 0, 1)
    at_x = eyes[side, 0] + 0.0018 * np.sign(x) + 0.0030 * np.sin(shot.light_azimuth)
    at_z = eyes[side, 2] + 0.0012 + 0.0018 * shot.light_elevation
    return (0.75 * np.exp(-(((x - at_x) / 0.0011) ** 2) - ((z - at_z) / 0.0011) ** 2)).astype(np.float32)


def _cloth(person: Person, x: np.ndarray, down: np.ndarray) -> np.ndarray:
    colour = linear(COLOURS[person.clothing_colour])
    colour = np.clip(colour, 0.015, 0.86)
    contrast = linear((238, 238, 238)) if colour.mean() < 0.35 else linear((40, 40, 46))
    albedo = np.broadcast_to(colour, (len(x), 3)).copy()
    if person.clothing == "sweater":
        ribs = 1 + 0.14 * np.sin(x * 900)
        albedo *= np.where(down < 0.22, ribs, 1.0)[:, None].astype(np.float32)
    elif person.clothing == "shirt":
        albedo = np.where((down < 0.20)[:, None], albedo * 0.72 + 0.28 * linear((245, 245, 245)), albedo)
    else:
        albedo = np.where((down < 0.12)[:, None], contrast, albedo)
    return albedo.astype(np.float32)
