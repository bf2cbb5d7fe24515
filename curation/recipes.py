"""The named correction recipes and every number in them. The arithmetic lives in `curation.corrections`."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Power:
    """How one AU column is corrected: x^gamma, min-max normalised to [0, top], times `amplify`.

    `top` is `target`, a number on the recipe's scale, or else the maximum that AU `target_au` had *before*
    any power. Exactly one of the two is given.
    """

    au: int
    gamma: float
    target: float | None = None
    target_au: int | None = None
    amplify: float = 1.0

    def __post_init__(self) -> None:
        if (self.target is None) == (self.target_au is None):
            raise ValueError(f"AU{self.au}: give either target or target_au")
        if self.gamma <= 0 or self.amplify <= 0:
            raise ValueError(f"AU{self.au}: gamma and amplify must be positive")


@dataclass(frozen=True)
class Recipe:
    """A correction recipe. `scale` is the top of the scale it computes on (5 or 1); labels leave on 0-5."""

    name: str
    scale: float
    weak_by: Literal["sum", "max"]
    """Which figure of a row's intensities says that the row is too weak to keep."""
    weak_at: float
    """On the recipe's scale. Dropped are rows whose sum is below it ("sum") or max not above it ("max")."""
    powers: tuple[Power, ...]
    zero_below: float
    """Final intensities below this, on 0-5, become 0."""
    bounded: bool
    """Whether final intensities are held within [0, 5]."""
    needs_face: bool
    inclusive_height: bool
    """Whether a picture exactly `min_side` high passes; for `curation.resolution.apply`."""
    anchors: float | None = None
    """Of a recipe that is calibrated on manual labels (`curation.calibration`): labelled frames' worth of
    belief, at each whole intensity, that the reading is right. None: the recipe is not calibrated."""


PAPER = Recipe(
    name="paper",  # FineFace supplement, data processing, steps 4 to 6
    scale=5.0,
    weak_by="sum",
    weak_at=0.2,
    powers=(
        Power(1, 1.8, target=5.0),
        Power(4, 1.8, target=5.0),
        Power(15, 0.8, target=5.0),
        Power(17, 0.8, target=5.0),
        Power(20, 0.8, target=5.0),
    ),
    zero_below=1.0,
    bounded=True,
    needs_face=False,
    inclusive_height=True,
)

REFERENCE = Recipe(
    name="reference",  # the authors' public code, where it differs from their paper
    scale=1.0,
    weak_by="max",
    weak_at=0.2,
    powers=(
        Power(1, 1.8, target_au=1),
        Power(4, 1.8, target_au=4),
        Power(15, 0.8, target_au=17, amplify=1.8),  # to the maximum of AU17, not of AU15
        Power(17, 0.8, target_au=17, amplify=1.8),
        Power(20, 0.8, target_au=20, amplify=1.8),
    ),
    zero_below=1.1,
    bounded=False,
    needs_face=True,
    inclusive_height=False,
)

CALIBRATED = replace(
    PAPER,
    name="calibrated",  # ours: the paper's steps, with fitted maps of all AUs in the place of its powers
    powers=(),
    anchors=1.0,  # lowest held-out error of 0, 1, 2, 5, 10 and 20 on the miniature's labelled frames
)

AS_READ = replace(
    PAPER,
    name="as_read",  # ours: without step 5. In a few hundred portraits a column's range is an accident
    powers=(),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (PAPER, REFERENCE, CALIBRATED, AS_READ)}


def named(recipe: str | Recipe) -> Recipe:
    """The recipe of that name, or the recipe itself. Raises ValueError, listing the names known."""
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ValueError(f"unknown correction recipe {recipe!r}; known are {', '.join(sorted(RECIPES))}")
    return RECIPES[recipe]
