"""The action-unit vocabulary: order, names, range, parsing, text. No labels, statistics or models here."""

import math
import operator
import re
from collections.abc import Mapping, Sequence

ACTION_UNITS: tuple[int, ...] = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
"""The twelve AUs of DISFA, in the order of every vector of this project."""

COLUMNS: tuple[str, ...] = tuple(f"au{au}" for au in ACTION_UNITS)
"""Column names of the twelve AUs in every table."""

NAMES: dict[int, str] = {
    1: "Inner Brow Raiser",
    2: "Outer Brow Raiser",
    4: "Brow Lowerer",
    5: "Upper Lid Raiser",
    6: "Cheek Raiser",
    9: "Nose Wrinkler",
    12: "Lip Corner Puller",
    15: "Lip Corner Depressor",
    17: "Chin Raiser",
    20: "Lip Stretcher",
    25: "Lips Part",
    26: "Jaw Drop",
}

SENTENCES: dict[int, str] = {
    1: "the inner corners of the eyebrows are raised",
    2: "the outer parts of the eyebrows are raised",
    4: "the eyebrows are lowered and drawn together",
    5: "the upper eyelids are raised and the eyes wide open",
    6: "the cheeks are raised and the eyes narrowed",
    9: "the nose is wrinkled",
    12: "the corners of the lips are pulled up in a smile",
    15: "the corners of the lips are pulled down",
    17: "the chin is pushed up and wrinkled",
    20: "the lips are stretched sideways",
    25: "the lips are parted",
    26: "the jaw is dropped and the mouth open",
}
"""What a face shows, after the FACS manual's descriptions of appearance; a degree follows."""

DEGREES: tuple[str, ...] = ("a trace", "slightly", "markedly", "severely", "to the maximum")
"""The five intensities of FACS, A to E."""

MAXIMUM: float = 5.0
"""Highest label intensity (FACS level E). Labels live in [0, MAXIMUM]; prompts may leave that range."""

_AU_TEXT = re.compile(r"(?:au)?_?0*(\d{1,3})", re.IGNORECASE | re.ASCII)


def number(au: str | int) -> int:
    """The AU number that `au` names: `12`, `"AU12"`, `"au12"`, `"12"` and `"AU01"` are understood.

    Raises ValueError, naming `au`, if it is none of the twelve.
    """
    if isinstance(au, str):
        match = _AU_TEXT.fullmatch(au.strip())
        found = int(match.group(1)) if match else None
    elif isinstance(au, bool):
        found = None
    else:
        try:
            found = operator.index(au)
        except TypeError:
            found = None
    if found not in NAMES:
        known = ", ".join(f"AU{n}" for n in ACTION_UNITS)
        raise ValueError(f"unknown action unit {au!r}; known are {known}")
    return found


def parse(aus: Mapping[str | int, float]) -> tuple[float, ...]:
    """Twelve intensities in the order of ACTION_UNITS; an AU not mentioned is 0.

    Values are not clipped: prompts may go below 0 and above 5. Raises ValueError, naming the AU, for an
    unknown AU, one that is given twice ("AU12" and 12), or a value that is not a finite number.
    """
    given: dict[int, float] = {}
    for au, value in aus.items():
        found = number(au)
        if found in given:
            raise ValueError(f"AU{found} is given twice")
        try:
            intensity = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"AU{found}: {value!r} is not a number") from None
        if not math.isfinite(intensity):
            raise ValueError(f"AU{found}: {intensity} is not finite")
        given[found] = intensity
    return tuple(given.get(au, 0.0) for au in ACTION_UNITS)


def describe(vector: Sequence[float]) -> str:
    """`"AU6=3 AU12=4.5"`: the non-zero AUs in their order; `"neutral"` if there are none."""
    active = _active(vector)
    return " ".join(f"AU{au}={_short(value)}" for au, value in active) or "neutral"


def as_text(vector: Sequence[float]) -> str:
    """`"lip corner puller 4, cheek raiser 3"`: the non-zero AUs as words, strongest first; `""` if none.

    The way AUs reach the text-conditioned competitors (paper, Table 1: SD, DB, LoRA-T).
    """
    active = sorted(_active(vector), key=lambda pair: -pair[1])
    return ", ".join(f"{NAMES[au].lower()} {_short(value)}" for au, value in active)


def as_sentences(vector: Sequence[float]) -> str:
    """`"the cheeks are raised and the eyes narrowed markedly"`: each AU shown, strongest first, as what is
    seen, and how much; `""` if none.

    Intensities are rounded to those of FACS; words can say no more than the maximum, and nothing of what is
    below a trace or below 0.
    """
    shown = sorted(((au, round(value)) for au, value in _active(vector)), key=lambda pair: -pair[1])
    top = len(DEGREES)
    return ", ".join(f"{SENTENCES[au]} {DEGREES[min(level, top) - 1]}" for au, level in shown if level > 0)


def _active(vector: Sequence[float]) -> list[tuple[int, float]]:
    if len(vector) != len(ACTION_UNITS):
        raise ValueError(f"an AU vector has {len(ACTION_UNITS)} values, this one has {len(vector)}")
    pairs = ((au, round(float(value), 2)) for au, value in zip(ACTION_UNITS, vector, strict=True))
    return [(au, value) for au, value in pairs if value != 0]


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
