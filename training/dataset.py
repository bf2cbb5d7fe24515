"""The training data as a job sees it: tables of samples and latent shards, read a batch at a time.

A table (samples.parquet, held_out.parquet) has the columns sample_id, caption, au1 … au26, file, row. `file`
is a safetensors shard (absolute, or relative to the table's folder) with a tensor "moments" [N, 2C, h, w],
the VAE's mean and log variance; `row` is the sample's place in it. Randomness is drawn from (seed, step)
alone, so that step k is the same step whatever came before it and however many processes share it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from safetensors import SafetensorError, safe_open

from facs import COLUMNS
from settings.experiment import LoopSettings
from training.job import JobError
from training.smoothing import smooth

UNCONDITIONAL = ""
HELD_OUT_SAMPLES = 256


@dataclass
class Draw:
    """One process's share of a step: n samples.

    latents (scaled for the UNet), noise [n, C, h, w]; timesteps [n]; aus [n, 12]; captions [n]: indices
    into `Dataset.captions`. Unconditional samples have caption 0, the empty one, and AUs 0.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    aus: torch.Tensor
    captions: torch.Tensor


class Dataset:
    """The samples of the table at `path`, of which `batch` draws those of a step as `settings` say.

    `captions` are the distinct captions, the empty one first. Raises JobError, naming the file, for samples
    that are missing, empty or incomplete, and for shards that are missing, damaged or too short.
    """

    def __init__(self, path: Path, settings: LoopSettings, scaling_factor: float, train_timesteps: int):
        self.settings, self.scaling_factor, self.train_timesteps = settings, scaling_factor, train_timesteps
        table = _read_samples(path)
        self.sample_ids = table["sample_id"].cast(pl.String).to_list()
        distinct = table["caption"].unique().sort().to_list()
        self.captions = [UNCONDITIONAL, *(caption for caption in distinct if caption != UNCONDITIONAL)]
        index = {caption: place for place, caption in enumerate(self.captions)}
        self._captions = torch.tensor([index[caption] for caption in table["caption"]])
        self._aus = torch.tensor(table.select(COLUMNS).to_numpy().copy(), dtype=torch.float32)
        self._rows = table["row"].to_list()
        shards = {name: _open_shard(path.parent / name) for name in table["file"].unique()}
        self._moments = [shards[name] for name in table["file"]]
        _check_rows(table, shards)
        self.latent_shape = _one_shape(shards)
        self._order: tuple[int, torch.Tensor] | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Draw:
        """Every `world`-th sample of step `step`, from the `rank`-th on.

        The timesteps are stratified: the i-th of B samples draws from the i-th of B equally likely parts of
        the schedule. A step's samples are in random order, so a sample's timestep is drawn as if alone, and
        the mean over the batch varies less. Taking every world-th keeps the strata even among the processes.
        """
        said, size = self.settings, self.settings.batch_size
        generator = torch.Generator().manual_seed(_seed(said.seed, "step", step))
        samples = self.samples(step)
        strata = (torch.arange(size) + torch.rand(size, generator=generator)) / size
        timesteps = (strata**said.timestep_exponent * self.train_timesteps).long()
        timesteps = timesteps.clamp(max=self.train_timesteps - 1)
        aus = smooth(self._aus[samples], said.smoothing.variance, said.smoothing.round_probability, generator)
        captions = self._captions[samples]
        dropped = torch.rand(size, generator=generator) < said.text_dropout
        aus[dropped], captions[dropped] = 0.0, 0
        drawn, noise = torch.randn(2, size, *self.latent_shape, generator=generator)
        mine = slice(rank, None, world)
        latents = self._latents(samples[mine], drawn[mine])
        return Draw(latents, noise[mine], timesteps[mine], aus[mine], captions[mine])

    def held_out(self, rank: int = 0, world: int = 1, most: int = HELD_OUT_SAMPLES) -> list[Draw]:
        """Every `world`-th of at most `most` samples, from the `rank`-th on, in draws of a process's batch.

        Nothing is dropped or smoothed. Samples, timesteps and noise are the same at every step and whatever
        the settings, so that the loss on them can be compared along a training and between trainings:
        the i-th of n samples has the middle of the i-th of n equal parts of the schedule.
        """
        generator = torch.Generator().manual_seed(_seed("held out"))
        samples = torch.randperm(len(self), generator=generator)[:most]
        timesteps = ((torch.arange(len(samples)) + 0.5) / len(samples) * self.train_timesteps).long()
        drawn, noise = torch.randn(2, len(samples), *self.latent_shape, generator=generator)
        share = torch.arange(len(samples))[rank::world]
        return [
            Draw(
                self._latents(samples[part], drawn[part]),
                noise[part],
                timesteps[part],
                self._aus[samples[part]],
                self._captions[samples[part]],
            )
            for part in share.split(max(1, self.settings.batch_size // world))
            if len(part)  # a process may have none of a few samples
        ]

    def _latents(self, samples: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        moments = torch.stack([self._moments[s][self._rows[s]] for s in samples.tolist()]).float()
        posterior = DiagonalGaussianDistribution(moments)
        return (posterior.mean + posterior.std * drawn) * self.scaling_factor

    def samples(self, step: int) -> torch.Tensor:
        """The places of a step's samples: each epoch is a permutation of its own, read on and on."""
        places = torch.arange(step * self.settings.batch_size, (step + 1) * self.settings.batch_size)
        epochs = places // len(self)
        return torch.cat(
            [self._permutation(e)[places[epochs == e] % len(self)] for e in epochs.unique().tolist()]
        )

    def draws(self, steps: int) -> torch.Tensor:
        """How often each sample is in the batches of the first `steps` steps, int64 [samples]."""
        epochs, rest = divmod(steps * self.settings.batch_size, len(self))
        found = torch.full((len(self),), epochs)
        found[self._permutation(epochs)[:rest]] += 1
        return found

    def _permutation(self, epoch: int) -> torch.Tensor:
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(_seed(self.settings.seed, "epoch", epoch))
            self._order = epoch, torch.randperm(len(self), generator=generator)
        return self._order[1]


def _seed(*parts: int | str) -> int:
    return int.from_bytes(hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()) >> 1


def _read_samples(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise JobError(f"no training data: {path} is missing")
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise JobError(f"{path} is no parquet file: {error}") from error
    wanted = ("sample_id", "caption", *COLUMNS, "file", "row")
    if missing := [name for name in wanted if name not in table.columns]:
        raise JobError(f"{path} lacks the columns {', '.join(missing)}")
    if table.is_empty():
        raise JobError(f"{path} holds no samples")
    table = table.select(wanted)
    nulls = {name: count for name, count in table.null_count().row(0, named=True).items() if count}
    if nulls:
        raise JobError(f"{path}: empty values in " + ", ".join(f"{n} ({c} rows)" for n, c in nulls.items()))
    try:
        table = table.with_columns(pl.col(COLUMNS).cast(pl.Float32), pl.col("row").cast(pl.Int64))
    except pl.exceptions.PolarsError as error:
        raise JobError(f"{path}: {error}") from error
    bad = [name for name in COLUMNS if not table[name].is_finite().all()]
    if bad:
        raise JobError(f"{path}: intensities that are not finite in {', '.join(bad)}")
    return table


def _open_shard(path: Path) -> torch.Tensor:
    """The moments of a shard, mapped into memory: pages are read when they are touched."""
    try:
        with safe_open(path, "pt") as shard:
            return shard.get_tensor("moments")
    except FileNotFoundError as error:
        raise JobError(f"latent shard {path} is missing") from error
    except (SafetensorError, OSError) as error:
        raise JobError(f"latent shard {path} is damaged or has no moments: {error}") from error


def _check_rows(table: pl.DataFrame, shards: dict[str, torch.Tensor]) -> None:
    for name, low, high in table.group_by("file").agg(low=pl.min("row"), high=pl.max("row")).iter_rows():
        if low < 0 or high >= len(shards[name]):
            raise JobError(f"latent shard {name} has {len(shards[name])} rows, rows {low}–{high} are wanted")


def _one_shape(shards: dict[str, torch.Tensor]) -> tuple[int, ...]:
    shapes = {tuple(moments.shape[1:]) for moments in shards.values()}
    if len(shapes) > 1:
        raise JobError(f"latent shards of different shapes: {sorted(shapes)}")
    ((channels, *size),) = shapes
    return channels // 2, *size
