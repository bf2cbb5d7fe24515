"""trained_model: one experiment's trained model, made by a subprocess and kept under all that decides it."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from dagster import AssetCheckKey

import facs
from assets import gate, retries, stage
from assets.calls import LOG_SHARE
from inference import child
from settings.base import identity
from settings.profile import Profile
from store import CorruptFile, Store, file_system
from store.file_system import draft
from store.hashing import fingerprint, hash_frame
from store.lock import sole
from store.trained import intact

if TYPE_CHECKING:
    from training.job import TrainingJob

SCHEMA = {
    "experiment": pl.String,
    "method": pl.String,
    "folder": pl.String,
    "model_hash": pl.String,
    "steps": pl.Int64,
    "final_loss": pl.Float64,
    "key": pl.String,
    "samples": pl.Int64,
}
ADAPTERS = Path("files") / "adapters"
PROJECT = Path(__file__).resolve().parents[2]
JOB, OUTPUT, CHECKPOINTS = "job.json", "output", "checkpoints"
FINITE = "weights_are_finite"


def build(
    experiments: dg.StaticPartitionsDefinition, gates: list[AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """The asset, with one partition an experiment; it refuses to train while one of `gates` is failed."""

    @stage.asset(
        checks=[
            dg.AssetCheckSpec(
                FINITE,
                asset="trained_model",
                blocking=True,
                description="No weight of the model is NaN or infinite.",
            )
        ],
        code_version="2",
        partitions_def=experiments,
        kinds={"torch"},
        pool="gpu",
    )
    def trained_model(
        context: dg.AssetExecutionContext,
        training_set: pl.DataFrame,
        latents: pl.DataFrame,
        class_images: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Profile],
    ) -> dg.MaterializeResult:
        """The trained model's folder in the home and the hash of its content; none where the method trains
        nothing. Experiments that differ only in sampling share one training.
        """
        import methods.registry

        gate.refuse_on_failed(context, gates)
        settings = profile.experiments[context.partition_key].train
        row: dict[str, Any] = {"steps": 0}
        metadata: dict[str, Any] = {}
        if methods.registry.get(settings.method).model is not None:
            row, metadata = _trained(context, store, profile, settings, training_set, latents, class_images)
        row |= {
            "experiment": context.partition_key,
            "method": settings.method,
        }
        made = stage.result(pl.DataFrame([row], schema=SCHEMA), **metadata)
        return made._replace(check_results=[_finite(store, row.get("folder"))])

    return [trained_model]


def _finite(store: Store, folder: str | None) -> dg.AssetCheckResult:
    """Whether all weights in the model's `folder` of the home are numbers; an untrained one has none."""
    from inference import weights

    broken = weights.not_finite(file_system.local(store.home / folder)) if folder is not None else []
    return stage.check(not broken, not_finite=broken[:10])._replace(check_name=FINITE)


def _trained(
    context: dg.AssetExecutionContext,
    store: Store,
    profile: Profile,
    settings: Any,
    training_set: pl.DataFrame,
    latents: pl.DataFrame,
    class_images: pl.DataFrame,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train the model, or find it trained: the row of the table, and metadata."""
    from training.job import CLASS_IMAGES_FILE, HELD_OUT_FILE, SAMPLES_FILE

    samples = training_samples(training_set, latents, "train")
    job = _job(profile, settings)
    size = profile.base.size
    for name, table in {"latents": latents, "class_images": class_images}.items():
        if others := table.filter(pl.col("size") != size)["size"].unique().sort().to_list():
            raise dg.Failure(
                f"{name} are of pictures of {', '.join(map(str, others))} px, base.size is {size}: run "
                f"--select {name}+",
                allow_retries=False,
            )
    tables = {
        SAMPLES_FILE: samples,
        HELD_OUT_FILE: training_samples(training_set, latents, "validation"),
        CLASS_IMAGES_FILE: _without_aus(class_images),
    }
    key = _key(job, samples, latents, tables[CLASS_IMAGES_FILE])
    return fit(context, store, job, key, tables, _write_samples)


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


def _key(job: "TrainingJob", samples: pl.DataFrame, latents: pl.DataFrame, beside: pl.DataFrame) -> str:
    """The key of the trained model; where the latents of its samples lie is no part of it."""
    encoded = latents.select("fingerprint", "size").unique().sort("fingerprint", "size")
    data: dict[str, Any] = {"samples": hash_frame(samples.drop("file", "row")), "latents": encoded.rows()}
    if beside.height:
        data["class_images"] = hash_frame(beside.drop("file", "row"))
    return job.key(fingerprint(**data))


def _without_aus(class_images: pl.DataFrame) -> pl.DataFrame:
    """Class images in the columns of training samples: nothing was asked of their faces."""
    return class_images.select(
        "sample_id",
        pl.col("picture").alias("content_hash"),
        "caption",
        *(pl.lit(0.0).alias(column) for column in facs.COLUMNS),
        "file",
        "row",
    )


def training_samples(training_set: pl.DataFrame, latents: pl.DataFrame, split: str) -> pl.DataFrame:
    """The samples of one split, sorted by sample id: content_hash, caption, au1 … au26, file, row.

    An AU that the estimator does not support has no label; it is trained as 0: nothing is learnt of it.
    """
    wanted = stage.kept(training_set).filter(split=split)
    wanted = wanted.select("sample_id", "content_hash", "caption", *facs.COLUMNS)
    places = latents.drop_nulls("file").select("sample_id", "file", "row")
    joined = wanted.join(places, on="sample_id", how="inner", validate="1:1").sort("sample_id")
    return joined.select(
        "sample_id", "content_hash", "caption", pl.col(facs.COLUMNS).fill_null(0.0), "file", "row"
    )


def _write_samples(samples: pl.DataFrame, store: Store, path: Path) -> None:
    """The table of samples at `path`, or none where there are none; shards are named relative to its folder.

    Raises CorruptFile for shards that are no longer what they were.
    """
    if samples.is_empty():
        return path.unlink(missing_ok=True)
    files = store.files("latents")
    if lost := files.lost(samples["file"].unique().sort()):
        raise CorruptFile(
            f"latents: {len(lost)} shards are lost or damaged, such as {files.path(lost[0])}; "
            "'fineface run --select latents+' encodes them again"
        )
    places = [os.path.relpath(files.path(name), path.parent) for name in samples["file"]]
    with draft(path) as half:
        samples.with_columns(pl.Series("file", places, dtype=pl.String)).write_parquet(half)


def _job(profile: Profile, settings: Any) -> "TrainingJob":
    """The TrainingJob of one experiment, its folders relative to where it is written."""
    from evaluation import protocol
    from inference.generation import base_content
    from training.job import TrainingJob

    base = profile.base
    return TrainingJob(
        train=settings,
        base=base.model,
        revision=base.revision,
        base_content=base_content(base.model, base.revision),
        dataset=".",
        output="output",
        sample_prompts=protocol.prompts(profile.evaluation.protocol).validation_texts[:2],
    )


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
