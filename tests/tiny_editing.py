"""Pictures with action units for editing methods, and jobs on them."""

import os
import signal
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from evaluation import edit_protocol
from facs import COLUMNS
from training.job import TrainingJob

SIZE = 32


def write_pictures(folder: Path, samples: int = 24, held_out: int = 4) -> Path:
    """Random pictures whose lower half is as bright as AU12 is strong."""
    random = np.random.default_rng(1)
    (folder / "pictures").mkdir(parents=True)
    aus = random.integers(0, 6, (samples, len(COLUMNS))).astype(float)
    for place, row in enumerate(aus):
        pixels = random.integers(0, 60, (SIZE, SIZE, 3))
        pixels[SIZE // 2 :] += int(row[COLUMNS.index("au12")] * 35)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "pictures" / f"{place}.png")
    table = pl.DataFrame(aus, schema=list(COLUMNS)).with_columns(
        sample_id=pl.Series([f"folder/{place}.png" for place in range(samples)]),
        file=pl.Series([f"pictures/{place}.png" for place in range(samples)]),
    )
    table.head(samples - held_out).write_parquet(folder / "samples.parquet")
    table.tail(held_out).write_parquet(folder / "held_out.parquet")
    return folder


def make_job(method: str, dataset: Path, output: Path, **settings) -> TrainingJob:
    """A job of an editing `method`, of nets as small as they can be."""
    train = {"method": method, "size": SIZE, "channels": 4, "batch_size": 4, "generator_every": 2}
    train |= {"steps": 6, "log_every": 1, "checkpoint_every": 2, "validate_every": 3, "sample_every": 0}
    return TrainingJob(train=train | settings, dataset=str(dataset), output=str(output), device="cpu")


def train_until_killed(job: str, steps: int) -> None:
    """Train `job`, as JSON, in this process, and kill it in the middle of its optimisers' step `steps`."""
    import torch

    from training import loop

    torch.set_num_threads(1)
    step, taken = torch.optim.Adam.step, []

    def stop(optimiser, *arguments):
        taken.append(optimiser)
        if len(taken) == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(optimiser, *arguments)

    torch.optim.Adam.step = stop
    loop.train(TrainingJob.model_validate_json(job))


def training_set(pictures: int = 6) -> pl.DataFrame:
    """A training set with so many pictures to test on, one of them dropped, and four to train on; AU6 tells
    them apart, AU9 is not read."""
    rows = [
        {
            "sample_id": f"folder/{place}.png",
            "source": "folder",
            "content_hash": f"{place:032x}",
            "file_kind": "raw_folder",
            "file": f"{place}.png",
            "split": "test" if place < pictures else "train",
            "keep": place != 0,
            **dict.fromkeys(COLUMNS, 0.0),
            "au6": place % 6 + 0.0,
            "au9": None,
        }
        for place in range(pictures + 4)
    ]
    return pl.DataFrame(rows, schema_overrides={"au9": pl.Float64})


def measured_edits(pictures: int, editors: dict[str, tuple[float, float]]) -> list[pl.DataFrame]:
    """edit_scores, edit_fidelity and edit_identity of so many source pictures and of `editors`, each by the
    share of what is asked for that it shows, and by the likeness of its edits to their sources."""
    asked = edit_protocol.build(edit_protocol.sources(training_set(pictures + 1), pictures, 0), (0.5,))
    asked = asked.rename({"file_kind": "source_kind", "file": "source_file", "content_hash": "source_hash"})
    said = {"file_kind": "edited", "model": "net", "fingerprint": "f"}
    asked = asked.with_columns(
        **{name: pl.lit(value) for name, value in said.items()}, kept=pl.lit(None, pl.Float64)
    )
    scores, beside, faces = [], [], []
    for name, (share, likeness) in editors.items():
        file = pl.concat_str(
            pl.lit(f"{name}-"), pl.col("sample_id").str.replace_all("/", "-"), pl.lit(".png")
        )
        one = asked.with_columns(editor=pl.lit(name), file=file)
        hits = [(pl.col(c) * share * pl.col("strength")).alias(f"measured_{c}") for c in COLUMNS]
        scores.append(one.with_columns(*hits, judge=pl.lit("labeller"), faces=pl.lit(1)))
        told = {"clip_i": likeness, "l1": 0.2, "outside_l1": 0.1, "outside_psnr": 20.0}
        beside.append(one.with_columns(**{metric: pl.lit(value) for metric, value in told.items()}))
        faces.append(one.with_columns(identity_distance=1 - pl.lit(likeness), same_person=pl.lit(1.0)))
    return [pl.concat(part) for part in (scores, beside, faces)]
