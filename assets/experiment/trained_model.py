"""trained_model: one experiment's trained model, made by a subprocess and kept under all that decides it."""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from dagster import AssetCheckKey

import facs
from assets import child, gate, retries, stage
from assets.calls import LOG_SHARE
from store import Store
from store.hashing import fingerprint, hash_folder, hash_frame

SCHEMA = {
    "experiment": pl.String,
    "method": pl.String,
    "folder": pl.String,
    "model_hash": pl.String,
    "steps": pl.Int64,
    "final_loss": pl.Float64,
    "key": pl.String,
    "samples": pl.Int64,
    "training_set_version": pl.Int64,
    "latents_version": pl.Int64,
}
DECISIVE = (
    "encoder",
    "rank",
    "alpha",
    "steps",
    "batch_size",
    "learning_rate",
    "warmup_steps",
    "schedule",
    "seed",
    "timestep_exponent",
    "text_dropout",
    "smoothing_variance",
    "round_probability",
    "gradient_clip",
    "precision",
)
"""The settings of a job that decide the adapter; the others say where and how visibly it is trained."""

ADAPTERS = Path("files") / "adapters"
PROJECT = Path(__file__).resolve().parents[2]
JOB, SAMPLES = "job.json", "samples.parquet"


def build(
    experiments: dg.StaticPartitionsDefinition, gates: list[AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """The asset, with one partition an experiment; it refuses to train while one of `gates` is failed."""

    @stage.asset(
        code_version="1",
        partitions_def=experiments,
        kinds={"torch"},
        pool="gpu",
    )
    def trained_model(
        context: dg.AssetExecutionContext,
        training_set: pl.DataFrame,
        latents: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Any],
    ) -> dg.MaterializeResult:
        """The adapter's folder in the home and the hash of its content; no folder for the untouched base."""
        gate.refuse_on_failed(context, gates)
        settings = profile.experiments[context.partition_key]
        row, metadata = METHODS[settings.method](context, store, profile, settings, training_set, latents)
        row |= {
            "experiment": context.partition_key,
            "method": settings.method,
            "training_set_version": store.version("training_set"),
            "latents_version": store.version("latents"),
        }
        return stage.result(pl.DataFrame([row], schema=SCHEMA), **metadata)

    return [trained_model]


def _train(
    context: dg.AssetExecutionContext,
    store: Store,
    profile: Any,
    settings: Any,
    training_set: pl.DataFrame,
    latents: pl.DataFrame,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train the adapter, or find it trained: the row of the table, and metadata."""
    from training.job import CODE_VERSION, RESULT_FILE

    samples = training_samples(training_set, latents)
    job = _job(profile, settings)
    key = fingerprint(
        samples=hash_frame(samples.drop("file", "row")),
        latents=latents["fingerprint"].unique().sort().to_list(),
        base=job.base_fingerprint,
        code=CODE_VERSION,
        **{name: getattr(job, name) for name in DECISIVE},
    )
    folder = store.home / ADAPTERS / key
    with _sole(folder):
        known = (folder / "output" / RESULT_FILE).exists()
        if not known:
            _write_samples(samples, store, folder)
            job.write(folder / JOB)
            _run(context, folder, job.steps)
    result = json.loads((folder / "output" / RESULT_FILE).read_text())
    trained = folder / "output" / "adapter"
    weights = hash_folder(trained, ["**/*.safetensors"])
    row = {
        "folder": trained.relative_to(store.home).as_posix(),
        "model_hash": fingerprint(weights=weights, encoder=job.encoder, rank=job.rank, alpha=job.alpha),
        "steps": job.steps,
        "final_loss": result.get("final_loss"),
        "key": key,
        "samples": samples.height,
    }
    return row, {
        "steps_trained": 0 if known else job.steps,
        "steps_reused": job.steps if known else 0,
        "training_seconds": result.get("seconds"),
        "job": dg.MetadataValue.path(folder / JOB),
        **_pictures(folder),
    }


def _text(*_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The untouched base: nothing is trained."""
    return {"folder": None, "model_hash": None, "steps": 0}, {}


METHODS = {"adapter": _train, "text": _text}


def training_samples(training_set: pl.DataFrame, latents: pl.DataFrame) -> pl.DataFrame:
    """What is trained on, sorted by sample id: content_hash, caption, au1 … au26, file, row.

    An AU that the estimator does not support has no label; it is trained as 0: the adapter learns nothing.
    """
    train = stage.kept(training_set).filter(split="train")
    places = latents.drop_nulls("file").select("sample_id", "file", "row")
    joined = train.join(places, on="sample_id", how="inner", validate="1:1").sort("sample_id")
    return joined.select(
        "sample_id", "content_hash", "caption", pl.col(facs.COLUMNS).fill_null(0.0), "file", "row"
    )


@contextmanager
def _sole(folder: Path) -> Iterator[None]:
    """One process at a time in `folder`, which is made; a second waits. A dead one holds nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_samples(samples: pl.DataFrame, store: Store, folder: Path) -> None:
    """samples.parquet, unless a run that was killed left it; shards are named relative to `folder`."""
    path, files = folder / SAMPLES, store.files("latents")
    if path.exists():
        return
    places = [os.path.relpath(files.path(name), folder) for name in samples["file"]]
    samples.with_columns(pl.Series("file", places, dtype=pl.String)).write_parquet(
        draft := path.with_suffix(".part")
    )
    draft.replace(path)


def _job(profile: Any, settings: Any):
    """The TrainingJob of one experiment, its folders relative to where it is written."""
    from evaluation import protocol
    from inference.generation import base_content
    from training.job import TrainingJob

    base, smoothing = profile.base, settings.smoothing
    return TrainingJob(
        base=base.model,
        revision=base.revision,
        base_fingerprint=base_content(base.model, base.revision),
        dataset=".",
        output="output",
        smoothing_variance=smoothing.variance,
        round_probability=smoothing.round_probability,
        validation_prompts=protocol.prompts(profile.evaluation.protocol).validation_texts[:2],
        **settings.model_dump(exclude={"method", "smoothing"}),
    )


def _run(context: dg.AssetExecutionContext, folder: Path, steps: int) -> None:
    """Run the training, logging its progress every few percent, with loss curve and samples as it goes."""
    command = [sys.executable, "-m", "training", str(folder / JOB)]
    paths = filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    logged, sheets = 0, _sheets(folder)
    try:
        for line in child.lines(command, folder / "log.txt", environment):
            event = _event(line)
            step = event.get("step", 0)
            if step - logged >= LOG_SHARE * steps or step == steps:
                logged = step
                context.log.info(
                    f"training: step {step:,} of {steps:,}, loss {event['loss']:.4f}, "
                    f"{event['samples_per_second']:.3g} samples a second, {event['eta']:.0f} s left"
                )
            if (drawn := _sheets(folder)) != sheets:
                sheets = drawn
                context.log_event(
                    dg.AssetObservation(
                        context.asset_key, partition=context.partition_key, metadata=_pictures(folder)
                    )
                )
    except child.ChildFailed as error:
        raise retries.after(error, "the training", context.log) from error


def _event(line: str) -> dict[str, Any]:
    """A progress line of the training; empty for any other line."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _pictures(folder: Path) -> dict[str, Any]:
    """The loss curve so far and the latest sample pictures, as metadata."""
    from evaluation import figures

    found = {}
    table = losses(folder)
    if table.height:
        curve = figures.training_curves({"loss": table})
        found["loss_curve"] = stage.picture(curve, "training loss")
    pictures = _sheets(folder)
    if pictures:
        found["samples"] = stage.picture(pictures[-1].read_bytes(), pictures[-1].stem)
    return found


def _sheets(folder: Path) -> list[Path]:
    return sorted((folder / "output" / "samples").glob("*.png"))


def losses(folder: Path) -> pl.DataFrame:
    """step and loss of the training in the job folder `folder`, as far as it came."""
    path = folder / "output" / "progress.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    points = [(event["step"], event["loss"]) for event in map(_event, lines) if event.get("loss") is not None]
    table = pl.DataFrame(points, schema={"step": pl.Int64, "loss": pl.Float64}, orient="row")
    return table.unique("step", keep="last").sort("step")
