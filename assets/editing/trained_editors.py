"""trained_editors: every editor of the profile, trained on the training set's pictures by the process that
trains every method, and kept under all that decides it.
"""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

import facs
import picture_files
from assets import gate, stage
from assets.fitting import fit
from settings.profile import Profile
from store import Store, file_system
from store.file_system import draft
from store.hashing import hash_frame

SCHEMA = {
    "editor": pl.String,
    "method": pl.String,
    "folder": pl.String,
    "model_hash": pl.String,
    "steps": pl.Int64,
    "final_loss": pl.Float64,
    "key": pl.String,
    "samples": pl.Int64,
}


def build(gates: list[dg.AssetCheckKey]) -> list[dg.AssetsDefinition]:
    """The asset; it refuses to train while one of `gates` is failed."""

    @stage.asset(code_version="1", kinds={"torch"}, pool="gpu")
    def trained_editors(
        context: dg.AssetExecutionContext,
        training_set: pl.DataFrame,
        store: dg.ResourceParam[Store],
        profile: dg.ResourceParam[Profile],
    ) -> dg.MaterializeResult:
        """Each editor's folder in the home and the hash of its content; none where the method trains nothing.
        They are trained one after another; one that was trained before is found.
        """
        import methods.registry
        from training.job import HELD_OUT_FILE, SAMPLES_FILE, TrainingJob

        gate.refuse_on_failed(context, gates)
        samples, held_out = (picture_samples(training_set, split) for split in ("train", "validation"))
        tables = {SAMPLES_FILE: samples, HELD_OUT_FILE: held_out}
        rows: list[dict[str, Any]] = []
        told: dict[str, Any] = {}
        for name, settings in profile.editing.editors.items():
            row: dict[str, Any] = {"steps": 0}
            if settings.adapter is not None:
                row = of_experiment(store, name, settings.adapter)
            if methods.registry.get(settings.method).model is not None:
                context.log.info(f"editor {name}: {settings.method}")
                job = TrainingJob(train=settings, dataset=".", output="output")
                key = job.key(hash_frame(samples.drop("file_kind", "file")))
                row, metadata = fit(context, store, job, key, tables, _write)
                told |= {f"{name}_{what}": value for what, value in metadata.items()}
            rows.append(row | {"editor": name, "method": settings.method})
        return stage.result(pl.DataFrame(rows, schema=SCHEMA), **told)

    return [trained_editors]


def of_experiment(store: Store, editor: str, experiment: str) -> dict[str, Any]:
    """The trained model of `experiment`, with which `editor` edits: its row, by the columns of SCHEMA. Raises
    dg.Failure where there is none."""
    table = f"trained_model/{experiment}"
    found = store.read(table).row(0, named=True) if store.version(table) is not None else {}
    if found.get("folder") is None:
        raise dg.Failure(
            f"editor {editor} edits by the trained model of the experiment {experiment}, and there is none: "
            f"`fineface run --select +trained_model --experiment {experiment}` trains it",
            allow_retries=False,
        )
    return {name: found[name] for name in SCHEMA if name in found}


def picture_samples(training_set: pl.DataFrame, split: str) -> pl.DataFrame:
    """The pictures of one split, by sample id: content_hash, au1 … au26, file_kind, file. An AU that the
    estimator does not support is 0."""
    wanted = stage.kept(training_set).filter(split=split).sort("sample_id")
    labels = pl.col(facs.COLUMNS).fill_null(0.0)
    return wanted.select("sample_id", "content_hash", labels, "file_kind", "file")


def _write(samples: pl.DataFrame, store: Store, path: Path) -> None:
    """The table of samples at `path` with the place of each picture on this machine; none without any."""
    if samples.is_empty():
        return path.unlink(missing_ok=True)
    placed = store.located(samples)
    file_system.fetch(picture_files.parted(one)[0] for one in placed["path"])
    with draft(path) as half:
        placed.drop("file_kind", "file").rename({"path": "file"}).write_parquet(half)
