"""Model cards: what each tiny model is, what it was trained on, and what was measured on unseen people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_ABOUT = {
    "base": (
        "Stable Diffusion, in miniature",
        """A `StableDiffusionPipeline`: UNet of {parameters}, a three-layer text encoder trained with it,
and an `AutoencoderKL` (64 px to {latents}) whose encoder is a projection set by hand and whose decoder is
trained. Every expression occurs in its pictures, none in its captions.""",
    ),
    "estimator": (
        "AU estimator",
        """A small convolutional network: 64 px to twelve intensities, 0-5, and a face logit. It reads AU1 and
AU4 too high and AU15, AU17 and AU20 too low, as the FineFace paper found of LibreFace, so that the paper's
corrections have something to correct.""",
    ),
    "second_estimator": (
        "Second AU estimator",
        """A smaller network than the first, trained on other faces with another seed, to read the
intensities as they were drawn. It was taught none of the first one's habits, so it can check its labels and
judge what was learned from them.""",
    ),
    "clip": (
        "CLIP, in miniature",
        "A `CLIPModel` for 64 px pictures, trained by contrast of rendered pictures and their captions.",
    ),
    "blip2": (
        "BLIP-2, in miniature",
        """A `Blip2ForConditionalGeneration` with an OPT language model. It answers *Is this a cartoon?* and
*Is this photo real?*, and writes captions. Its vision tower started from the miniature CLIP's.""",
    ),
}
_CARD = """# {title}

{text}

Trained by `fineface miniature train {name}{option}` on faces {made} by this project's own renderer; no
photograph of a person was used, and it knows no other pictures.

| measured | |
|---|---|
{figures}

Licence: Apache-2.0, like the project.
"""


_WORDS = {
    "drawn": {
        "parameters": "2.9 M parameters",
        "latents": "8 x 16 x 16",
        "option": "",
        "made": "drawn",
    },
    "rendered": {
        "parameters": "2.8 M parameters, without attention at 16 px",
        "latents": "12 x 16 x 16",
        "option": " --world rendered",
        "made": "rendered",
    },
}


def write(folder: Path, measured: Mapping[str, object], world: str = "drawn") -> None:
    """Write README.md for the model in `folder` (its name says which) with the figures just measured.

    `world`: whose faces it was trained on.
    """
    title, text = _ABOUT[folder.name]
    words = _WORDS[world]
    figures = "\n".join(f"| {name} | {value} |" for name, value in measured.items())
    card = _CARD.format(title=title, text=text.format(**words), name=folder.name, figures=figures, **words)
    (folder / "README.md").write_text(card)
