"""Sample sheets: what the adapter draws in mid-training, for the eye. Measured samples are `evaluation`'s."""

from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler
from PIL import Image

from facs import parse
from inference.pipeline import FineFacePipeline
from methods.registry import Wording

COLUMNS: tuple[dict[str | int, float], ...] = (
    {},
    {"AU1": 5, "AU2": 5},
    {"AU4": 5},
    {"AU6": 5, "AU12": 5},
    {"AU9": 5},
    {"AU25": 5, "AU26": 5},
)
"""The action units of a sheet's columns; the first is the neutral face."""

STEPS = 12
GUIDANCE = 5.0


def draw(pipe: FineFacePipeline, prompts: tuple[str, ...], word: Wording) -> Image.Image:
    """One row a prompt, one column an entry of `COLUMNS`, asked for as `word` says; a row shares its initial
    noise.

    Uses up no randomness of the training, and leaves the pipeline as it was.
    """
    scheduler, pipe.scheduler = pipe.scheduler, DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    training = pipe.unet.training
    pipe.unet.eval()
    pipe.set_progress_bar_config(disable=True)
    try:
        rows = [_row(pipe, prompt, word, seed) for seed, prompt in enumerate(prompts)]
    finally:
        pipe.scheduler = scheduler
        pipe.unet.train(training)
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (width * len(COLUMNS), height * len(rows)))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * width, y * height))
    return sheet


def _row(pipe: FineFacePipeline, prompt: str, word: Wording, seed: int) -> list[Image.Image]:
    generators = [torch.Generator().manual_seed(seed) for _ in COLUMNS]
    asked = word([prompt] * len(COLUMNS), [parse(column) for column in COLUMNS])
    settings: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
    return pipe(asked.prompts, aus=asked.aus, generator=generators, **settings).images
