"""A dry run of the training at the size of SD 2.1, with random weights and synthetic latents: seconds a step,
peak memory, losses, and a kill in mid-training that a second start goes on from.

    python benchmarks/dry_run.py                                   # a GPU: the paper's batch and latents
    python benchmarks/dry_run.py --batch 1 --side 16 --steps 4     # a CPU: minutes, 8 GB of memory
    python benchmarks/dry_run.py --size tiny --batch 2 --side 8    # does this program work?
"""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks import random_base  # noqa: E402
from facs import COLUMNS  # noqa: E402
from inference.generation import base_content  # noqa: E402
from training import progress  # noqa: E402
from training.job import HELD_OUT_FILE, SAMPLES_FILE, TrainingJob  # noqa: E402

MEMORY_EVERY = 0.05


def main(
    size: Annotated[str, typer.Option(help=f"Of the UNet: {', '.join(random_base.SIZES)}.")] = "sd21",
    side: Annotated[int, typer.Option(help="Side of the latents; 64 is 512 px.")] = 64,
    batch: Annotated[int, typer.Option(help="Samples a step.")] = 16,
    steps: Annotated[int, typer.Option(help="Steps; killed in the middle, then gone on.")] = 20,
    precision: Annotated[str, typer.Option(help="bfloat16 or float32.")] = "bfloat16",
    checkpointing: Annotated[bool, typer.Option(help="Gradient checkpointing.")] = False,
    processes: Annotated[int, typer.Option(help="Processes; 0: one a GPU.")] = 1,
    folder: Annotated[Path | None, typer.Option(help="Where base and data lie. Default: temporary.")] = None,
    json_to: Annotated[Path | None, typer.Option("--json", help="Write the figures there too.")] = None,
) -> None:
    """Measure, print and write the figures."""
    made = None if folder else tempfile.mkdtemp(prefix="fineface-dry-run-")
    place = (folder or Path(str(made))).absolute()
    try:
        base = place / f"base-{size}"
        if not base.exists():
            random_base.write_apart(size, base)
        _write_data(place, side, samples=4 * batch)
        train = {
            "method": "fineface",
            **{"steps": steps, "batch_size": batch, "precision": precision, "processes": processes},
            **{
                "log_every": 1,
                "checkpoint_every": 1,
                "validate_every": max(1, steps // 2),
                "sample_every": 0,
            },
        }
        job = TrainingJob(
            train={**train, "gradient_checkpointing": checkpointing},
            base=str(base),
            base_content=base_content(base),
            dataset=str(place),
            output=str(place / "output"),
        )
        shutil.rmtree(job.output, ignore_errors=True)
        job.write(place / "job.json")
        first = _run(place, kill_after=max(1, steps // 2))
        second = _run(place)
        _report(job, first, second, json_to)
    finally:
        if made:
            shutil.rmtree(made)


def _run(place: Path, kill_after: int | None = None) -> dict[str, Any]:
    """Run the training, killed after `kill_after` steps: its lines, seconds to the first, peak memory."""
    command = [sys.executable, "-m", "training", str(place / "job.json")]
    began, lines, first = time.monotonic(), [], None
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        peak, done = [0], threading.Event()
        watch = threading.Thread(target=_watch, args=(process.pid, peak, done))
        watch.start()
        assert process.stdout is not None
        for line in process.stdout:
            first = first or time.monotonic() - began
            lines.append(json.loads(line))
            print(line, end="", flush=True)
            if kill_after is not None and len(lines) > kill_after:
                os.kill(process.pid, signal.SIGKILL)
                break
        code = process.wait()
        done.set()
        watch.join()
    if code != (0 if kill_after is None else -signal.SIGKILL):
        raise SystemExit(f"the training ended with code {code}")
    return {"lines": lines, "start_seconds": first, "peak_bytes": peak[0]}


def _watch(pid: int, peak: list[int], done: threading.Event) -> None:
    """The largest resident size of the process and its children together, until `done`."""
    while not done.wait(MEMORY_EVERY):
        try:
            parent = psutil.Process(pid)
            found = [parent, *parent.children(recursive=True)]
            peak[0] = max(peak[0], sum(one.memory_info().rss for one in found))
        except psutil.NoSuchProcess:
            return


def _report(job: TrainingJob, first: dict, second: dict, json_to: Path | None) -> None:
    lines = progress.read(job.output)
    paces = [b["seconds"] - a["seconds"] for a, b in itertools.pairwise(lines)]
    figures = {
        "mixed_precision": job.loop.mixed_precision,
        "batch_size": job.loop.batch_size,
        "killed_after_step": first["lines"][-1]["step"],
        "went_on_with_step": second["lines"][0]["step"],
        "seconds_a_step": sorted(paces)[len(paces) // 2],
        "start_seconds": round(second["start_seconds"], 1),
        "peak_gb": round(max(first["peak_bytes"], second["peak_bytes"]) / 1e9, 2),
        "losses": [line["loss"] for line in lines],
        "held_out_losses": {n["step"]: n["held_out_loss"] for n in lines if "held_out_loss" in n},
        **json.loads((Path(job.output) / "result.json").read_text()),
    }
    print(json.dumps(figures, indent=2))
    if json_to is not None:
        json_to.write_text(json.dumps(figures, indent=2) + "\n")


def _write_data(place: Path, side: int, samples: int) -> None:
    """Random moments and labels: a table to train on, and one held out."""
    import polars as pl
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    moments = torch.randn(samples, 8, side, side, generator=generator)
    save_file({"moments": moments.half()}, place / "shard.safetensors")
    aus = (torch.rand(samples, 12, generator=generator) * 6 - 1).clamp(0, 5)
    table = pl.DataFrame(
        {
            "sample_id": [f"made/{row:04d}" for row in range(samples)],
            "caption": [f"a man {row % 7}" for row in range(samples)],
            **{column: aus[:, index].tolist() for index, column in enumerate(COLUMNS)},
            "file": "shard.safetensors",
            "row": range(samples),
        }
    )
    held_out = max(1, samples // 4)
    table.head(samples - held_out).write_parquet(place / SAMPLES_FILE)
    table.tail(held_out).write_parquet(place / HELD_OUT_FILE)


if __name__ == "__main__":
    typer.run(main)
