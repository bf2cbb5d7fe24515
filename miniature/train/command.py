"""`fineface miniature train`: makes the tiny models, one after another. `make run` never calls it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer
from PIL import Image

from miniature.judge import CALIBRATION
from miniature.train import autoencoder, base, blip2, cards, clip, estimator, judge, tokenizer
from miniature.train import world as worlds

MODELS = Path(__file__).parents[1] / "models"
TRAININGS = "trainings.json"
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Train the miniature's models. Seeded; each goes on after a kill.",
)
_FOLDERS = {
    "drawn": (Path(".fineface/miniature"), MODELS),
    "rendered": (Path(".fineface/rendered"), MODELS.parent / "rendered" / "models"),
}
"""Of each world: where pictures and checkpoints are kept, and where its finished models go."""
_work = typer.Option(None, help="Where pictures and checkpoints are kept: a folder a world.")
_models = typer.Option(None, help="Where the finished models go: a folder a world.")
_world = typer.Option("drawn", help="Which faces: drawn or rendered.")
RENDERED_LATENTS, RENDERED_PICTURES = 12, 36_000
RENDERED_PLAN = base.Plan(0, batch=32, attention_from=1, learning_rate=1.5e-3, decay=1200)
"""Of the base of the rendered world; the steps are the command's."""


def _folders(world: str, work: Path | None, models: Path | None) -> tuple[Path, Path]:
    if world not in _FOLDERS:
        raise typer.BadParameter(f"--world is {' or '.join(_FOLDERS)}, not {world}")
    usual_work, usual_models = _FOLDERS[world]
    return work or usual_work, models or usual_models


@app.command("all")
def train_all(work: Path | None = _work, models: Path | None = _models, world: str = _world) -> None:
    """Every model, in order (about two hours on two cores)."""
    work, models = _folders(world, work, models)
    train_estimator(work, models, world)
    train_second_estimator(work, models, world)
    train_base(work, models, world)
    train_decoder(work, models, world)
    gate(work, models, world)
    train_clip(work, models, world)
    train_blip2(work, models, world)


@app.command("base")
def train_base(
    work: Path | None = _work,
    models: Path | None = _models,
    world: str = _world,
    steps: int = 2000,
    pictures: int | None = None,
) -> None:
    """The StableDiffusionPipeline: tokenizer, autoencoder's encoder, UNet and text encoder (an hour).

    In the rendered world --steps may be changed when a training goes on: the learning rate falls over
    its last steps only.
    """
    work, models = _folders(world, work, models)
    folder = models / "base"
    rendered = world == "rendered"
    photographs = _of_base(work, world, pictures)
    latents, tokens, empty = (work / f"{name}.npy" for name in ("latents", "tokens", "empty"))
    if not latents.exists():
        # The learner breaks ties at random: a vocabulary is learned once and stays with its tokens.
        words = tokenizer.train(photographs.captions, folder / "tokenizer")
        np.save(tokens, tokenizer.encode(words, photographs.captions).numpy())
        np.save(empty, tokenizer.encode(words, [""]).numpy())
        channels = RENDERED_LATENTS if rendered else autoencoder.LATENT_CHANNELS
        coder = autoencoder.start(photographs.images[:4000], folder / "vae", channels)
        components = autoencoder.patch_components(photographs.images[:4000], channels)
        scaled = [autoencoder.projected(photographs.images, *components)]
        if rendered:
            scaled.append(autoencoder.projected(photographs.images[:, :, ::-1], *components))
        np.save(latents, np.concatenate(scaled) * np.float16(coder.config.scaling_factor))
    words = tokenizer.load(folder / "tokenizer")
    inputs = base.Inputs(latents, tokens, empty, len(words), words.bos_token_id, words.eos_token_id)
    plan = replace(RENDERED_PLAN, steps=steps) if rendered else base.Plan(steps)
    base.train(inputs, folder, work, plan)
    base.assemble(folder)
    _record(folder, "UNet and text encoder", f"{steps:,} steps of {plan.batch * plan.processes} pictures")


@app.command("decoder")
def train_decoder(
    work: Path | None = _work,
    models: Path | None = _models,
    world: str = _world,
    steps: int = 3000,
    pictures: int | None = None,
) -> None:
    """The decoder of the base's autoencoder (a quarter of an hour)."""
    work, models = _folders(world, work, models)
    photographs = _of_base(work, world, pictures)
    autoencoder.train_decoder(photographs.images, models / "base" / "vae", work, steps)
    base.assemble(models / "base")
    _record(models / "base", "decoder", f"{steps:,} steps of 8 pictures")


@app.command("gate")
def gate(work: Path | None = _work, models: Path | None = _models, world: str = _world) -> None:
    """What the base draws: a sheet of faces, and each AU beside drawn ones (a minute). Look at it."""
    work, models = _folders(world, work, models)
    folder, network = models / "base", models / "estimator"
    unseen = worlds.pictures(work, "gate", 512, seed=901, world=world)
    kept = autoencoder.readable(folder / "vae", network, unseen.images)
    ratios, faces = base.expressions(folder, network, unseen)
    sheet = np.stack(faces[:64]).reshape(4, 16, 64, 64, 3).swapaxes(1, 2).reshape(4 * 64, 16 * 64, 3)
    Image.fromarray(sheet).save(work / "base.png")
    measured = {
        f"{unit}: how often among its own faces, over drawn ones": f"{ratio:.2f}"
        for unit, ratio in ratios.items()
    } | {
        f"AU{unit}: Pearson of its reading before and after the autoencoder": f"{value:.3f}"
        for unit, value in kept.items()
    }
    rounds = json.loads((folder / TRAININGS).read_text())
    cards.write(folder, measured | {"trained": "; ".join(rounds)}, world)
    print(measured, f"{work / 'base.png'}", sep="\n")


@app.command("estimator")
def train_estimator(
    work: Path | None = _work, models: Path | None = _models, world: str = _world, steps: int = 3000
) -> None:
    """The AU estimator (five minutes). Its correlations on unseen identities should all reach 0.9."""
    work, models = _folders(world, work, models)
    if world == "rendered":  # rendering costs six times as much as drawing: the base's pictures serve again
        faces = _of_base(work, world)
    else:
        faces = worlds.pictures(work, "estimator", 30_000, seed=2, photographed=0.4)
    estimator.train(faces, models / "estimator", work, steps)
    _report_correlations(work, models / "estimator", steps, world)


@app.command("second_estimator")
def train_second_estimator(
    work: Path | None = _work, models: Path | None = _models, world: str = _world, steps: int = 3000
) -> None:
    """A second AU estimator (five minutes): other pictures, another seed and network, and no bias. In the
    rendered world it is MediaPipe, whose calibration is fitted too, and this network for two AUs."""
    work, models = _folders(world, work, models)
    faces = worlds.pictures(work, "second_estimator", 8000, seed=4, photographed=0.4, world=world)
    folder = models / "second_estimator"
    smaller = {"widths": (16, 32, 48, 48), "squeeze": 16, "hidden": 64}
    estimator.train(faces, folder, work, steps, seed=4, biased=False, **smaller)
    if world == "rendered":
        judge.write(folder / CALIBRATION)
    _report_correlations(work, folder, steps, world)


@app.command("clip")
def train_clip(
    work: Path | None = _work, models: Path | None = _models, world: str = _world, steps: int = 1500
) -> None:
    """CLIP (five minutes), on photographs and cartoons."""
    work, models = _folders(world, work, models)
    pictures, unseen = _captioned(work, world)
    words = tokenizer.train(pictures.captions, models / "clip")
    clip.train(pictures, words, models / "clip", work, steps)
    found = clip.retrieval(models / "clip", unseen)
    _report(models / "clip", {"own caption the nearest of 100": found}, steps, world)


@app.command("blip2")
def train_blip2(
    work: Path | None = _work, models: Path | None = _models, world: str = _world, steps: int = 1200
) -> None:
    """BLIP-2 (ten minutes). The accuracy on both questions should reach 0.95."""
    work, models = _folders(world, work, models)
    pictures, unseen = _captioned(work, world)
    blip2.train(pictures, models / "clip", models / "blip2", work, steps)
    found = blip2.accuracies(models / "blip2", unseen)
    _report(
        models / "blip2",
        {f"right answers, {question}": value for question, value in found.items()},
        steps,
        world,
    )


def _record(folder: Path, part: str, done: str) -> None:
    """Note in TRAININGS how the newest weights of `part` were made; the parts may be trained in any order."""
    path = folder / TRAININGS
    notes = json.loads(path.read_text()) if path.exists() else []
    kept = [note for note in notes if not note.startswith(f"{part}, ")]
    path.write_text(json.dumps([*kept, f"{part}, {done}"]))


def _of_base(work: Path, world: str, count: int | None = None) -> worlds.Pictures:
    """The base's pictures: photographs only."""
    usual = RENDERED_PICTURES if world == "rendered" else 60_000
    return worlds.pictures(work, "base", count or usual, seed=1, world=world)


def _captioned(work: Path, world: str) -> tuple[worlds.Pictures, worlds.Pictures]:
    """Photographs and cartoons with captions: to train on, and of unseen people."""
    flat, worn = 0.35, 0.3
    if world == "rendered":
        photographs = _of_base(work, world)
        cartoons = worlds.pictures(work, "cartoons", 16_000, seed=3, cartoons=1.0, photographed=worn)
        shown = worlds.joined(photographs, cartoons)
    else:
        shown = worlds.pictures(work, "captioned", 30_000, seed=3, cartoons=flat, photographed=worn)
    return (
        shown,
        worlds.pictures(
            work, "unseen-captioned", 2000, seed=901, cartoons=flat, photographed=worn, world=world
        ),
    )


def _report_correlations(work: Path, folder: Path, steps: int, world: str) -> None:
    """What an estimator is judged by: its readings of unseen people beside the truth."""
    unseen = worlds.pictures(work, "unseen", 2000, seed=900, photographed=0.4, world=world)
    found = estimator.correlations(folder, unseen)
    _report(folder, {f"Pearson, AU{unit}": value for unit, value in found.items()}, steps, world)


def _report(folder: Path, measured: dict[str, float], steps: int, world: str) -> None:
    figures = {name: f"{value:.3f}" for name, value in measured.items()} | {"training steps": steps}
    cards.write(folder, figures, world)
    print(figures)


if __name__ == "__main__":
    app()
