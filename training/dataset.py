"""The latents that a diffusion base is trained on: tables of samples and shards, read a batch at a time.

A table (samples.parquet, held_out.parquet) has the columns sample_id, caption, au1 … au26, file, row. `file`
is a safetensors shard (absolute, or relative to the table's folder) with a tensor "moments" [N, 2C, h, w],
the VAE's mean and log variance; `row` is the sample's place in it. Randomness is drawn from (seed, step)
alone, so that step k is the same step whatever came before it and however many processes share it.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from safetensors import SafetensorError, safe_open

from methods.registry import Wording
from settings.experiment import DenoisingSettings
from training.job import JobError
from training.samples import Samples, seed_of
from training.smoothing import smooth

UNCONDITIONAL = ""
HELD_OUT_SAMPLES = 256


@dataclass
class Draw:
    """One process's share of a step: n samples.

    latents (scaled for the UNet), noise [n, C, h, w]; timesteps [n]; aus [n, 12]; captions [n]: indices
    into `Dataset.captions`. Unconditional samples have caption 0, the empty one, and AUs 0; those without AUs
    alone have their caption without words for AUs.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    aus: torch.Tensor
    captions: torch.Tensor


class Dataset(Samples):
    """The samples of the table at `path`, of which `batch` draws those of a step as `settings` say.

    `captions` are the distinct captions, the empty one first, with AUs where `word` words them: whole
    intensities, of the labels before smoothing. `draw` names the randomness, another one for other data.
    Raises JobError, naming the file, for samples that are missing, empty or incomplete, and for shards that
    are missing, damaged or too short.
    """

    def __init__(
        self,
        path: Path,
        settings: DenoisingSettings,
        scaling_factor: float,
        train_timesteps: int,
        word: Wording,
        draw: str = "step",
    ):
        super().__init__(path, settings, ("caption", "row"))
        self.settings, self.scaling_factor, self.train_timesteps = settings, scaling_factor, train_timesteps
        table = self.table.with_columns(_whole_numbers(self.table["row"], path))
        self._draw = draw
        said = table["caption"].to_list()
        worded = word(said, self.aus.round().tolist()).prompts
        nothing = torch.zeros_like(self.aus).tolist()
        without_aus = word(said, nothing).prompts if settings.au_dropout else worded
        self.captions = [UNCONDITIONAL, *sorted({*worded, *without_aus} - {UNCONDITIONAL})]
        index = {caption: place for place, caption in enumerate(self.captions)}
        self._captions, self._captions_without_aus = (
            torch.tensor([index[caption] for caption in prompts]) for prompts in (worded, without_aus)
        )
        self._rows = table["row"].to_list()
        shards = {name: _open_shard(path.parent / name) for name in table["file"].unique()}
        self._moments = [shards[name] for name in table["file"]]
        _check_rows(table, shards)
        self.latent_shape = _one_shape(shards)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Draw:
        """Every `world`-th sample of step `step`, from the `rank`-th on.

        The timesteps are stratified: the i-th of B samples draws from the i-th of B equally likely parts of
        the schedule. A step's samples are in random order, so a sample's timestep is drawn as if alone, and
        the mean over the batch varies less. Taking every world-th keeps the strata even among the processes.
        """
        said, size = self.settings, self.settings.batch_size
        generator = torch.Generator().manual_seed(seed_of(said.seed, self._draw, step))
        samples = self.samples(step)
        strata = (torch.arange(size) + torch.rand(size, generator=generator)) / size
        timesteps = (strata**said.timestep_exponent * self.train_timesteps).long()
        timesteps = timesteps.clamp(max=self.train_timesteps - 1)
        aus = smooth(self.aus[samples], said.smoothing.variance, said.smoothing.round_probability, generator)
        captions = self._captions[samples]
        lot = torch.rand(size, generator=generator)
        without_aus = lot < said.text_dropout + said.au_dropout
        aus[without_aus], captions[without_aus] = 0.0, self._captions_without_aus[samples][without_aus]
        captions[lot < said.text_dropout] = 0
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
        generator = torch.Generator().manual_seed(seed_of("held out"))
        samples, parts = self.held_out_parts(generator, rank, world, most)
        timesteps = ((torch.arange(len(samples)) + 0.5) / len(samples) * self.train_timesteps).long()
        drawn, noise = torch.randn(2, len(samples), *self.latent_shape, generator=generator)
        return [
            Draw(
                self._latents(samples[part], drawn[part]),
                noise[part],
                timesteps[part],
                self.aus[samples[part]],
                self._captions[samples[part]],
            )
            for part in parts
        ]

    def _latents(self, samples: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        moments = torch.stack([self._moments[s][self._rows[s]] for s in samples.tolist()]).float()
        posterior = DiagonalGaussianDistribution(moments)
        return (posterior.mean + posterior.std * drawn) * self.scaling_factor


def _whole_numbers(rows: pl.Series, path: Path) -> pl.Series:
    try:
        return rows.cast(pl.Int64)
    except pl.exceptions.PolarsError as error:
        raise JobError(f"{path}: {error}") from error


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
