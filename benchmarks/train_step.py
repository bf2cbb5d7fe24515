"""A step of the training beside a plain implementation of the paper's step (`benchmarks.plain_training`):
images a second of both in one run, and the share of what the machine's matrix products give that it reaches.

    python benchmarks/train_step.py                                     # the miniature's base and pictures
    python benchmarks/train_step.py --size sd21 --batch 16 --rank 32 --precision bfloat16       # a GPU
    python benchmarks/train_step.py --size tiny --side 128 --batch 4 --turns 1 --steps 1    # does it work?

Each side is a program of its own, started as users start it; both take turns of a few steps, so that whoever
else uses the machine slows both. The project's side is `training.loop` itself, from latents on disk.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import psutil
import torch
import typer

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks import random_base  # noqa: E402
from evaluation import protocol  # noqa: E402
from facs import COLUMNS  # noqa: E402
from inference import devices  # noqa: E402
from inference.autoencoder import Autoencoder  # noqa: E402
from inference.generation import base_content  # noqa: E402
from training.__main__ import environments, usual_processes  # noqa: E402
from training.job import SAMPLES_FILE, TrainingJob  # noqa: E402

MINIATURE = PROJECT / "miniature" / "models" / "base"
EPOCH = 8
"""Steps that the pictures last for."""
STEPS = 10**9
"""Of the training that is measured: it is ended from outside."""
PROBE = 1024, 8192
"""Side of the matrices whose product shows what the machine gives: on a CPU, on an accelerator."""
PROBE_SECONDS = 0.5


def main(
    base: Annotated[str, typer.Option(help="A folder or hub id.")] = str(MINIATURE),
    size: Annotated[str, typer.Option(help=f"Instead, a random base: {', '.join(random_base.SIZES)}.")] = "",
    side: Annotated[int, typer.Option(help="Pixels; 0: the base's own.")] = 0,
    batch: Annotated[int, typer.Option(help="Samples a step.")] = 32,
    rank: Annotated[int, typer.Option(help="Of the LoRA; the paper's is 32, the miniature's 16.")] = 16,
    precision: Annotated[str, typer.Option(help="Of the project's side: float32 or bfloat16.")] = "float32",
    processes: Annotated[int, typer.Option(help="Of the project's side; 0: as many as fit.")] = 0,
    checkpointing: Annotated[
        bool, typer.Option(help="Gradient checkpointing of the project's side.")
    ] = False,
    plain_fused: Annotated[bool, typer.Option(help="The plain side's attention is fused.")] = False,
    plain_checkpointing: Annotated[
        bool, typer.Option(help="The plain side's gradient checkpointing.")
    ] = True,
    plain_workers: Annotated[int, typer.Option(help="Processes that read the plain side's pictures.")] = 0,
    turns: Annotated[int, typer.Option(help="Turns that each side takes.")] = 7,
    steps: Annotated[int, typer.Option(help="Steps a turn.")] = 10,
    device: Annotated[str, typer.Option(help="auto or cpu.")] = "auto",
    json_to: Annotated[Path | None, typer.Option("--json", help="Write the figures there too.")] = None,
) -> None:
    """Measure, print and write the figures."""
    with tempfile.TemporaryDirectory(prefix="fineface-train-step-") as made:
        place = Path(made)
        if size:
            random_base.write_apart(size, Path(base := str(place / "base")))
        train = {"method": "fineface", "rank": rank, "batch_size": batch, "steps": STEPS}
        train |= {"precision": precision, "processes": processes, "gradient_checkpointing": checkpointing}
        job = TrainingJob.model_validate(
            {
                "train": train | {"checkpoint_every": STEPS, "validate_every": 0, "sample_every": 0},
                **{"base": base, "base_content": base_content(base), "device": device},
                **{"dataset": str(place), "output": str(place / "output")},
            }
        )
        job.write(place / "job.json")
        write_samples(place, Path(base), side or _side(Path(base)), EPOCH * batch, precision, device)
        plain = {"fused": plain_fused, "checkpointing": plain_checkpointing, "workers": plain_workers}
        figures = measure(place / "job.json", plain, turns, steps)
    text = json.dumps(figures, indent=2)
    print(text)
    if json_to is not None:
        json_to.write_text(text + "\n")


def measure(path: Path, plain: Mapping[str, Any], turns: int, steps: int) -> dict[str, Any]:
    """Images a second of both sides, their ratio, and what the project's side reaches of the peak."""
    job = TrainingJob.read(path)
    chosen, batch = devices.pick(job.device), job.loop.batch_size
    processes = job.loop.processes or usual_processes(job)
    Path(job.output).mkdir(exist_ok=True)
    ours, theirs = (
        Side(["ours", str(path)], environments(Path(job.output), processes)),
        Side(["plain", str(path), json.dumps(plain)], [None]),
    )
    try:
        for each in (ours, theirs):
            each.turn(steps)  # what is loaded, compiled and chosen at first use
        counted = {"ours": processes * ours.operations(), "plain": theirs.operations()}
        paces: dict[str, list[float]] = {"ours": [], "plain": []}
        costs: dict[str, list[float]] = {"ours": [], "plain": []}
        peaks = []
        for _ in range(turns):
            peaks.append(_matrix_product(chosen, job.loop.mixed_precision))
            for name, each in (("ours", ours), ("plain", theirs)):
                seconds, used = each.turn(steps)
                paces[name].append(steps * batch / seconds)
                costs[name].append(used / steps / batch)
    finally:
        for each in (ours, theirs):
            each.end()
    middle = {name: statistics.median(found) for name, found in paces.items()}
    ratios = sorted(a / b for a, b in zip(paces["ours"], paces["plain"], strict=True))
    reached = middle["ours"] / batch * counted["ours"]
    return {
        "base": job.base,
        "device": torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else str(chosen),
        "batch": batch,
        "processes": processes,
        "mixed_precision": job.loop.mixed_precision,
        "plain": plain,
        "images_a_second": {name: round(pace, 2) for name, pace in middle.items()},
        "times_as_fast": round(statistics.median(ratios), 2),
        "processor_milliseconds_an_image": {
            name: round(1e3 * statistics.median(found), 1) for name, found in costs.items()
        },
        "each_turn": [round(ratio, 2) for ratio in ratios],
        "gflop_an_image": {name: round(count / batch / 1e9, 2) for name, count in counted.items()},
        "tflops": {"reached": round(reached / 1e12, 3), "peak": round(statistics.median(peaks) / 1e12, 3)},
        "share_of_peak": round(reached / statistics.median(peaks), 3),
    }


class Side:
    """One side's program: an argument list and the environments of its processes, None for this one's.

    The first process takes turns as it is told (`_Turns`), the others follow it.
    """

    def __init__(self, arguments: list[str], environments: list[Any]):
        command = [sys.executable, __file__, *arguments]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._first, *self._others = [
            subprocess.Popen(command, cwd=PROJECT, env=environment, **pipes) for environment in environments
        ]
        self._wait()

    def turn(self, steps: int) -> tuple[float, float]:
        """Let it take so many steps; the seconds they took, by the clock and of its processors' time."""
        began, used = time.perf_counter(), self._used()
        self._say(steps=steps, counts=False)
        return time.perf_counter() - began, self._used() - used

    def operations(self) -> int:
        """Floating-point operations of one step, in the first process."""
        return int(self._say(steps=1, counts=True)["operations"])

    def end(self) -> None:
        """Kill it: there is nothing to keep."""
        for process in (self._first, *self._others):
            process.kill()
            process.communicate()

    def _used(self) -> float:
        """Processor time of it all, so far."""
        own = [psutil.Process(process.pid) for process in (self._first, *self._others)]
        times = [one.cpu_times() for each in own for one in (each, *each.children(recursive=True))]
        return sum(spent.user + spent.system for spent in times)

    def _say(self, **order: Any) -> dict[str, Any]:
        assert self._first.stdin is not None
        self._first.stdin.write(json.dumps(order) + "\n")
        self._first.stdin.flush()
        return self._wait()

    def _wait(self) -> dict[str, Any]:
        assert self._first.stdout is not None
        for line in self._first.stdout:
            if line.startswith('{"operations"'):
                return json.loads(line)
        raise SystemExit(f"{' '.join(map(str, self._first.args))} ended")  # type: ignore[arg-type]


class _Turns:
    """What a side calls once a step: it waits there until it is its turn."""

    def __init__(self, device: torch.device):
        self._device, self._left = device, 0
        self._counter: Any = None

    def __call__(self) -> bool:
        """Never asks to stop."""
        if self._left == 0:
            _wait_for(self._device)
            counted = 0
            if self._counter is not None:
                self._counter.__exit__(None, None, None)
                counted, self._counter = self._counter.get_total_flops(), None
            print(json.dumps({"operations": counted}), flush=True)
            order = json.loads(sys.stdin.readline())
            self._left = order["steps"]
            if order["counts"]:
                self._counter = _counter()
                self._counter.__enter__()
        self._left -= 1
        return False


def _counter() -> Any:
    """Counts multiplications and additions of matrix products, convolutions and attention."""
    from torch.utils import flop_counter

    aten = torch.ops.aten
    fused = aten._scaled_dot_product_flash_attention_for_cpu  # torch knows the formulas of GPUs' alone
    backward = aten._scaled_dot_product_flash_attention_for_cpu_backward
    return flop_counter.FlopCounterMode(
        display=False,
        custom_mapping={
            fused: lambda q, k, v, *_, **__: flop_counter.sdpa_flop_count(q, k, v),
            backward: lambda g, q, k, v, *_, **__: flop_counter.sdpa_backward_flop_count(g, q, k, v),
        },
    )


def _matrix_product(device: torch.device, mixed_precision: str) -> float:
    """Operations a second of the product of two large matrices."""
    side = PROBE[device.type != "cpu"]
    dtype = torch.float32 if mixed_precision == "no" else torch.bfloat16
    one, other = torch.randn(2, side, side, device=device).to(dtype)
    one @ other
    _wait_for(device)
    began, count = time.perf_counter(), 0
    while (seconds := time.perf_counter() - began) < PROBE_SECONDS:
        one @ other
        _wait_for(device)
        count += 1
    return 2 * side**3 * count / seconds


def _wait_for(device: torch.device) -> None:
    """Until the accelerator has done what it was asked."""
    if device.type != "cpu":
        torch.accelerator.synchronize()


def write_samples(place: Path, base: Path, side: int, count: int, precision: str, device: str) -> None:
    """`count` random pictures, their latents and captions in `place`: one table for both sides."""
    from PIL import Image
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (count, side // 8, side // 8, 3), generator=generator).to(torch.uint8)
    pictures = [Image.fromarray(small.numpy()).resize((side, side)) for small in noise]
    names = [f"{place}/{row:04d}.png" for row in range(count)]
    for name, picture in zip(names, pictures, strict=True):
        picture.save(name)
    moments = Autoencoder(base, precision=precision, batch_size=4, device=device).encode(pictures)
    save_file({"moments": torch.from_numpy(moments)}, place / "shard.safetensors")
    aus = (torch.rand(count, 12, generator=generator) * 6 - 1).clamp(0, 5)
    captions = protocol.prompts("paper").texts
    pl.DataFrame(
        {
            "sample_id": [f"made/{row:04d}" for row in range(count)],
            "caption": [captions[row % len(captions)] for row in range(count)],
            **{column: aus[:, index].tolist() for index, column in enumerate(COLUMNS)},
            "file": "shard.safetensors",
            "row": range(count),
            "picture": names,
        }
    ).write_parquet(place / SAMPLES_FILE)


def _side(base: Path) -> int:
    """The pixels that the base was made for."""
    unet, vae = (json.loads((base / part / "config.json").read_text()) for part in ("unet", "vae"))
    return int(unet["sample_size"]) * 2 ** (len(vae["block_out_channels"]) - 1)


def _ours(path: str) -> None:
    from training.loop import train

    job = TrainingJob.read(path)
    first = int(os.environ.get("RANK", 0)) == 0
    train(job, _Turns(devices.pick(job.device)) if first else lambda: False)


def _plain(path: str, options: str) -> None:
    from benchmarks.plain_training import Options, train
    from methods.fineface.settings import FineFaceTrain

    job = TrainingJob.read(path)
    assert isinstance(job.train, FineFaceTrain) and job.base is not None
    device, precision = devices.pick(job.device), job.train.mixed_precision
    chosen = Options(
        **json.loads(options),
        mixed_precision="fp16" if device.type == "cuda" else precision,
        cpu=device.type == "cpu",
    )
    table = pl.read_parquet(Path(job.dataset) / SAMPLES_FILE)
    train(Path(job.base), table, job.train, chosen, _Turns(device))


if __name__ == "__main__":
    sides: dict[str, Callable[..., None]] = {"ours": _ours, "plain": _plain}
    if sys.argv[1:2] and sys.argv[1] in sides:
        sides[sys.argv[1]](*sys.argv[2:])
    else:
        typer.run(main)
