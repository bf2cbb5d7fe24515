"""Checkpoints of a training: written whole or not at all, the last two kept, damaged ones passed over."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from store import disk
from training.job import JobError

KEEP = 2
_COPIES = 3
"""The parameters, and Adam's two means of each."""


@dataclass
class State:
    """Where a training stands, apart from its tensors.

    step: optimiser steps done; seconds: training time; loss_sum, loss_count: of the steps not yet logged.
    """

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0


class Checkpoints:
    """The checkpoints in `folder` of the job whose identity is `identity`."""

    def __init__(self, folder: Path, identity: str):
        self.folder, self.identity = folder, identity

    def save(
        self,
        state: State,
        parameters: Mapping[str, torch.Tensor],
        optimisers: Mapping[str, torch.optim.Optimizer],
    ) -> None:
        """Write a checkpoint, then remove those before the last two. Raises DiskFull."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*"):
            shutil.rmtree(leftover)
        draft = self.folder / f".step-{state.step:08d}"
        tensors = {name: value.detach().cpu().contiguous() for name, value in parameters.items()}
        with disk.room(
            self.folder, _COPIES * sum(value.nbytes for value in tensors.values()), "a checkpoint"
        ):
            draft.mkdir()
            save_file(tensors, draft / "parameters.safetensors")
            for name, optimiser in optimisers.items():
                torch.save(optimiser.state_dict(), draft / f"{name}.pt")
            (draft / "state.json").write_text(json.dumps({"identity": self.identity, **asdict(state)}))
            for path in (*draft.iterdir(), draft):
                flush(path)
        place = self.folder / draft.name.removeprefix(".")
        shutil.rmtree(place, ignore_errors=True)  # one that was found damaged
        draft.rename(place)
        flush(self.folder)
        for old in self._found()[:-KEEP]:
            shutil.rmtree(old)

    def resume(
        self, parameters: Mapping[str, torch.Tensor], optimisers: Mapping[str, torch.optim.Optimizer]
    ) -> State:
        """Load the newest whole checkpoint into `parameters` and `optimisers`; a new State if there is none.

        Raises JobError where the folder holds another job's checkpoints.
        """
        for path in reversed(self._found()):
            try:
                record = json.loads((path / "state.json").read_text())
                tensors = load_file(path / "parameters.safetensors")
                steps = {
                    name: torch.load(path / f"{name}.pt", weights_only=True, map_location="cpu")
                    for name in optimisers
                }
            except Exception as error:  # whatever a damaged file raises; an older checkpoint serves as well
                print(f"checkpoint {path} is damaged and passed over: {error}", file=sys.stderr)
                continue
            if record.pop("identity") != self.identity:
                raise JobError(
                    f"{path} belongs to another job; delete {self.folder} or choose another output"
                )
            with torch.no_grad():
                for name, parameter in parameters.items():
                    parameter.copy_(tensors[name])
            for name, optimiser in optimisers.items():
                optimiser.load_state_dict(steps[name])
            return State(**record)
        return State()

    def remove(self) -> None:
        """Delete all checkpoints: the training is over."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())


def flush(path: Path) -> None:
    """See that a file, or the names in a folder, are on the disk: a machine may lose its power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
