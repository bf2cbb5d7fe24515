"""How a model is trained, whichever stage asks: by a subprocess, and kept under all that decides it."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets import retries, stage
from assets.calls import LOG_SHARE
from inference import child
from settings.base import identity
from store import Store, file_system
from store.hashing import fingerprint
from store.lock import sole
from store.trained import intact

if TYPE_CHECKING:
    from training.job import TrainingJob

ADAPTERS = Path("files") / "adapters"
PROJECT = Path(__file__).resolve().parents[1]
JOB, OUTPUT, CHECKPOINTS = "job.json", "output", "checkpoints"


def fit(
    context: dg.AssetExecutionContext,
    store: Store,
    job: "TrainingJob",
    key: str,
    tables: Mapping[str, pl.DataFrame],
    write: Callable[[pl.DataFrame, Store, Path], None],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train the model of `job`, or find it trained under `key`: the row of the table, and metadata. `write`
    writes each of `tables`, by its file name, as the training reads it.
    """
    from training.job import MODEL_FOLDER, RESULT_FILE, SAMPLES_FILE

    settings = job.loop
    folder = store.home / ADAPTERS / key
    with sole(folder / "lock"):
        known = file_system.size(folder / OUTPUT / RESULT_FILE) is not None
        if not known:
            here = file_system.own(folder)
            _take_over(folder / OUTPUT, here / OUTPUT)
            for name, table in tables.items():
                write(table, store, here / name)
            for place in {here, folder}:
                job.write(place / JOB)
            if settings.launch is not None:
                context.log.info(
                    f"the training waits for the machines of {settings.launch}; on each of the others: "
                    f"accelerate launch --config_file … --module training {here / JOB}"
                )
            _run(context, here, folder, settings.steps)
            file_system.publish(here / OUTPUT, folder / OUTPUT)
    model = folder / OUTPUT / MODEL_FOLDER
    weights = intact(folder, model)
    result = json.loads(file_system.read(folder / OUTPUT / RESULT_FILE))
    row = {
        "folder": model.relative_to(store.home).as_posix(),
        "model_hash": fingerprint(
            weights=weights,
            code=settings.code_version,
            settings=identity(settings),
        ),
        "steps": settings.steps,
        "final_loss": result.get("final_loss"),
        "key": key,
        "samples": tables[SAMPLES_FILE].height,
    }
    return row, {
        "steps_trained": 0 if known else settings.steps,
        "steps_reused": settings.steps if known else 0,
        "training_seconds": result.get("seconds"),
        "job": dg.MetadataValue.path(file_system.address(folder / JOB)),
        **_pictures(folder),
    }


def _take_over(elsewhere: Path, here: Path) -> None:
    """Where a training that is kept elsewhere came further than this machine's copy of it, that is copied."""
    if here == elsewhere:
        return
    reached = [
        max((step.name for step in file_system.find(place / CHECKPOINTS, "step-*")), default="")
        for place in (elsewhere, here)
    ]
    if reached[0] > reached[1]:
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(file_system.local(elsewhere), here)


def _run(context: dg.AssetExecutionContext, folder: Path, kept: Path, steps: int) -> None:
    """Run the training in `folder`, logging its progress every few percent, with loss curve and samples as it
    goes. Where what is kept lies elsewhere, each checkpoint is brought there."""
    command = [sys.executable, "-m", "training", str(folder / JOB)]
    paths = filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    logged, sheets, checkpoints = 0, _sheets(folder), _checkpoints(folder)
    try:
        for line in child.lines(command, folder / "log.txt", environment):
            event = _event(line)
            if "warning" in event:
                context.log.warning(f"training: {event['warning']}")
            step = event.get("step", 0)
            held_out = f", held-out {event['held_out_loss']:.4f}" if "held_out_loss" in event else ""
            if step - logged >= LOG_SHARE * steps or step == steps:
                logged = step
                context.log.info(
                    f"training: step {step:,} of {steps:,}, loss {event['loss']:.4f}{held_out}, "
                    f"{event['samples_per_second']:.3g} samples a second, {event['eta']:.0f} s left"
                )
            if (written := _checkpoints(folder)) != checkpoints:
                checkpoints = written
                file_system.publish(folder / OUTPUT, kept / OUTPUT)
            if (drawn := _sheets(folder)) != sheets:
                sheets = drawn
                partition = context.partition_key if context.has_partition_key else None
                context.log_event(
                    dg.AssetObservation(context.asset_key, partition=partition, metadata=_pictures(folder))
                )
    except child.ChildFailed as error:
        raise retries.after(error, "the training", context) from error


def _event(line: str) -> dict[str, Any]:
    """A progress line of the training; empty for any other line."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _pictures(folder: Path) -> dict[str, Any]:
    """The loss curves so far and the latest sample pictures, as metadata."""
    from evaluation import figures

    found: dict[str, Any] = {}
    table = losses(folder)
    if table.height:
        curves = {"training": table.select("step", "loss")}
        held_out = table.select("step", loss="held_out_loss").drop_nulls()
        if held_out.height:
            curves["held out"] = held_out
        found["loss_curve"] = stage.picture(figures.training_curves(curves), "training loss")
        found["held_out_loss"] = held_out["loss"].last() if held_out.height else None
    pictures = _sheets(folder)
    if pictures:
        found["samples"] = stage.picture(file_system.read(pictures[-1]), pictures[-1].stem)
    return {name: value for name, value in found.items() if value is not None}


def _sheets(folder: Path) -> list[Path]:
    return file_system.find(folder / OUTPUT / "samples", "*.png")


def _checkpoints(folder: Path) -> list[Path]:
    return file_system.find(folder / OUTPUT / CHECKPOINTS, "step-*")


def losses(folder: Path) -> pl.DataFrame:
    """step, loss and held_out_loss (often null) of the training in `folder`, as far as it came."""
    path = folder / OUTPUT / "progress.jsonl"
    lines = file_system.read(path).decode().splitlines() if file_system.size(path) is not None else []
    events = [event for event in map(_event, lines) if event.get("loss") is not None]
    points = [(event["step"], event["loss"], event.get("held_out_loss")) for event in events]
    schema = {"step": pl.Int64, "loss": pl.Float64, "held_out_loss": pl.Float64}
    table = pl.DataFrame(points, schema=schema, orient="row")
    return table.unique("step", keep="last").sort("step")
