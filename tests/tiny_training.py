"""A training set of random latents for the tiny base, and jobs on it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import torch
from safetensors.torch import save_file
from tiny_diffusion import WORDS, write_base

from facs import COLUMNS
from inference.generation import base_content
from training.job import TrainingJob

PROJECT = Path(__file__).resolve().parent.parent


def write_dataset(folder: Path, samples: int = 40, shard: int = 16) -> Path:
    """Random moments whose mean carries AU12, in shards of `shard`."""
    generator = torch.Generator().manual_seed(1)
    folder.mkdir(parents=True)
    aus = (torch.rand(samples, 12, generator=generator) * 6 - 1).clamp(0, 5).round()
    moments = torch.randn(samples, 8, 8, 8, generator=generator)
    moments[:, :4] += aus[:, 6, None, None, None] - 2
    moments[:, 4:] = -4
    for start in range(0, samples, shard):
        name = f"shard-{start // shard}.safetensors"
        save_file({"moments": moments[start : start + shard].half()}, folder / name)
    pl.DataFrame(
        {
            "sample_id": [f"folder/{i:03d}.png" for i in range(samples)],
            "caption": [f"a {WORDS[2 + i % 4]}" for i in range(samples)],
            **{column: aus[:, place].tolist() for place, column in enumerate(COLUMNS)},
            "file": [f"shard-{i // shard}.safetensors" for i in range(samples)],
            "row": [i % shard for i in range(samples)],
        }
    ).write_parquet(folder / "samples.parquet")
    return folder


def write_home(folder: Path) -> Path:
    """A base and a dataset, with samples held out, in `folder`, which exists."""
    write_base(folder / "base")
    hold_out(write_dataset(folder / "data"))
    return folder


def hold_out(dataset: Path, samples: int = 10) -> Path:
    """Move the last `samples` of the dataset to held_out.parquet."""
    table = pl.read_parquet(dataset / "samples.parquet")
    table.tail(samples).write_parquet(dataset / "held_out.parquet")
    return dataset


def make_job(base: Path, dataset: Path, output: Path, **settings) -> TrainingJob:
    """A job of fineface; `settings` are of its training or, where it has such a field, of the job."""
    train = {
        "method": "fineface",
        "steps": 6,
        "batch_size": 4,
        "rank": 2,
        "alpha": 2.0,
        "learning_rate": 1e-3,
    }
    train |= {"log_every": 2, "checkpoint_every": 2, "validate_every": 0, "sample_every": 0}
    job = {"device": "cpu", "sample_prompts": ["a man", "a woman"], "base_content": content(base)}
    for name, value in settings.items():
        (job if name in TrainingJob.model_fields else train)[name] = value
    return TrainingJob(base=str(base), dataset=str(dataset), output=str(output), train=train, **job)


def changed(job: TrainingJob, **settings) -> TrainingJob:
    """`job` with other settings, checked anew."""
    said = job.model_dump()
    for name, value in settings.items():
        (said if name in said else said["train"])[name] = value
    return TrainingJob.model_validate(said)


def content(base: Path) -> str:
    """The content of a base that is there, else a hash that fits none."""
    return base_content(base) if Path(base).is_dir() else "0" * 32


def command(job: TrainingJob) -> list[str]:
    """Write the job beside its output folder; the command that trains it."""
    path = Path(f"{job.output}.json")
    job.write(path)
    return [sys.executable, "-m", "training", str(path)]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"} | more


def run(job: TrainingJob, **more: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(job), cwd=PROJECT, env=environment(**more), capture_output=True, text=True)


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]
