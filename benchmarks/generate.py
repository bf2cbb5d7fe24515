"""Drawing the protocol's pictures: batches as the project draws them, beside one prompt at a time as the
pipeline of diffusers draws them, with the same adapter in the same base, in one run.

    python benchmarks/generate.py                                    # the miniature's base, on two cores
    python benchmarks/generate.py --size sd21 --precision bfloat16   # a GPU: SD 2.1's sizes, random weights
    python benchmarks/generate.py --base stabilityai/stable-diffusion-2-1-base --precision bfloat16

The adapter is untrained: what it costs does not depend on what it learnt. Both sides take turns, so that
whoever else uses the machine slows both.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import torch  # noqa: E402

from benchmarks import random_base  # noqa: E402
from evaluation import protocol  # noqa: E402
from facs import COLUMNS  # noqa: E402
from inference import devices  # noqa: E402
from inference.generation import Generator  # noqa: E402
from methods import registry  # noqa: E402
from methods.fineface.settings import FineFaceTrain  # noqa: E402

MINIATURE = PROJECT / "miniature" / "models" / "base"
WHOLE = 1650
"""Pictures of the paper's protocol."""
TURNS = 3
HAND_WRITTEN = 7
"""Prompts of the protocol that are no training captions."""


def main(
    base: Annotated[str, typer.Option(help="A folder or hub id.")] = str(MINIATURE),
    size: Annotated[str, typer.Option(help="'sd21': a random base of that size instead.")] = "",
    side: Annotated[int, typer.Option(help="Pixels; 0: the base's own.")] = 0,
    pictures: Annotated[int, typer.Option(help="Drawn in batches, in all.")] = 96,
    single: Annotated[int, typer.Option(help="Drawn one at a time, in all.")] = 12,
    batch: Annotated[int, typer.Option(help="Pictures a batch.")] = 32,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 50,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    json_to: Annotated[Path | None, typer.Option("--json", help="Write the figures there too.")] = None,
) -> None:
    """Measure, print and write the figures."""
    with tempfile.TemporaryDirectory(prefix="fineface-generate-") as made:
        if size:
            random_base.write_apart(size, Path(base := f"{made}/base"))
        figures = measure(base, side, pictures, single, batch, steps, precision)
    text = json.dumps(figures, indent=2)
    print(text)
    if json_to is not None:
        json_to.write_text(text + "\n")


def measure(
    base: str | Path, side: int, pictures: int, single: int, batch: int, steps: int, precision: str
) -> dict[str, Any]:
    """Seconds a picture both ways, their ratio, and minutes for the whole protocol."""
    settings = FineFaceTrain(method="fineface")
    generator = Generator(
        base,
        install=lambda pipe: _install(settings, pipe),
        model_hash="untrained",
        size=side or _side(base),
        steps=steps,
        precision=precision,
        batch_size=batch,
    )
    plain = _one_at_a_time(generator, settings)
    asked = protocol.build("miniature", count=HAND_WRITTEN).sample(fraction=1, shuffle=True, seed=0)
    prompts, aus = asked["prompt"].to_list(), [list(row) for row in asked.select(COLUMNS).iter_rows()]

    def batched(count: int) -> None:
        generator.generate(prompts[:count], aus[:count], range(count), guidance=5.0)

    def one_by_one(count: int) -> None:
        for place in range(count):
            plain(prompts[place], aus[place], place)

    batched(batch)  # loads, and what is compiled or chosen at first use
    one_by_one(1)
    ours, theirs = [], []
    for _ in range(TURNS):
        ours.append(_seconds(batched, max(batch, pictures // TURNS)))
        theirs.append(_seconds(one_by_one, max(1, single // TURNS)))
    together, alone = statistics.median(ours), statistics.median(theirs)
    return {
        "base": str(base),
        "device": str(devices.pick("auto")),
        "threads": torch.get_num_threads(),
        "pixels": generator.size,
        "steps": steps,
        "precision": precision,
        "batch": batch,
        "seconds_a_picture": {"in_batches": round(together, 4), "one_at_a_time": round(alone, 4)},
        "each_turn": {
            "in_batches": [round(s, 4) for s in ours],
            "one_at_a_time": [round(s, 4) for s in theirs],
        },
        "times_as_fast": round(alone / together, 2),
        f"minutes_for_{WHOLE}": {
            "in_batches": round(WHOLE * together / 60, 1),
            "one_at_a_time": round(WHOLE * alone / 60, 1),
        },
    }


def _install(settings: FineFaceTrain, pipe: Any) -> None:
    registry.get(settings.method).trained_model(settings).install(pipe)


def _one_at_a_time(generator: Generator, settings: FineFaceTrain) -> Callable[[str, list[float], int], None]:
    """Draws one picture as the README of diffusers has it: its pipeline as it comes, the LoRA beside the
    weights."""
    import diffusers

    from inference.pipeline import FineFacePipeline

    precision = devices.dtype(generator.precision)
    pipe = FineFacePipeline.from_pretrained(generator.folder, dtype=precision, local_files_only=True)
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    _install(settings, pipe)
    torch.nn.Module.to(pipe.unet, precision)
    pipe.to(devices.pick("auto"))

    def draw(prompt: str, aus: list[float], seed: int) -> None:
        pipe(
            prompt,
            aus=aus,
            generator=torch.Generator("cpu").manual_seed(seed),
            guidance_scale=5.0,
            num_inference_steps=generator.steps,
            height=generator.size,
            width=generator.size,
        )

    return draw


def _seconds(draw: Callable[[int], None], count: int) -> float:
    began = time.perf_counter()
    draw(count)
    return (time.perf_counter() - began) / count


def _rounded(seconds: list[float]) -> list[float]:
    return [round(second, 4) for second in seconds]


def _side(base: str | Path) -> int:
    """The pixels that the base was made for."""
    from inference.generation import base_folder

    root = base_folder(base)
    unet, vae = (json.loads((root / part / "config.json").read_text()) for part in ("unet", "vae"))
    return int(unet["sample_size"]) * 2 ** (len(vae["block_out_channels"]) - 1)


if __name__ == "__main__":
    typer.run(main)
