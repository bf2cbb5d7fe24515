"""How a training speaks: a JSON line every few steps, on standard output and in progress.jsonl; on standard
output also {"warning": …}.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from store import file_system
from training.checkpoints import State

PROGRESS_FILE = "progress.jsonl"


class Progress:
    """Lines {"step", "steps", "loss", "seconds", "eta", "samples_per_second"}, some with "held_out_loss".

    `loss` is the mean over the steps since the last line, `held_out_loss` that on the held-out samples (see
    `training.dataset.Dataset.held_out`), `seconds` and `eta` are of training, without the
    start; `samples_per_second` is the rate since the last line. Lines after the step of `state` are cut
    from the file, so that a resumed training leaves one line a step.
    """

    def __init__(self, folder: Path, steps: int, batch_size: int, state: State):
        self.path, self.steps, self.batch_size = folder / PROGRESS_FILE, steps, batch_size
        self.lines = [line for line in read(folder) if line["step"] <= state.step]
        write(self.path, "".join(json.dumps(line) + "\n" for line in self.lines))
        self._began = time.monotonic() - state.seconds
        self._start = self._last = state.step, state.seconds

    def seconds(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return time.monotonic() - self._began

    def report(self, step: int, loss: float, held_out_loss: float | None = None) -> dict[str, float]:
        """Write the line of `step` (steps done), and give it."""
        seconds = self.seconds()
        pace = (seconds - self._start[1]) / (step - self._start[0])
        rate = (step - self._last[0]) * self.batch_size / max(seconds - self._last[1], 1e-9)
        self._last = step, seconds
        line: dict[str, float] = {
            "step": step,
            "steps": self.steps,
            "loss": round(loss, 6),
            "seconds": round(seconds, 2),
            "eta": round(pace * (self.steps - step), 1),
            "samples_per_second": round(rate, 2),
        }
        if held_out_loss is not None:
            line["held_out_loss"] = round(held_out_loss, 6)
        self.lines.append(line)
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        say(line)
        return line

    def final_loss(self) -> float:
        """The mean loss of the last tenth of the lines."""
        last = self.lines[-max(1, len(self.lines) // 10) :]
        return sum(line["loss"] for line in last) / len(last)


def say(line: Mapping[str, Any]) -> None:
    """Write a line to standard output. Where nobody reads it any more the training still has to save."""
    try:
        print(json.dumps(line), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read(folder: Path | str) -> list[dict]:
    """The lines of the training in `folder`, by step; a line that was being written is left out."""
    path = Path(folder) / PROGRESS_FILE
    if not path.is_file():
        return []
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("}\n")]
    return [json.loads(line) for line in whole]


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    file_system.write(path, text)
