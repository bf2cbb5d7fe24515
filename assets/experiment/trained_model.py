"""trained_model: one experiment's trained model, and what it is trained on."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from dagster import AssetCheckKey

import facs
from assets import fitting, gate, stage
from settings.profile import Profile
from store import CorruptFile, Store, file_system
from store.file_system import draft
from store.hashing import fingerprint, hash_frame

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
    return fitting.fit(context, store, job, key, tables, _write_samples)


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
