"""The table of samples that a training reads, and the order in which they come. Latents and pictures, which
the table names, are opened in `training.dataset` and `training.pictures`.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import torch

from facs import COLUMNS
from settings.experiment import LoopSettings
from training.job import JobError


class Samples:
    """The samples of the table at `path` (columns sample_id, au1 … au26, file and those of `more`),
    in the order that `settings` draw.

    The order comes from the seed alone, so that step k has the same samples whatever came before it. Raises
    JobError, naming the file, for samples that are missing, empty or incomplete.
    """

    def __init__(self, path: Path, settings: LoopSettings, more: Sequence[str] = ()):
        self.table = _read(path, ("sample_id", *more, *COLUMNS, "file"))
        self.sample_ids = self.table["sample_id"].cast(pl.String).to_list()
        self.aus = torch.tensor(self.table.select(COLUMNS).to_numpy().copy(), dtype=torch.float32)
        self._batch_size, self._seed = settings.batch_size, settings.seed
        self._order: tuple[int, torch.Tensor] | None = None

    def __len__(self) -> int:
        return self.table.height

    def samples(self, step: int) -> torch.Tensor:
        """The places of a step's samples: each epoch is a permutation of its own, read on and on."""
        places = torch.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epochs = places // len(self)
        return torch.cat(
            [self._permutation(e)[places[epochs == e] % len(self)] for e in epochs.unique().tolist()]
        )

    def draws(self, steps: int) -> torch.Tensor:
        """How often each sample is in the batches of the first `steps` steps, int64 [samples]."""
        epochs, rest = divmod(steps * self._batch_size, len(self))
        found = torch.full((len(self),), epochs)
        found[self._permutation(epochs)[:rest]] += 1
        return found

    def held_out_parts(
        self, generator: torch.Generator, rank: int, world: int, most: int
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """At most `most` samples as `generator` draws them, and which of these the `rank`-th of `world`
        processes asks: places among them, a batch of the process in each. It may have none of a few."""
        samples = torch.randperm(len(self), generator=generator)[:most]
        share = torch.arange(len(samples))[rank::world]
        parts = share.split(max(1, self._batch_size // world))
        return samples, [part for part in parts if len(part)]

    def _permutation(self, epoch: int) -> torch.Tensor:
        order = self._order  # once: another thread may read ahead
        if order is None or order[0] != epoch:
            generator = torch.Generator().manual_seed(seed_of(self._seed, "epoch", epoch))
            order = self._order = epoch, torch.randperm(len(self), generator=generator)
        return order[1]


def seed_of(*parts: int | str) -> int:
    """A seed for what `parts` name: equal for equal parts, else as if drawn anew."""
    return int.from_bytes(hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()) >> 1


def _read(path: Path, wanted: Sequence[str]) -> pl.DataFrame:
    if not path.is_file():
        raise JobError(f"no training data: {path} is missing")
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise JobError(f"{path} is no parquet file: {error}") from error
    if missing := [name for name in wanted if name not in table.columns]:
        raise JobError(f"{path} lacks the columns {', '.join(missing)}")
    if table.is_empty():
        raise JobError(f"{path} holds no samples")
    table = table.select(wanted)
    nulls = {name: count for name, count in table.null_count().row(0, named=True).items() if count}
    if nulls:
        raise JobError(f"{path}: empty values in " + ", ".join(f"{n} ({c} rows)" for n, c in nulls.items()))
    try:
        table = table.with_columns(pl.col(COLUMNS).cast(pl.Float32))
    except pl.exceptions.PolarsError as error:
        raise JobError(f"{path}: {error}") from error
    bad = [name for name in COLUMNS if not table[name].is_finite().all()]
    if bad:
        raise JobError(f"{path}: intensities that are not finite in {', '.join(bad)}")
    return table
