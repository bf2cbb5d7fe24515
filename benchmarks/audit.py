"""How long questions about one sample take in a home of many: made-up tables of the real columns, no model.

python benchmarks/audit.py --rows 180000 --home /tmp/audit
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import dataframely as dy
import numpy as np
import polars as pl
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import stages
from curation import corrections, frames, overrides, photorealism, recipes, training_set
from facs import COLUMNS
from reasons import Reason
from store import Store, hash_bytes

SUBJECTS, EXPERIMENTS = 27, ("fineface", "fineface_12", "sd")
SETTINGS = {
    "resolution": {"resolution": {"min_side": 512, "inclusive": True}},
    "photorealism": {
        "photorealism": {
            "provider": "blip2",
            "model": "Salesforce/blip2-opt-2.7b",
            "questions": {"cartoon": "Is this a cartoon?", "real": "Is this photo real?"},
            "thresholds": {"cartoon": 0.5, "real": 0.5},
        }
    },
    "au_annotation": {"au_estimator": {"provider": "libreface", "model": None, "rival": None}},
    "au_statistics": {"split": {"validation": 0.05, "test": 0.05, "seed": 0, "looks_within": None}},
    "training_set": {"split": {"validation": 0.05, "test": 0.05, "seed": 0, "looks_within": None}},
}
"""What the commits of some tables say of the profile."""
RECIPE = {"corrections.recipe": asdict(recipes.PAPER)}


def build(home: Path, rows: int = 180_000, versions: int = 1, seed: int = 0) -> Store:
    """A home whose training set has about `rows` samples, every data-set table in `versions` versions, with
    experiments that were trained on it. The pictures that its tables name are not there."""
    store, rng = Store(home), np.random.default_rng(seed)
    disfa = rows // 20
    for version in range(versions):
        tables = _tables(rng, rows - disfa + version, disfa)
        upstream: dict[str, int] = {}
        for stage, table in tables.items():
            settings = SETTINGS.get(stage, {})
            if "corrections.recipe" in stages.named(stage).reads:
                settings = settings | RECIPE
            made = {
                "run_id": f"{version:08d}-0000-4000-8000-000000000000",
                "code_version": "1",
                "profile": "paper",
                "settings": settings,
                "upstream": dict(upstream),
            }
            upstream[stage] = store.write(stage, _declared(stage, table), made)
    _experiments(store, tables["training_set"], upstream)
    last = tables["photorealism"].filter(~pl.col("keep"))["sample_id"][0]
    row = overrides.override(last, "photorealism", "keep", "Ada", "a painting of nobody", _now())
    store.append("overrides", row)
    return store


def _now():
    from datetime import UTC, datetime

    return datetime.now(UTC)


def _tables(rng: np.random.Generator, web: int, disfa: int) -> dict[str, pl.DataFrame]:
    """The tables of the data set, in order; of photographs there are more at first: some are dropped."""
    listed = int(web * 1.6)
    names = [f"{number % 900}/{hash_bytes(str(number).encode())}{'a' * 24}.jpg" for number in range(listed)]
    ids = pl.Series("sample_id", names).sort()
    raw = pl.DataFrame({"sample_id": "affectnet/" + ids, "file": "Manually_Annotated_Images/" + ids})
    sides = rng.integers(300, 900, listed)
    raw = raw.with_columns(
        pl.lit("affectnet").alias("source"),
        pl.lit("raw_affectnet").alias("file_kind"),
        pl.Series("content_hash", [hash_bytes(name.encode()) for name in ids]),
        pl.format("training.csv:{}", pl.int_range(pl.len()) + 2).alias("origin"),
        pl.Series("width", sides),
        pl.Series("height", sides),
        pl.Series("expression", rng.integers(0, 11, listed)),
        pl.Series("landmarks", [";".join(f"{x:.2f}" for x in rng.random(8) * 500) * 8] * listed),
        *(pl.Series(name, rng.random(listed) * 300) for name in ("face_x", "face_y")),
        *(pl.lit(200.0).alias(name) for name in ("face_width", "face_height")),
        *frames.KEPT,
    )
    subject, number = np.divmod(np.arange(disfa), -(-disfa // SUBJECTS))
    manual = pl.DataFrame(
        {
            "sample_id": [f"disfa/SN{s + 1:03}/{n + 1:05}" for s, n in zip(subject, number, strict=True)],
            "subject": [f"SN{s + 1:03}" for s in subject],
            "frame": number + 1,
            "file": [f"{hash_bytes(f'{s} {n}'.encode())}.png" for s, n in zip(subject, number, strict=True)],
        }
    ).with_columns(
        pl.lit("disfa").alias("source"),
        pl.lit("frames").alias("file_kind"),
        pl.col("file").str.head(32).alias("content_hash"),
        pl.format("LeftVideo{}_comp.avi#{}", "subject", "frame").alias("origin"),
        *(pl.lit(side).alias(name) for name, side in (("width", 1024), ("height", 768))),
        *(
            pl.Series(name, rng.integers(0, 6, disfa) * (rng.random(disfa) < 0.1), dtype=pl.Float64)
            for name in frames.LABELS
        ),
        *frames.KEPT,
    )
    picture = ["sample_id", "source", "file_kind", "file", "content_hash"]
    judged = ["keep", "reason_code", "reason_detail"]
    both = pl.concat([raw, manual], how="diagonal_relaxed")
    face_crop = both.select(*picture, "width", "height", *judged).with_columns(
        pl.col("file").alias("original_file"),
        pl.col("content_hash").alias("original_hash"),
        pl.lit("squash").alias("framing"),
    )
    small = pl.col("width") < 512
    resolution = frames.quarantine(
        face_crop.filter(source="affectnet").select(*picture, "width", "height", *judged),
        small,
        Reason.TOO_SMALL,
        pl.format("width {} < 512, height {} < 512", "width", "height"),
    )
    looked = resolution.filter("keep").select(*picture, *judged)
    cartoon = rng.random(looked.height) ** 12
    asked = looked.with_columns(
        pl.Series("cartoon_score", cartoon),
        pl.Series("real_score", 1 - cartoon),
        *(pl.lit("no").alias(name) for name in ("cartoon_answer", "real_answer")),
        pl.lit("Salesforce/blip2-opt-2.7b@59a1ef6c1e5b").alias("model"),
        pl.lit("0" * 32).alias("fingerprint"),
    )
    nobody = pl.DataFrame(schema=overrides.SCHEMA)
    photographs = overrides.apply(photorealism.judge(asked), nobody, "photorealism")
    read = photographs.filter("keep").select(*picture, *judged)
    au_annotation = read.with_columns(
        *(
            pl.Series(name, np.clip(rng.exponential(0.8, read.height), 0, 4.9))
            .cast(pl.Float32)
            .cast(pl.Float64)
            for name in COLUMNS
        ),
        pl.lit(1, dtype=pl.Int64).alias("faces"),
        pl.lit("libreface 0.1.1").alias("model"),
        pl.lit("1" * 32).alias("fingerprint"),
    )
    captions = pl.concat([read, manual.select(*picture, *judged)], how="vertical_relaxed").with_columns(
        pl.format("a person with a face like number {}", pl.int_range(pl.len()) % 5000).alias("caption"),
        pl.lit("Salesforce/blip2-opt-2.7b@59a1ef6c1e5b").alias("model"),
        pl.lit("2" * 32).alias("fingerprint"),
    )
    strong = corrections.judged(au_annotation, "paper")
    members = training_set.assemble(strong, manual, captions).filter("keep")
    setters = au_annotation.join(members, on="sample_id", how="semi", maintain_order="left")
    fitted = corrections.fit(setters, "paper")
    corrected = fitted.apply(au_annotation)
    assembled = training_set.assemble(corrected, manual, captions)
    assembled = overrides.apply_intensities(assembled, nobody)
    kept = assembled.filter("keep")
    latents = kept.select("sample_id", "source", "content_hash", *judged).with_columns(
        pl.lit("latents").alias("file_kind"),
        pl.lit("3" * 32 + ".safetensors").alias("file"),
        pl.int_range(pl.len()).alias("row"),
        pl.lit(512, dtype=pl.Int64).alias("size"),
        pl.lit("stable-diffusion-2-1").alias("model"),
        pl.lit("4" * 32).alias("fingerprint"),
    )
    return {
        "raw_affectnet": raw,
        "raw_disfa": manual,
        "raw_folder": raw.clear(),
        "raw_rendered": manual.clear(),
        "face_crop": face_crop,
        "resolution": resolution,
        "photorealism": photographs,
        "au_annotation": au_annotation,
        "disfa_readings": manual.with_columns(pl.Series(name, rng.random(disfa)) for name in COLUMNS),
        "captions": captions,
        "au_statistics": fitted.statistics,
        "au_corrections": corrected,
        "training_set": assembled,
        "latents": latents,
    }


def _declared(stage: str, table: pl.DataFrame) -> pl.DataFrame:
    """`table` with the columns of its stage, in their order and types; those it lacks are null."""
    declared = stages.named(stage)
    optional = {name: column for name, column in declared.optional.items() if name in table.columns}
    columns: dict[str, dy.Column] = {**declared.columns, **optional}
    return table.select(
        (pl.col(name) if name in table.columns else pl.lit(None)).cast(column.dtype).alias(name)
        for name, column in columns.items()
    )


def _experiments(store: Store, training: pl.DataFrame, upstream: dict[str, int]) -> None:
    """Trained models with the samples that they were trained on, and the scores that followed."""
    trained = training.filter(pl.col("keep"), split="train").sort("sample_id")
    samples = trained.select("sample_id", "content_hash", "caption", *COLUMNS).with_columns(
        pl.lit("shard").alias("file"), pl.int_range(pl.len()).alias("row")
    )
    made: dict[str, Any] = {
        "run_id": "f" * 8,
        "upstream": {name: upstream[name] for name in ("training_set", "latents")},
    }
    for experiment in EXPERIMENTS:
        row: dict[str, Any] = {"experiment": experiment, "method": experiment, "steps": 0}
        if experiment != "sd":
            key = hash_bytes(experiment.encode())
            folder = store.home / "files" / "adapters" / key
            (folder / "output").mkdir(parents=True, exist_ok=True)
            samples.write_parquet(folder / "samples.parquet")
            (folder / "job.json").write_text(json.dumps({"train": {"steps": 20_000, "batch_size": 16}}))
            place = f"files/adapters/{key}/output/model"
            row |= {
                "folder": place,
                "model_hash": key,
                "steps": 20_000,
                "key": key,
                "samples": samples.height,
            }
        version = store.write(
            f"trained_model/{experiment}", _declared("trained_model", pl.DataFrame([row])), made
        )
        scores = pl.DataFrame({"sample_id": [f"individual/{i}" for i in range(1650)]}).with_columns(
            pl.lit(experiment).alias("experiment"), pl.lit("individual").alias("kind")
        )
        store.write(
            f"au_scores/{experiment}",
            _declared("au_scores", scores),
            made | {"upstream": {f"trained_model/{experiment}": version}},
        )
    results = pl.DataFrame(
        [
            {
                "experiment": name,
                "kind": "individual",
                "metric": metric,
                "value": 1.0,
                "low": 0.9,
                "high": 1.1,
                "n": 1500,
            }
            for name in EXPERIMENTS
            for metric in ("au_mse_prompted", "au_mse_all", "clip_i")
        ]
    )
    store.write(
        "results",
        _declared("results", results),
        {"run_id": "f" * 8, "upstream": {f"trained_model/{name}": 0 for name in EXPERIMENTS}},
    )


def main(
    rows: Annotated[int, typer.Option(help="Samples of the training set.")] = 180_000,
    home: Annotated[Path | None, typer.Option(help="Where; an existing one is used as it is.")] = None,
    repeats: Annotated[int, typer.Option(help="Samples that are asked about.")] = 20,
    path: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Print wall and CPU milliseconds of each question: the median, and the slowest."""
    from provenance.counterfactual import counterfactual
    from provenance.diff import diff
    from provenance.impact import impact
    from provenance.moments import Moment
    from provenance.why import why

    place = home or Path(tempfile.mkdtemp()) / "home"
    store = Store(place) if place.exists() else build(place, rows, versions=2)
    ids = store.read("training_set", columns=["sample_id"])["sample_id"].sample(repeats, seed=1).to_list()
    questions: dict[str, tuple[int, Callable[[str], Any]]] = {
        "why": (repeats, lambda sample: why(store, sample)),
        "why by file name": (repeats, lambda sample: why(store, sample.rpartition("/")[2])),
        "why at a version": (repeats, lambda sample: why(store, sample, 0)),
        "impact": (3, lambda sample: impact(store, sample)),
        "diff": (1, lambda _: diff(store, "0", "1")),
        "counterfactual": (1, lambda one: counterfactual(Moment(store), one, "corrections.gamma.AU4=1")),
    }
    figures = {}
    for name, (times, ask) in questions.items():
        wall, cpu = [], []
        for sample in ids[:times]:
            began = time.perf_counter(), time.process_time()
            try:
                ask(sample)
            except LookupError as error:  # several frames have one name
                print(f"{name}: {error}"[:100])
                continue
            wall.append((time.perf_counter() - began[0]) * 1e3)
            cpu.append((time.process_time() - began[1]) * 1e3)
        if wall:
            found = {"wall_ms": statistics.median(wall), "slowest_ms": max(wall)}
            figures[name] = found | {"cpu_ms": statistics.median(cpu)}
            told = (f"{key} {value:.0f}" for key, value in figures[name].items())
            print(f"{name}: {', '.join(told)}", flush=True)
    if path is not None:
        path.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    typer.run(main)
